"""The ways in which a command ends early; everything else is a bug."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class EchocycleError(Exception):
    """Wrong usage or bad input. The message names the file or setting and says what to do. Exit code 2."""

    exit_code = 2


class Finding(EchocycleError):
    """The command worked, and what it found is not all right (a damaged video, a refused row). Exit code 1."""

    exit_code = 1


class SystemRefusedError(EchocycleError):
    """The system refused: no space, no permission, no memory, a folder that is gone. Exit code 3."""

    exit_code = 3


class UnlabelledAnnotationError(EchocycleError):
    """Somebody asked for a label or a tracing of a video that is declared unlabelled."""


_ADVICE = {
    errno.ENOSPC: "Free some space there, or name a folder on another disk",
    errno.EDQUOT: "Free some of your disk quota, or name a folder on another disk",
    errno.EFBIG: "The disk or a limit of this session (`ulimit -f`) allows no larger file; name another folder",
    errno.EROFS: "Name a folder on a disk that can be written to",
    errno.EACCES: "Get the permission for it, or name another folder",
    errno.EPERM: "Get the permission for it, or name another folder",
    errno.ENOENT: "It is not there, or not any more; check the path and whether the disk is connected",
    errno.ENOTDIR: "A part of this path is a file; name a folder",
    errno.ENAMETOOLONG: "Choose a shorter path",
    errno.EMFILE: "Close other programs, or raise the limit of open files (`ulimit -n`)",
    errno.ENOMEM: "Close other programs, or use a machine with more memory",
    errno.EIO: "The disk reports an error; check it, or name a folder on another disk",
}


def is_refusal(error: BaseException) -> bool:
    """Whether it is the system that refused; PyTorch tells want of memory by a class, or a text, of its own."""
    no_memory = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, OSError | MemoryError) or (isinstance(error, RuntimeError) and no_memory)


def refusal(error: BaseException, where: Path | str | None = None) -> SystemRefusedError:
    """What a refusal of the system (`OSError`, `MemoryError`) is told as: one sentence on what, why and what to do.

    Args:
        where: the file or folder in question, for an error that does not name one itself.
    """
    if not isinstance(error, OSError):
        reason = " ".join(str(error).split())[:200]
        return SystemRefusedError(
            f"There is not enough memory{f' ({reason})' if reason else ''}. Close other programs, make the batch or "
            "the input smaller, or use a machine with more memory."
        )
    named = error.filename if error.filename is not None else where
    if isinstance(named, bytes):
        named = named.decode(errors="backslashreplace")
    reason = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0, "Mend this")
    place = f"{named}: " if named is not None and not isinstance(named, int) else ""
    return SystemRefusedError(f"{place}the system refused ({reason}). {advice}, and start the same command again.")


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """What the system refuses while results are written is a `SystemRefusedError` that names their folder."""
    try:
        yield
    except OSError as error:
        told = refusal(OSError(error.errno, error.strerror or str(error)), folder)
        raise told from error
