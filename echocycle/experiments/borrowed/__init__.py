"""Experiments on a machine that is lent for an hour."""
