"""Checks of tables; see `pandas`."""
