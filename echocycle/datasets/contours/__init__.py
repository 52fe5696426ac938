"""Masks and contours of the left ventricle in the formats of annotation tools: one reader a format."""
