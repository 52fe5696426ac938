"""What a bundle says of how it was made: nothing that may name a person."""

from pathlib import Path

import pytest

from echocycle.bundle_description import bundle_folder, shareable
from echocycle.errors import EchocycleError


def test_neither_command_nor_folder_nor_path_goes_with_a_bundle() -> None:
    made = {
        "run": "student-1",
        "data": {"id": "abc", "source": "SMITH_JOHN", "videos": 3},
        "settings": {"weights": "/home/ann/SMITH_JOHN/start.safetensors", "batch": 2},
        "command": "echocycle regress /data/SMITH_JOHN",
        "versions": {"torch": "2"},
    }
    told = shareable(made)
    assert "SMITH" not in str(told)
    assert told["settings"] == {"weights": "start.safetensors", "batch": 2}
    assert told["data"] == {"id": "abc", "videos": 3}
    assert made["data"]["source"] == "SMITH_JOHN", "what was given is not changed"


def test_weights_named_as_windows_names_them_and_by_a_word() -> None:
    assert shareable({"data": {}, "settings": {"weights": r"C:\SMITH\a.pt"}})["settings"]["weights"] == "a.pt"
    assert shareable({"data": {}, "settings": {"weights": "shapes"}})["settings"]["weights"] == "shapes"


def test_the_folder_of_train_stands_for_the_model_that_was_taken(tmp_path: Path) -> None:
    (tmp_path / "choice.json").write_text('{"run": "teacher"}')
    assert bundle_folder(tmp_path) == tmp_path / "runs" / "teacher" / "model"
    for wrong in ('{"run": "../../elsewhere"}', '{"run": ".."}', '{"run": ""}', "{}", "[]"):
        (tmp_path / "choice.json").write_text(wrong)
        with pytest.raises(EchocycleError, match=r"choice\.json does not name the run"):
            bundle_folder(tmp_path)
