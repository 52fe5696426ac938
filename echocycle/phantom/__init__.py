"""Synthetic patients and their pictures."""
