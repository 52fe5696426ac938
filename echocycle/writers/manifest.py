"""End of the flow: how a folder's results were computed, `manifest.json`: what differs between machines and calls.

Results themselves hold neither times nor paths of the machine but the recording's own, so that the same file gives the
same bytes. The manifest names paths, so it stays where the recordings stay.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echocycle import files
from echocycle.bundle_description import BundleDescription
from echocycle.errors import EchocycleError
from echocycle.prediction import DISCLAIMER
from echocycle.runs import versions

NAME = "manifest.json"
SCHEMA_VERSION = 1
MOST_CALLS = 50
"""Calls that are kept, the latest."""
PACKAGES = ("scipy", "scikit-image", "pillow", "highdicom", "crepes")
"""What a result may depend on, besides what `runs.versions` names."""


class Manifest:
    """What one call is written down as, after those before it.

    Raises:
        EchocycleError: a file of that name in the folder is no manifest.
    """

    def __init__(
        self, folder: Path, inputs: Sequence[Path], model: BundleDescription, settings: dict[str, Any], found: int
    ):
        self.path = Path(folder) / NAME
        self.before = _calls(self.path)
        self._started = time.monotonic()
        self.counts = {"found": found, "predicted": 0, "taken_from_before": 0, "unreadable": 0}
        self.call: dict[str, Any] = {
            "started": _now(),
            "inputs": [files.printable(Path(path).absolute()) for path in inputs],
            "model": {
                "path": files.printable(model.path.absolute()),
                "id": model.id,
                "sha256": {name: part.sha256 for name, part in model.parts.items()},
                "provenance": model.provenance,
            },
            "settings": settings,
        }

    def count(self, computing: dict[str, Any], *, again: bool, failed: bool) -> None:
        """Note what became of a recording; `computing`: device and precision, empty where nothing was computed."""
        self.counts["taken_from_before" if again else "unreadable" if failed else "predicted"] += 1
        if computing:
            self.call["computing"] = computing

    def write(self) -> Path:
        """Write the manifest, whole or not at all."""
        facts = versions()
        from importlib.metadata import version

        packages = {**facts["versions"], **{name: version(name) for name in PACKAGES}}
        call = {
            **self.call,
            "ended": _now(),
            "seconds": round(time.monotonic() - self._started, 2),
            "recordings": self.counts,
            "versions": packages,
            "machine": facts["machine"],
            "command": files.printable(facts["command"]),
        }
        calls = [*self.before, call][-MOST_CALLS:]
        files.write_json(self.path, {"schema_version": SCHEMA_VERSION, "disclaimer": DISCLAIMER, "calls": calls})
        return self.path


def _calls(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    content = files.read_json(path)
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION or "calls" not in content:
        raise EchocycleError(f"{path} is no manifest of `predict`. Move it, or choose another output folder.")
    return list(content["calls"])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
