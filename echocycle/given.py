"""What a command is given, looked at before anything heavy is imported: a slip of the keyboard costs no waiting."""

from collections.abc import Sequence
from pathlib import Path

from echocycle.console import console
from echocycle.errors import EchocycleError, Finding


def require_some_input(inputs: Sequence[Path]) -> None:
    """Refuse recordings none of which is there.

    Raises `Finding`, as when none of them can be read.
    """
    missing = [path for path in inputs if not path.exists()]
    if inputs and len(missing) == len(inputs):
        for path in missing:
            console.print(f"{path} is missing.", style="red", soft_wrap=True, highlight=False)
        raise Finding(f"{len(missing)} of {len(inputs)} recordings could not be read; see above.")


def require_model(path: Path) -> None:
    """Refuse a path that is no bundle and no run that holds one."""
    if not any((path / folder / "settings.json").exists() for folder in ("", "model")):
        raise EchocycleError(
            f"{path} holds no trained model (no settings.json in it or in its folder `model`). "
            "Name a finished run, or its `model` folder."
        )


def require_folder(path: Path) -> None:
    """Refuse a folder that is not there."""
    if not path.exists():
        raise EchocycleError(f"{path} does not exist.")
