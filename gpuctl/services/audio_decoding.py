"""Turns whatever ffmpeg reads into what Whisper hears: 16 kHz mono samples of 16 bits."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gpuctl.clients.whisper_live import RATE, SAMPLE_BYTES
from gpuctl.errors import GpuctlError, MissingDependency, NotFound, UsageError

_PIECE_BYTES = RATE * SAMPLE_BYTES // 4
_PROBE_LIMIT_S = 30.0
_END_LIMIT_S = 5.0
_MOST_ERROR_BYTES = 4000
# What records here: ffmpeg's input format and device, in the order in which they are tried.
_MICROPHONES = {
    "linux": (("pulse", "default"), ("alsa", "default")),
    "darwin": (("avfoundation", ":default"),),
}


class BadAudio(GpuctlError):
    """ffmpeg could not read it, or not all of it."""

    code = "bad_audio"


@dataclass(frozen=True, slots=True)
class Probe:
    """What is known of a file before it is decoded; None where it does not say."""

    duration_s: float | None


def probe(file: Path) -> Probe:
    """Raises NotFound, UsageError for what is no file or holds no sound, MissingDependency."""
    if not file.exists():
        raise NotFound(f"there is no file {file}")
    if file.is_dir():
        raise UsageError(f"{file} is a folder", hint=f"gpuctl transcribe {file}/*")
    found = _run(
        "ffprobe",
        [*_QUIET, "-select_streams", "a:0", "-show_entries", "stream=index:format=duration"],
        ["-of", "json", _as_input(file)],
    )
    if found.returncode:
        raise BadAudio(
            f"{file} cannot be read as sound: {_last_line(found.stderr, str(file))}",
            hint="ffmpeg reads nearly everything that has sound in it; is the file whole?",
        )
    told = json.loads(found.stdout)
    if not told.get("streams"):
        raise BadAudio(f"{file} has no sound in it", hint="ffprobe shows what it holds")
    with contextlib.suppress(KeyError, ValueError):
        return Probe(float(told["format"]["duration"]))
    return Probe(None)


def of_file(file: Path) -> Decoder:
    return Decoder(["-i", _as_input(file)], str(file))


def of_stdin(stream: IO[bytes], *, is_raw: bool) -> Iterator[bytes]:
    """What comes on `stream`: any format that ffmpeg knows, or with `is_raw` the samples."""
    return _raw(stream) if is_raw else Decoder(["-i", "pipe:0"], "stdin", stdin=stream)


def of_microphone(device: str | None = None) -> Decoder:
    """Records until it is stopped. Raises MissingDependency when there is nothing to record with,
    UsageError when the microphone cannot be opened."""
    known = _MICROPHONES.get(sys.platform, ())
    if device is not None:
        kind, colon, name = device.partition(":")
        if not colon:
            raise UsageError("--device wants FORMAT:NAME", hint="pulse:default, alsa:hw:0")
        known = ((kind, name),)
    reasons = []
    for kind, name in known:
        decoder = Decoder(["-f", kind, "-i", name], f"{kind}:{name}", is_recording=True)
        try:
            decoder.begin()
        except BadAudio as failure:
            decoder.close()
            reasons.append(failure.message)
            continue
        return decoder
    tried = "; ".join(reasons) or f"nothing is known for {sys.platform}"
    raise MissingDependency(
        f"no microphone can be opened here ({tried})",
        hint="name one with --device FORMAT:NAME, or pipe sound in: arecord … | "
        "gpuctl transcribe --stdin",
    )


_QUIET = ["-hide_banner", "-loglevel", "error"]


class Decoder:
    """An ffmpeg that runs; iterating gives its samples. Ends with `close` or at the end."""

    def __init__(
        self,
        source: list[str],
        name: str,
        *,
        stdin: IO[bytes] | None = None,
        is_recording: bool = False,
    ) -> None:
        self._name = name
        self._first: bytes | None = None
        self._is_stopped = False
        self.is_recording = is_recording
        argv = [_program("ffmpeg"), *_QUIET, "-nostdin", *source]
        if stdin is not None:
            argv.remove("-nostdin")
        argv += ["-vn", "-ac", "1", "-ar", str(RATE), "-f", "s16le", "pipe:1"]
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us to decide
        )
        self._errors = bytearray()
        self._listener = threading.Thread(target=self._read_errors, daemon=True)
        self._listener.start()

    def begin(self) -> None:
        """Waits for the first sound. Raises BadAudio when there is none."""
        self._first = self._read()
        if not self._first:
            self._check()
            raise BadAudio(f"{self._name} gave no sound")

    def stop(self) -> None:
        """No more is recorded; what was recorded still comes."""
        self._is_stopped = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def close(self) -> None:
        """Ends it; a second time does nothing."""
        self._process.kill()
        self._process.wait()
        self._listener.join(_END_LIMIT_S)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece, self._first = (self._first or self._read()), None
        if not piece:
            try:
                self._check()
            finally:
                self.close()
            raise StopIteration
        return piece

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        try:
            return self._process.stdout.read(_PIECE_BYTES)
        except ValueError:  # closed by the one who has enough
            return b""

    def _check(self) -> None:
        """Raises BadAudio when ffmpeg stopped because it could not go on."""
        code = self._process.wait()
        self._listener.join(_END_LIMIT_S)
        if code and not self._is_stopped:
            said = _last_line(bytes(self._errors), self._name)
            raise BadAudio(f"{self._name} cannot be decoded: {said}")

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):
            for line in self._process.stderr:
                self._errors += line
                del self._errors[:-_MOST_ERROR_BYTES]


def _raw(stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while data := os.read(stream.fileno(), _PIECE_BYTES):
        data = rest + data
        whole = len(data) - len(data) % SAMPLE_BYTES
        rest = data[whole:]
        if whole:
            yield data[:whole]


def _as_input(file: Path) -> str:
    """A name like `http:…` or `-x` must not become a protocol or an option."""
    return f"file:{file}"


def _run(program: str, *words: list[str]) -> subprocess.CompletedProcess[bytes]:
    argv = [_program(program), *(word for group in words for word in group)]
    try:
        return subprocess.run(argv, capture_output=True, timeout=_PROBE_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BadAudio(f"{program} gave no answer within {_PROBE_LIMIT_S:g} s") from error


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingDependency(
            f"{name} is not installed here",
            hint="apt install ffmpeg   (macOS: brew install ffmpeg)",
        )
    return found


def _last_line(said: bytes, name: str) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    line = lines[-1] if lines else "no reason given"
    return line.removeprefix(f"file:{name}: ").strip()
