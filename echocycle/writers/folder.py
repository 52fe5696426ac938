"""What the results in a folder share: the tables, what failed, the index page, and how all was computed."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from echocycle.bundle_description import BundleDescription
from echocycle.prediction import Prediction
from echocycle.writers.as_csv import Table
from echocycle.writers.as_failures import Failure, check_failures, write_failures
from echocycle.writers.index import write_index
from echocycle.writers.manifest import Manifest

TABLES, PAGES = "csv", "html"
"""Formats that are more than one file a recording."""


class ResultsFolder:
    """A folder while results are added to it. For one process at a time.

    Args:
        failures: what is known already to have no result.
        settings: of the call, for the manifest.

    Raises:
        EchocycleError: something else lies there under the name of a file that is to be written.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        failures: list[Failure],
        model: BundleDescription,
        inputs: Sequence[Path],
        settings: dict[str, Any],
        found: int,
    ):
        self.path, self.failures = Path(folder), failures
        check_failures(self.path)
        self._table = Table(self.path) if TABLES in formats else None
        self._pages = PAGES in formats
        self.manifest = Manifest(self.path, inputs, model, settings, found)
        self.path.mkdir(parents=True, exist_ok=True)

    def put(self, prediction: Prediction) -> None:
        """Add a result to the tables; one without an EF is a failure as well."""
        if self._table is not None:
            self._table.put(prediction)
        if prediction.ef is None:
            self.failures.append(Failure(prediction.source, "not measured", prediction.not_measured or ""))

    def finish(self) -> None:
        """Tidy the tables, and write the page that lists all recordings."""
        if self._table is not None:
            self._table.close()
        if self._pages:
            write_index(self.path, self.failures)

    def leave(self) -> None:
        """Write what failed and how it was computed, whatever ended the call; that, and not this, is told."""
        with suppress(OSError):
            write_failures(self.failures, self.path)
            self.manifest.write()
