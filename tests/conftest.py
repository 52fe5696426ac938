"""What several tests share: a small phantom and its frame store, made once."""

from pathlib import Path

import pytest

from echocycle.data.store import Store
from echocycle.datasets.prepare import prepare_store
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.settings.presets import preset


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom of 16 videos (8 train, 4 val, 4 test) of 84 to 100 frames, in EchoNet-Dynamic's layout. Not to be changed."""
    folder = tmp_path_factory.mktemp("shared") / "phantom"
    write_phantom(folder, PhantomSettings(**preset("debug").phantom))
    return folder


@pytest.fixture(scope="session")
def store(phantom_folder: Path) -> Store:
    """The phantom's frame store, with the mask set `truth`. Not to be changed: copy it to add masks."""
    return prepare_store(phantom_folder, phantom_folder.with_name("store"), preset("debug").prepare)
