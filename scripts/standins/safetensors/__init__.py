"""Weights without pickled code; see `torch`."""
