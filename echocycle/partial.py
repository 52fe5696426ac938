"""A folder that is written piece by piece, and a journal of its pieces: what a kill leaves is resumed.

A piece goes to disk first, its entry in the journal last. So the entries up to the first torn one name what is whole;
whatever lies behind it is cut off. A folder gets its name, or the file that closes it, when everything is in it.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.files import empty_unless_begun, read_json, settle, sweep, write_json

Entry = TypeVar("Entry")


def as_json(value: Any) -> Any:
    """A value as it comes back from JSON, which has lists where Python has tuples."""
    return json.loads(json.dumps(value))


# ---------------------------------------------------------------------------------------------- appending


def file_size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def append(path: Path, *contents: Any) -> None:
    """Append to a file, all or nothing: what a full disk took of it is cut off again."""
    start = file_size(path)
    try:
        with open(path, "ab") as file:
            for content in contents:
                file.write(content)
    except BaseException:
        if file_size(path) > start:
            os.truncate(path, start)
        raise


def cut(path: Path, size: int) -> None:
    """Drop what lies behind the first `size` bytes; a file that is not there begins empty."""
    path.touch()
    os.truncate(path, size)


# ------------------------------------------------------------------------------------------------ journal


def json_line(entry: Any) -> bytes:
    """An entry as one line of JSON."""
    return (json.dumps(entry) + "\n").encode()


def json_lines(content: bytes) -> Iterator[tuple[Any, int]]:
    """The entries up to the first torn line, each with the byte at which it ends."""
    end = 0
    for line in content.splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n"):
            return
        end += len(line)
        yield entry, end


class Journal(Generic[Entry]):
    """An append-only list of what is whole.

    Args:
        pack: an entry as bytes.
        unpack: the whole entries at the beginning of bytes, each with the byte at which it ends.
    """

    def __init__(
        self,
        path: Path,
        pack: Callable[[Entry], bytes] = json_line,
        unpack: Callable[[bytes], Iterator[tuple[Entry, int]]] = json_lines,
    ) -> None:
        self.path, self._pack, self._unpack = path, pack, unpack

    def read(self, is_whole: Callable[[Entry], bool] = lambda _: True) -> list[Entry]:
        """The entries up to the first that is torn, or whose piece is not whole; the rest is cut off."""
        entries, size = [], 0
        if self.path.exists():
            for entry, end in self._unpack(self.path.read_bytes()):
                if not is_whole(entry):
                    break
                entries.append(entry)
                size = end
            if file_size(self.path) > size:
                cut(self.path, size)
        return entries

    def add(self, entry: Entry) -> None:
        """Note a piece that is on disk."""
        append(self.path, self._pack(entry))


# ------------------------------------------------------------------------------------------------- folder


class PartialFolder:
    """A folder that is being made, for one job.

    It is made in `<folder>.partial`, which begins with `started.json` and ends by taking the folder's name; or, where
    people look into it meanwhile, in place. The file `seal` is written when everything else is there. From then on the
    folder is whole: what a kill leaves undone is only the removal of `private` files and the renaming.

    Args:
        job: what the folder is made for, as JSON gives it back. What was begun for another job is dropped.
        seal: the name of the last file; it holds the job, under `job` or among its own keys.
        private: names of files that are of use only until then.
        in_place: make it under its own name, and drop nothing; who calls says what may lie in it.
    """

    def __init__(
        self, folder: Path, job: dict[str, Any], *, seal: str, private: Sequence[str] = (), in_place: bool = False
    ) -> None:
        self.folder, self.job, self._in_place = Path(folder), as_json(job), in_place
        self.path = self.folder if in_place else self.folder.with_name(f"{self.folder.name}.partial")
        """Where its files are written."""
        self._seal = self.path / seal
        started = () if in_place else ("started.json",)
        self._private = [self.path / name for name in (*started, *private)]

    def begin(self, check: Callable[[Path], object] = lambda _: None) -> bool:
        """Take over what an earlier call for the same job left; False where it is whole, and only `close` is missing.

        Args:
            check: raises `EchocycleError` where a folder that says to be whole is not; it is then made anew.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self.sealed:
            try:
                check(self.path)
                return False
            except EchocycleError as error:
                console.print(f"{error} It is made anew.", soft_wrap=True, highlight=False)
                self.unseal()
        if self._in_place:
            sweep(self.path)
            return True
        empty_unless_begun(self.path, self.job)
        if not (self.path / "started.json").exists():
            write_json(self.path / "started.json", self.job)
        return True

    @property
    def sealed(self) -> bool:
        """Whether everything is in it, for this very job."""
        if not self._seal.exists():
            return False
        content = read_json(self._seal)
        if not isinstance(content, dict):
            return False
        there = {key: content.get(key) for key in self.job}
        return there == self.job or content.get("job") == self.job

    @property
    def closed(self) -> bool:
        """Whether nothing is left to do for it, so that nobody need be alone with it; for a folder made in place."""
        return self.sealed and not any(file.exists() for file in self._private)

    def seal(self, content: dict[str, Any]) -> None:
        """Write the last file, when the disk holds all others."""
        settle(self.path)
        write_json(self._seal, content)
        settle(self._seal)

    def unseal(self) -> None:
        """Remove the last file: what it closes is about to change."""
        self._seal.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the private files and give the folder its name, whatever a kill left of that to be done."""
        for file in self._private:
            file.unlink(missing_ok=True)
        sweep(self.path)
        if not self._in_place:
            os.replace(self.path, self.folder)
