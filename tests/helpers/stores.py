"""Frame stores that are changed for a test, and still belong together."""

from pathlib import Path

import pandas as pd

from echocycle.data.store import Store, store_id
from echocycle.files import read_json, write_json, write_text


def with_index(store: Path, index: pd.DataFrame) -> Store:
    """Give a store another index, and the id that belongs to it."""
    text, meta = index.to_csv(index=False, lineterminator="\n"), read_json(store / "store.json")
    settings = {**meta["job"]["settings"], "changed": True}  # so that the id is another one for the same index too
    write_text(store / "index.csv", text)
    job = {**meta["job"], "settings": settings}
    write_json(store / "store.json", {**meta, "id": store_id(text, settings), "job": job})
    return Store(store)
