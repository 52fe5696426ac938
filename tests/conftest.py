"""What several tests share: a small phantom and its frame store, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.predicting import SPAN, make_model, write_short

from echocycle.data.store import Store
from echocycle.datasets.prepare import prepare_store
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.settings.presets import preset


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Nobody cuts the power of a test; a sync takes 10 to 20 ms. tests/test_files.py tests the real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("echocycle.partial.settle", lambda path: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _pytorch_alone() -> Iterator[None]:
    """Finding out which engine is fastest takes seconds for each model; tests/inference/test_backend.py does so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECHOCYCLE_PREDICT_BACKEND", "torch")
        yield


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


@pytest.fixture(scope="session")
def model(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a teacher that can be used for `predict`. Not to be changed: copy it to."""
    return make_model(store, tmp_path_factory.mktemp("runs") / "teacher")


@pytest.fixture(scope="session")
def clip(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a few frames, enough for one clip of `model`, to be copied."""
    return write_short(phantom_folder, tmp_path_factory.mktemp("clip") / "clip.avi", SPAN + 1)
