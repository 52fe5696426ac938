"""Polygons and outlines; see `draw` and `measure`."""
