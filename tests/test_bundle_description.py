"""What a bundle says of how it was made: nothing that may name a person."""

from echocycle.bundle_description import shareable


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
