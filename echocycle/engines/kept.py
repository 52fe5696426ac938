"""What is known of the engines on this machine, in the user's cache folder: the graphs, and how each engine did."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json
from echocycle.runs import machine

FORMAT = 1
PACKAGES = ("echocycle", "torch", "numpy", "onnx", "onnxscript", "onnxruntime", "openvino")


def cache_folder() -> Path:
    """The user's cache folder of this program; nothing in it is needed, and all can be made again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "echocycle"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "echocycle"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "echocycle"


def known_by(bundle_id: str, threads: int) -> dict[str, Any]:
    """On what a self-check's outcome depends: the weights, the versions, the processor, the threads."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    machine_now = f"{machine()}, {platform.machine()}"
    return {"format": FORMAT, "model": bundle_id, "versions": versions, "machine": machine_now, "threads": threads}


class Kept:
    """The folder of one bundle on this machine."""

    def __init__(self, key: dict[str, Any]):
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        self.key = key
        self.told: str | None = None
        """Why nothing can be kept, a sentence."""
        self.folder = cache_folder() / "engines" / digest
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.folder = Path(tempfile.mkdtemp(prefix="echocycle-"))
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
            self.told = f"What is found out about engines cannot be kept: {error}. Set XDG_CACHE_HOME to a folder."

    def graph(self, part: str) -> Path:
        """Where the graph of a part lies."""
        return self.folder / f"{part}.onnx"

    def trials(self) -> dict[str, dict[str, Any]]:
        """How engines did, by part and engine; empty where nothing is known, or the file is of something else."""
        file = self.folder / "trials.json"
        try:
            content = read_json(file) if file.exists() else {}
        except EchocycleError:
            return {}  # damaged: it is made again
        same = isinstance(content, dict) and content.get("of") == self.key
        return dict(content["trials"]) if same and isinstance(content.get("trials"), dict) else {}

    def keep(self, trials: dict[str, dict[str, Any]]) -> None:
        """Write how engines did, whole or not at all."""
        write_json(self.folder / "trials.json", {"of": self.key, "trials": trials})
