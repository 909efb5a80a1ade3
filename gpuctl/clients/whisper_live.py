"""WhisperLive's WebSocket, one connection: what is sent and what comes, in words of our own.

The protocol as its server 0.10 speaks it: workloads.md §2.2. Times on the wire are strings, counted
from the first sample of the connection.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuctl.closing import Closing
from gpuctl.errors import ConnectionFailed, CredentialsError, JobFailed, NoCapacity
from gpuctl.models import Json, Secret

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

RATE = 16000
SAMPLE_BYTES = 2
END_OF_AUDIO = b"END_OF_AUDIO"
OPEN_LIMIT_S = 20.0
CLOSE_LIMIT_S = 2.0
# Short segments: more than the server's usual ten can be completed at once.
SEGMENTS_TOLD = 60


@dataclass(frozen=True, slots=True)
class Word:
    """Seconds from the beginning of the audio; `probability` 0 to 1."""

    start: float
    end: float
    text: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech. Seconds; not `is_completed` = the server may still change its mind."""

    start: float
    end: float
    text: str
    is_completed: bool = True
    speaker: str | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """What a client asks for when it says hello. `language` None = the server finds out."""

    language: str | None = None
    task: str = "transcribe"
    model: str = "small"
    use_vad: bool = True
    prompt: str | None = None
    hotwords: str | None = None
    words: bool = False
    diarize: bool = False

    def as_json(self) -> Json:
        asked: Json = {
            "uid": "gpuctl",
            "language": self.language,
            "task": self.task,
            "model": self.model,
            "use_vad": self.use_vad,
            "audio_format": "int16",
            "send_last_n_segments": SEGMENTS_TOLD,
            "word_timestamps": self.words,
            # Ours: other servers ignore it.
            "gpuctl_positions": True,
        }
        if self.prompt:
            asked["initial_prompt"] = self.prompt
        if self.hotwords:
            asked["hotwords"] = self.hotwords
        if self.diarize:
            asked["enable_diarization"] = True
        return asked


@dataclass(frozen=True, slots=True)
class News:
    """One message. `segments` None = it was about something else. `position`: audio before it is
    done with, `received`: what the server has, in seconds; `passes`: how often it has looked.
    These three come from servers of ours only.
    """

    segments: tuple[Segment, ...] | None = None
    position: float | None = None
    received: float | None = None
    passes: int = 0
    language: str | None = None
    is_disconnect: bool = False
    warning: str | None = None


class ServerFull(NoCapacity):
    """Every place is taken; one is free in `wait_s` at the latest, the server says."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            "the transcription server has no free place",
            hint="wait, or deploy with a larger whisper.max_clients",
        )
        self.wait_s = wait_s


@dataclass(slots=True)
class LiveConnection(Closing):
    """An open connection whose server is ready. Use as a context manager."""

    backend: str
    _socket: ClientConnection
    _stack: ExitStack = field(default_factory=ExitStack)

    def send(self, samples: bytes) -> None:
        """16 kHz mono samples of 16 bits. Raises ConnectionFailed."""
        self._send(samples)

    def end(self) -> None:
        """The server closes at once and forgets what has no text yet."""
        self._send(END_OF_AUDIO)

    def news(self, timeout_s: float) -> News | None:
        """The next message; None when none came in time. Raises ConnectionFailed at the end."""
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415  only when used

        try:
            text = self._socket.recv(timeout=timeout_s)
        except TimeoutError:
            return None
        except (ConnectionClosed, OSError) as error:
            raise ConnectionFailed(f"the transcription server is gone: {error}") from error
        return parsed(text)

    def _send(self, data: bytes) -> None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415  only when used

        try:
            self._socket.send(data)
        except (ConnectionClosed, OSError) as error:
            raise ConnectionFailed(f"the transcription server is gone: {error}") from error

    def close(self) -> None:
        self._stack.close()


def connect(
    url: str, options: Options, *, token: Secret | None = None, ready_limit_s: float = 600.0
) -> LiveConnection:
    """Says hello and waits until the model is loaded, which may be a download.

    Raises ServerFull, CredentialsError, ConnectionFailed, JobFailed when there is no model.
    """
    from websockets.exceptions import (  # noqa: PLC0415  only when used
        ConnectionClosed,
        InvalidHandshake,
        InvalidStatus,
        InvalidURI,
    )

    stack = ExitStack()
    try:
        socket = stack.enter_context(_opened(url, token))
        socket.send(json.dumps(options.as_json()))
        backend = _until_ready(socket, ready_limit_s)
    except InvalidStatus as error:
        raise _refused(url, error.response.status_code) from error
    except (ConnectionClosed, InvalidHandshake, InvalidURI, OSError, TimeoutError) as error:
        stack.close()
        raise _unreachable(url, error) from error
    except BaseException:
        stack.close()
        raise
    return LiveConnection(backend, socket, stack)


def parsed(text: str | bytes) -> News:
    """A message in our words; what is unknown is ignored."""
    try:
        message = json.loads(text)
    except ValueError:
        return News()
    if not isinstance(message, dict):
        return News()
    segments = message.get("segments")
    return News(
        segments=tuple(map(_segment, segments)) if isinstance(segments, list) else None,
        position=_seconds(message.get("position")),
        received=_seconds(message.get("received")),
        passes=int(message.get("passes") or 0),
        language=message.get("language"),
        is_disconnect=message.get("message") == "DISCONNECT",
        warning=str(message.get("message")) if message.get("status") == "WARNING" else None,
    )


def _opened(url: str, token: Secret | None) -> Any:
    from websockets.sync.client import connect as open_socket  # noqa: PLC0415  only when used

    headers = {"Authorization": f"Bearer {token.reveal()}"} if token else None
    is_here = url.startswith(("ws://127.", "ws://localhost", "ws://[::1]"))
    return open_socket(
        url,
        additional_headers=headers,
        compression=None,  # sound does not get smaller
        proxy=None if is_here else True,
        open_timeout=OPEN_LIMIT_S,
        close_timeout=CLOSE_LIMIT_S,
        max_size=None,
    )


def _until_ready(socket: ClientConnection, limit_s: float) -> str:
    """The name of the server's backend."""
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415  only when used

    while True:
        try:
            message = json.loads(socket.recv(timeout=limit_s))
        except ConnectionClosed as error:
            raise ConnectionFailed(
                "the transcription server hung up without a word",
                hint="is it WhisperLive 0.9 or newer? gpuctl test health tells",
            ) from error
        if message.get("message") == "SERVER_READY":
            return str(message.get("backend", "unknown"))
        if message.get("status") == "WAIT":
            with suppress(TypeError, ValueError):
                raise ServerFull(max(0.0, float(message.get("message")) * 60))
            raise ServerFull(60.0)
        if message.get("status") == "ERROR":
            raise JobFailed(
                f"the transcription server says: {message.get('message')}",
                worker_code="model_missing",
                hint="gpuctl logs shows why; another model: whisper.model",
            )


def _segment(row: Json) -> Segment:
    words = row.get("words") or ()
    return Segment(
        start=float(row["start"]),
        end=float(row["end"]),
        text=str(row.get("text", "")),
        is_completed=bool(row.get("completed", True)),
        speaker=row.get("speaker"),
        words=tuple(
            Word(float(word["start"]), float(word["end"]), word["word"], word.get("probability"))
            for word in words
        ),
    )


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)


def _refused(url: str, status: int) -> ConnectionFailed | CredentialsError:
    if status in (401, 403):
        return CredentialsError(
            "the transcription server wants its token", hint="gpuctl config set whisper.token"
        )
    return ConnectionFailed(
        f"{url} answered {status} instead of a WebSocket",
        hint="is the service up? gpuctl test health",
    )


def _unreachable(url: str, error: Exception) -> ConnectionFailed:
    return ConnectionFailed(
        f"{url} cannot be reached: {str(error) or type(error).__name__}", hint="gpuctl test health"
    )
