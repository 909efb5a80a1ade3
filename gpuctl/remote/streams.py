"""What a running command's two output streams become: lines, and the last of stderr."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

_STDERR_KEPT_BYTES = 64 << 10


def lines(read: Callable[[], bytes]) -> Iterator[str]:
    """Lines of a stream, without their ends, as soon as each is whole. `read` gives b"" last."""
    rest = b""
    while chunk := read():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


class Tail:
    """Reads a stream to its end in a thread and keeps its last 64 KiB.

    Unread stderr would fill its pipe or window and stop the command for ever.
    """

    def __init__(
        self, read: Callable[[], bytes], on_bytes: Callable[[bytes], object] | None = None
    ) -> None:
        self._read = read
        self._on_bytes = on_bytes
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._drain, name="stderr", daemon=True)
        self._thread.start()

    def text(self, *, wait_s: float) -> str:
        """What came so far; the end of the stream is awaited for at most `wait_s`."""
        self._thread.join(wait_s)
        return bytes(self._kept).decode("utf-8", "replace")

    def _drain(self) -> None:
        while chunk := self._read():
            if self._on_bytes is not None:
                self._on_bytes(chunk)
            self._kept += chunk
            del self._kept[:-_STDERR_KEPT_BYTES]
