"""Arrays whose head was spoilt."""

from pathlib import Path

import numpy as np
import pytest

from echocycle.checked import checked_array
from echocycle.errors import EchocycleError


@pytest.mark.parametrize(
    ("old", "new"), [(b"(8,)", b"(8, "), (b"'shape': ", b"'sha      "), (b"{", b"["), (b"<i8", b"|O8")]
)
def test_a_head_that_is_no_head(tmp_path: Path, old: bytes, new: bytes) -> None:
    np.save(tmp_path / "a.npy", np.arange(8))
    assert checked_array(tmp_path / "a.npy", "Make it again.").sum() == 28
    data = (tmp_path / "a.npy").read_bytes()
    assert old in data
    (tmp_path / "a.npy").write_bytes(data.replace(old, new, 1))
    with pytest.raises(EchocycleError, match=r"a\.npy is not whole .* Make it again\."):
        checked_array(tmp_path / "a.npy", "Make it again.")
