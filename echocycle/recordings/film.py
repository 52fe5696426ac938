"""End of the flow: pictures to an H.264 MP4 that browsers play, one at a time, so that length costs no memory."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from echocycle.files import replacing


class _Remembering:
    """An open file that keeps what the system refused and goes on in silence: PyAV would print what a callback raises,
    and drop it."""

    def __init__(self, file: BinaryIO):
        self.file, self.name = file, file.name
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        return self._tried(lambda: self.file.write(data), len(data))

    def seek(self, place: int, whence: int = 0) -> int:
        return self._tried(lambda: self.file.seek(place, whence), place)

    def tell(self) -> int:
        return self._tried(self.file.tell, 0)

    def check(self) -> None:
        """Raise what was refused."""
        if self.error is not None:
            raise self.error

    def _tried(self, call: Any, instead: int) -> int:
        if self.error is None:
            try:
                return int(call())
            except OSError as error:
                self.error = error
        return instead


def stream_mp4(
    path: Path, frames: Iterable[np.ndarray], size: tuple[int, int], fps: float, preset: str = "medium"
) -> None:
    """Write uint8 RGB `frames`, each (height, width, 3), of an even `size` (height, width); whole or not at all.

    The same frames give the same bytes. What the system refuses is an `OSError`.

    Args:
        preset: x264's: `veryfast` takes a third of the time of `medium` for a larger file.
    """
    import av

    with replacing(path) as temporary, temporary.open("wb") as file:
        sink = _Remembering(file)
        try:
            # bitexact leaves the library's version out of the file
            options = {"fflags": "+bitexact", "movflags": "+faststart"}
            with av.open(sink, "w", format="mp4", options=options) as output:
                stream = output.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width = size
                stream.pix_fmt = "yuv420p"
                stream.codec_context.thread_count = 1  # the bytes must not depend on the number of cores
                # with `mbtree` (macroblock trees) x264's choices depend on what lies in memory, on AVX-512 machines
                chosen = {"crf": "16", "preset": preset, "flags": "+bitexact", "x264-params": "mbtree=0"}
                stream.codec_context.options = chosen
                for frame in _drawn_ahead(frames):
                    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                    output.mux(stream.encode(picture))
                    sink.check()
                output.mux(stream.encode())
        except Exception:
            sink.check()
            raise
        sink.check()


def _drawn_ahead(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The frames in their order, the next one drawn on another core while this one is encoded."""
    drawing = iter(frames)
    with ThreadPoolExecutor(1) as other:
        following = other.submit(next, drawing, None)
        while (frame := following.result()) is not None:
            following = other.submit(next, drawing, None)
            yield frame
