"""Settings files that are none."""

from pathlib import Path

import pytest

from echocycle.errors import EchocycleError
from echocycle.settings.override import read_config


@pytest.mark.parametrize("suffix", ["yaml", "toml", "json"])
def test_a_file_that_is_no_text(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"settings.{suffix}"
    path.write_bytes("segment: Zürich".encode("latin-1"))
    with pytest.raises(EchocycleError, match=r"settings\.\w+ is no text in UTF-8 .* Save it as UTF-8"):
        read_config(path)
