"""Folders in: each layout has a reader that gives a `Source`; `prepare` makes it a frame store."""
