"""What is known of a store's videos beside its index: image quality, rhythm, whether the paper tests on the patient.

STORE/details.csv has one row a video and a column for each of `DETAILS` that the source knows. It is no part of the
index, so that a store keeps its id; a store of an earlier version has none.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.files import write_text

NAME = "details.csv"
DETAILS = {
    "quality": "image quality: Good, Medium or Poor",
    "rhythm": "regular or irregular",
    "paper": "1 for a patient whom the paper tests on (CAMUS), else 0",
}


def write_details(store: Path, names: Sequence[str], known: Mapping[str, Mapping[str, str]]) -> None:
    """Write what is known of the videos of these names; nothing where nothing is."""
    columns = [name for name in DETAILS if any(known.get(video, {}).get(name) for video in names)]
    if not columns:
        return
    rows = [{"name": video, **{name: known.get(video, {}).get(name, "") for name in columns}} for video in names]
    write_text(store / NAME, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


def read_details(store: Path) -> pd.DataFrame:
    """What a store knows beside its index, by video; without a row where it knows nothing.

    Raises `EchocycleError` where the file has no column `name`.
    """
    path = store / NAME
    if not path.exists():
        return pd.DataFrame(index=pd.Index([], name="name"))
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise EchocycleError(f"{path} is not a readable CSV table ({error}). Delete it, or prepare again.") from None
    if "name" not in table or table["name"].duplicated().any():
        raise EchocycleError(f"{path} must have a column `name` that names each video once. Delete it, or correct it.")
    return table.set_index("name")
