"""Sound on its way to a server: read ahead by a thread, kept until it is known to be heard."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator

from gpuctl.clients.whisper_live import RATE, SAMPLE_BYTES

# The resolution in which loudness is remembered.
STEP_S = 0.1
_STEP_BYTES = int(RATE * STEP_S) * SAMPLE_BYTES
# Mean absolute sample value up to which a step is silence: -55 dB of full scale.
QUIET = 58
READ_AHEAD_S = 120.0
_BYTES_A_SECOND = RATE * SAMPLE_BYTES


class Tape:
    """16 kHz mono samples of 16 bits, by the second they were recorded at.

    A live source is never made to wait, whatever that takes of memory: 2 MB a minute.
    """

    def __init__(self, source: Iterator[bytes], *, is_live: bool = False) -> None:
        self._source = source
        self._is_live = is_live
        self._kept = bytearray()
        self._kept_from = 0
        self._loud = bytearray()
        self._rest = b""
        self._length = 0
        self._is_ended = False
        self._is_closed = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="tape", daemon=True)
        self._thread.start()

    @property
    def length_s(self) -> float:
        """How much has come so far."""
        with self._changed:
            return self._length / _BYTES_A_SECOND

    @property
    def is_ended(self) -> bool:
        """Nothing more comes: the source is at its end, or failed."""
        with self._changed:
            return self._is_ended

    @property
    def failure(self) -> BaseException | None:
        """What the source raised instead of ending."""
        with self._changed:
            return self._failure

    def take(self, at_s: float, seconds: float) -> bytes:
        """What there is from `at_s` on, `seconds` at most; b"" when it has not come yet."""
        with self._changed:
            begin = _aligned(at_s) - self._kept_from
            assert begin >= 0, "that part of the tape was forgotten"
            return bytes(self._kept[begin : begin + _aligned(seconds)])

    def forget(self, before_s: float) -> None:
        with self._changed:
            count = min(_aligned(before_s) - self._kept_from, len(self._kept))
            if count > 0:
                del self._kept[:count]
                self._kept_from += count
                self._changed.notify_all()

    def quiet_until(self, at_s: float) -> float:
        """The end of the silence that `at_s` lies in; `at_s` itself where it is loud."""
        with self._changed:
            step = int(at_s / STEP_S + 1e-6)
            while step < len(self._loud) and not self._loud[step]:
                step += 1
            return max(at_s, step * STEP_S)

    def loud_s(self, begin_s: float, end_s: float) -> float:
        """Seconds of sound between the two."""
        with self._changed:
            return loud_s(self._loud, begin_s, end_s)

    def close(self) -> None:
        """Stops reading; the source is its owner's to close, which also ends a read that waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(0.5)

    def _read(self) -> None:
        try:
            for piece in self._source:
                if not self._take_in(piece):
                    return
        except BaseException as failure:  # noqa: BLE001  told where the tape is used
            self._end(failure)
        else:
            self._end(None)

    def _take_in(self, piece: bytes) -> bool:
        """False when the tape was closed meanwhile."""
        data = self._rest + piece
        loud, rest = loudness(data), data[len(data) // _STEP_BYTES * _STEP_BYTES :]
        with self._changed:
            self._rest = rest
            self._kept += piece
            self._length += len(piece)
            self._loud += loud
            most = READ_AHEAD_S * _BYTES_A_SECOND
            while not self._is_live and not self._is_closed and len(self._kept) > most:
                self._changed.wait()
            return not self._is_closed

    def _end(self, failure: BaseException | None) -> None:
        with self._changed:
            self._failure, self._is_ended = failure, True


def _aligned(seconds: float) -> int:
    """Bytes, never in the middle of a sample."""
    return round(seconds * RATE) * SAMPLE_BYTES


def loudness(data: bytes) -> bytes:
    """One byte for each whole step, 1 where it is loud."""
    found = bytearray()
    for number in range(len(data) // _STEP_BYTES):
        samples = array("h", data[number * _STEP_BYTES : (number + 1) * _STEP_BYTES])
        found.append(sum(map(abs, samples)) > QUIET * len(samples))
    return bytes(found)


def loud_s(loud: bytes | bytearray, begin_s: float, end_s: float) -> float:
    """Seconds of sound between the two."""
    return sum(loud[int(begin_s / STEP_S + 1e-6) : int(end_s / STEP_S + 0.999999)]) * STEP_S
