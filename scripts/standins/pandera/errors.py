"""What a check raises."""

from collections.abc import Sequence
from typing import Any

import pandas as pd


class SchemaError(Exception):
    """A rule of a column that rows break."""

    def __init__(self, schema: Any, check: Any, failure_cases: pd.DataFrame) -> None:
        super().__init__(f"{len(failure_cases)} failures")
        self.schema, self.check, self.failure_cases = schema, check, failure_cases


class SchemaErrors(Exception):
    """Rows that break rules."""

    def __init__(self, failure_cases: pd.DataFrame, schema_errors: Sequence[SchemaError] = ()) -> None:
        super().__init__(f"{len(failure_cases) + len(schema_errors)} failures")
        self.failure_cases = failure_cases
        """The columns `check` and `index`, a row for each broken rule of each row."""
        self.schema_errors = list(schema_errors)
        """Each broken rule of a column."""
