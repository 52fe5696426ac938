"""What a check raises."""

import pandas as pd


class SchemaErrors(Exception):
    """Rows that break rules."""

    def __init__(self, failure_cases: pd.DataFrame) -> None:
        super().__init__(f"{len(failure_cases)} failures")
        self.failure_cases = failure_cases
        """The columns `check` and `index`, a row for each broken rule of each row."""
