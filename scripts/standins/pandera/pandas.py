"""Rules on the rows of a table, all checked before any is reported."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

from pandera import errors

__all__ = ["Check", "DataFrameSchema", "errors"]


class Check(NamedTuple):
    """A rule: from the table to a boolean for each row."""

    rule: Callable[[pd.DataFrame], "pd.Series[bool]"]
    name: str
    ignore_na: bool = True


class DataFrameSchema:
    """Rules that belong together."""

    def __init__(self, checks: list[Check]) -> None:
        self.checks = checks

    def validate(self, rows: pd.DataFrame, *, lazy: bool) -> pd.DataFrame:
        """The table itself, or `SchemaErrors` with every broken rule of every row."""
        assert lazy
        broken: list[dict[str, Any]] = []
        for check in self.checks:
            good = check.rule(rows)
            broken += [{"check": check.name, "index": line} for line in rows.index[~good.to_numpy(dtype=bool)]]
        if broken:
            raise errors.SchemaErrors(pd.DataFrame(broken))  # type: ignore[call-arg]
        return rows
