"""GDCM in a process of its own: it decodes what nothing else here can (lossless JPEG, JPEG-LS), but not safely.

At some damaged frames it ends the process it runs in, which would end a batch of a thousand recordings; at others it
decodes whatever comes out and complains on the terminal. So it runs apart: a process that dies, hangs or complains is a
damaged frame.

The parent sends a line of JSON with the decoding options, then each frame with its length before it. The child answers
each with a line of JSON and, if that says so, the pixels.
"""

import contextlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
from typing import Any, BinaryIO

import numpy as np

LONGEST_S = 60.0
"""Seconds for one frame; one of 1024 x 768 takes a few hundredths of one."""


class DecoderApart:
    """A child process that decodes frames. Use it as a context manager."""

    def __init__(self, options: dict[str, Any], syntax: str) -> None:
        self.request = json.dumps({"syntax": syntax, "options": options}).encode() + b"\n"
        self.child: subprocess.Popen[bytes] | None = None

    def decode(self, stored: bytes) -> tuple[np.ndarray, dict[str, Any]]:
        """Pixels and their properties, as pydicom's `as_array` gives them.

        Raises:
            ValueError: the frame is damaged.
        """
        if self.child is None:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "echocycle.recordings.apart"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._send(self.request)
        guard = threading.Timer(LONGEST_S, self.child.kill)
        guard.start()
        try:
            self._send(struct.pack("<Q", len(stored)) + stored)
            assert self.child.stdout is not None
            line = self.child.stdout.readline()
            if not line.endswith(b"\n"):
                raise ValueError("the decoder gave up")
            answer = json.loads(line)
            if "error" in answer:
                raise ValueError(answer["error"])
            data = self.child.stdout.read(answer["bytes"])
            if len(data) < answer["bytes"]:
                raise ValueError("the decoder gave up")
        finally:
            guard.cancel()
        return np.frombuffer(data, answer["type"]).reshape(answer["shape"]), answer["properties"]

    def close(self) -> None:
        """End the child; it has nothing to lose."""
        if self.child is not None:
            self.child.kill()
            for pipe in (self.child.stdin, self.child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # a frame that the dead child never took is still in the pipe
                        pipe.close()
            self.child.wait()
            self.child = None

    def __del__(self) -> None:
        self.close()

    def _send(self, data: bytes) -> None:
        assert self.child is not None
        assert self.child.stdin is not None
        try:
            self.child.stdin.write(data)
            self.child.stdin.flush()
        except OSError:
            raise ValueError("the decoder gave up") from None


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """The child: decode frames until no more come."""
    from pydicom import uid
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    job = json.loads(requests.readline())
    decoder = get_decoder(uid.UID(job["syntax"]))
    with tempfile.TemporaryFile() as complaints:
        os.dup2(complaints.fileno(), 2)  # libjpeg's warnings about corrupt data come as text on the terminal alone
        while len(head := requests.read(8)) == 8:
            stored = requests.read(struct.unpack("<Q", head)[0])
            answer: dict[str, Any]
            said_before = os.fstat(complaints.fileno()).st_size
            try:
                pixels, properties = decoder.as_array(
                    encapsulate([stored]), index=0, raw=True, decoding_plugin="gdcm", **job["options"]
                )
            except Exception as error:  # whatever the plugin raises at bad bytes
                answer, data = {"error": type(error).__name__}, b""
            else:
                if os.fstat(complaints.fileno()).st_size > said_before:
                    answer, data = {"error": "corrupt data"}, b""
                else:
                    data = pixels.tobytes()
                    answer = {
                        "bytes": len(data),
                        "type": pixels.dtype.str,
                        "shape": pixels.shape,
                        "properties": properties,
                    }
            answers.write(json.dumps(answer).encode() + b"\n" + data)
            answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
