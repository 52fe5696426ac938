"""What can be answered without looking at a video: the EF that a run was trained on, whose mean is the naive answer."""

from pathlib import Path

import numpy as np
import pandas as pd

from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation.tables import read_labels
from echocycle.runs import Run


def training_ef(run: Path, store: Store | None = None) -> np.ndarray:
    """EF (videos,), in percent, of the labelled training videos of a run, as its labels.csv tells.

    A run of an earlier version has no column `ef` there; its EF are looked up in the store that it was trained on.

    Args:
        store: any store that is open already, and may be that one; it serves where the store has moved.

    Raises:
        EchocycleError: labels.csv is missing or names no labelled video with an EF; or the store is needed and gone.
    """
    path = Path(run) / "labels.csv"
    table = read_labels(path)
    labelled = table[table["subset"] == "labelled"]
    if "ef" in table:
        values = labelled["ef"]
    else:
        index = _store_of_training(Run(run), store).index
        values = index["ef"][index["name"].isin(labelled["name"])]
    found: np.ndarray = pd.to_numeric(values).dropna().to_numpy(float)
    if not found.size:
        raise EchocycleError(f"{path} names no labelled video with an EF, so there is no naive answer to compare with.")
    return found


def _store_of_training(run: Run, opened: Store | None) -> Store:
    """The store that a run was trained on: the opened one if it is that, else where the run says."""
    info = run.info
    if opened is not None and opened.meta["id"] == info["data"]["id"]:
        return opened
    where = Path(info["where"]["store"])
    if (where / "store.json").exists() and (found := Store(where)).meta["id"] == info["data"]["id"]:
        return found
    raise EchocycleError(
        f"{run.path / 'labels.csv'} is of an earlier version and has no column ef, and the store that the run was "
        f"trained on (id {info['data']['id']}) is not at {where}. Put it back there."
    )
