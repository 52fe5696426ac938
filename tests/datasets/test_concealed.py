"""A store with `--patients hashed`: nobody's name or number is in it, and patients still belong together."""

from pathlib import Path

import pytest
from helpers.fan import fan
from helpers.hospital import words_found

from echocycle.datasets.prepare import prepare_store
from echocycle.errors import EchocycleError
from echocycle.recordings.video import write_mjpeg
from echocycle.settings.stages import PrepareSettings

PEOPLE = ("Quackenbush", "Featherstone", "Zweistein")
SPLITS = {"Quackenbush": "train", "Featherstone": "val", "Zweistein": "test"}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of each patient; one patient in two splits, which is told of."""
    folder = tmp_path_factory.mktemp("own")
    rows = ["file,EF,patient_id,split"]
    for number, person in enumerate(PEOPLE * 2):
        write_mjpeg(folder / f"clip{number}.avi", fan(90)[0], 50)
        split = "train" if number == 5 else SPLITS[person]
        rows.append(f"clip{number}.avi,{50 + number},{person},{split}")
    (folder / "videos.csv").write_text("\n".join(rows) + "\n")
    return folder


def hashed(salt: Path) -> PrepareSettings:
    return PrepareSettings(workers=0, patients="hashed", salt_file=str(salt))


def test_no_name_is_in_the_store(recordings: Path, tmp_path: Path) -> None:
    clear = prepare_store(recordings, tmp_path / "clear", PrepareSettings(workers=0))
    store = prepare_store(recordings, tmp_path / "store", hashed(tmp_path / "salt"))
    assert words_found(clear.path, list(PEOPLE))
    assert words_found(store.path, list(PEOPLE)) == []
    secret = (tmp_path / "salt").read_text().strip()
    assert words_found(store.path, [secret, str(tmp_path)]) == []
    before, after = clear.index["patient"], store.index["patient"]
    assert len(set(after)) == 3
    assert list(zip(before, after, strict=True))[:3] == list(zip(before, after, strict=True))[3:]
    assert list(store.index["split"]) == list(clear.index["split"])


def test_the_salt_is_part_of_what_the_store_is(recordings: Path, tmp_path: Path) -> None:
    first = prepare_store(recordings, tmp_path / "store", hashed(tmp_path / "salt"))
    assert prepare_store(recordings, tmp_path / "store", hashed(tmp_path / "salt")).meta == first.meta
    with pytest.raises(EchocycleError, match="with other settings"):
        prepare_store(recordings, tmp_path / "store", hashed(tmp_path / "other"))
    with pytest.raises(EchocycleError, match="keep the secret in another folder"):
        prepare_store(recordings, tmp_path / "new", hashed(tmp_path / "new" / "salt"))


def test_both_options_or_none() -> None:
    for given in ({"patients": "hashed"}, {"salt_file": "salt"}):
        with pytest.raises(EchocycleError, match="belong together"):
            PrepareSettings(**given)  # type: ignore[arg-type]
