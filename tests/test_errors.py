"""What the system refuses is one sentence that names the place and the way out."""

import errno
import os
from pathlib import Path

import pytest

from echocycle.errors import EchocycleError, SystemRefusedError, is_refusal, refusal, writing_into


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "Free some space"), (errno.EACCES, "permission"), (errno.ENOTDIR, "is a file"), (9999, "Mend")],
)
def test_the_sentence_names_place_reason_and_remedy(number: int, advice: str) -> None:
    told = refusal(OSError(number, os.strerror(number)), Path("/data/out"))
    assert isinstance(told, EchocycleError)
    assert told.exit_code == 3
    assert str(told).startswith(f"/data/out: the system refused ({os.strerror(number)}). ")
    assert advice in str(told)
    named = refusal(OSError(number, os.strerror(number), "/data/out/a.json"), Path("/data/out"))
    assert str(named).startswith("/data/out/a.json: ")


def test_errors_that_name_nothing() -> None:
    assert str(refusal(OSError("something"))).startswith("the system refused (something). ")
    assert str(refusal(OSError(2, "gone", b"/data/\xfc"))).startswith("/data/\\xfc: ")
    assert str(refusal(MemoryError())).startswith("There is not enough memory. Close other programs")


def test_what_is_the_systems_refusal() -> None:
    class OutOfMemoryError(RuntimeError):
        """As PyTorch's, of a GPU."""

    assert is_refusal(OSError())
    assert is_refusal(MemoryError())
    assert is_refusal(OutOfMemoryError("CUDA out of memory"))
    assert is_refusal(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"))
    assert not is_refusal(RuntimeError("shapes differ"))
    assert not is_refusal(ValueError("can't allocate memory"))


def test_writing_names_the_folder_and_not_the_temporary_file(tmp_path: Path) -> None:
    def write() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / ".a.123.partial.json"))

    with pytest.raises(SystemRefusedError) as caught, writing_into(tmp_path):
        write()
    assert str(caught.value).startswith(f"{tmp_path}: the system refused (No space left on device)")
    with pytest.raises(KeyError), writing_into(tmp_path):
        {}["a"]
