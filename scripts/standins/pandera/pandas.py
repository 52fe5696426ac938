"""Rules on the rows and columns of a table, all checked before any is reported."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pandera import errors

__all__ = ["Check", "Column", "DataFrameSchema", "errors"]


class Check:
    """A rule: from a table or a column to a boolean for each row."""

    def __init__(
        self, rule: Callable[[Any], Any], name: str | None = None, error: str | None = None, ignore_na: bool = True
    ) -> None:
        self.rule, self.name, self.error, self.ignore_na = rule, name, error, ignore_na

    @classmethod
    def isin(cls, allowed: Collection[Any], error: str) -> "Check":
        """Only these values."""
        return cls(lambda values: values.isin(list(allowed)), error=error)


class Column:
    """What stands in a column."""

    def __init__(
        self,
        dtype: type,
        checks: Sequence[Check] = (),
        nullable: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.dtype, self.checks, self.nullable, self.metadata = np.dtype(dtype), list(checks), nullable, metadata
        self.name = ""

    def broken(self, values: "pd.Series[Any]") -> list[errors.SchemaError]:
        """Every rule that values break."""
        found = []
        for check in self.checks:
            asked = values[values.notna()] if check.ignore_na else values
            bad = asked.index[~np.asarray(check.rule(asked), dtype=bool)]
            if len(bad):
                found.append(errors.SchemaError(self, check, pd.DataFrame({"index": bad})))
        return found


class DataFrameSchema:
    """Rules that belong together."""

    def __init__(self, columns: Mapping[str, Column] | None = None, checks: Sequence[Check] = ()) -> None:
        self.columns, self.checks = dict(columns or {}), list(checks)
        for name, column in self.columns.items():
            column.name = name

    def validate(self, rows: pd.DataFrame, *, lazy: bool) -> pd.DataFrame:
        """The table itself, or `SchemaErrors` with every broken rule of every row."""
        assert lazy
        broken: list[dict[str, Any]] = []
        for check in self.checks:
            good = check.rule(rows)
            broken += [{"check": check.name, "index": line} for line in rows.index[~good.to_numpy(dtype=bool)]]
        of_columns = [error for name, column in self.columns.items() for error in column.broken(rows[name])]
        if broken or of_columns:
            raise errors.SchemaErrors(pd.DataFrame(broken, columns=["check", "index"]), of_columns)  # type: ignore[call-arg]
        return rows
