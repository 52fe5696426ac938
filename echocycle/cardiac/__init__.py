"""Measurement: masks become beats, discs, volumes and EF. Pure functions, no network, no file."""
