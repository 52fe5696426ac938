"""Stands in for cyclopts where no command line is read: what annotates a function for it says nothing."""

from typing import Any


class Parameter:
    """Takes what the original takes."""

    def __init__(self, **said: Any) -> None:
        self.said = said
