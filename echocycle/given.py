"""What a command is given, looked at before anything heavy is imported: a slip of the keyboard costs no waiting."""

from pathlib import Path

from echocycle.errors import EchocycleError


def require_folder(path: Path) -> None:
    """Refuse a folder that is not there."""
    if not path.exists():
        raise EchocycleError(f"{path} does not exist.")
