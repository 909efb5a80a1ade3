"""A stand-in for WhisperLive that speaks its protocol and loses audio exactly as it does.

What a client must know (workloads.md §2.2–2.3) is kept: nothing but a close for a bad greeting,
WAIT, DISCONNECT at the next frame after the limit, numbers as strings, the last segments again and
again, completed only after repeats, a buffer that drops its oldest 30 s above 45 s, less than a
second never heard, END_OF_AUDIO throwing away what has no text yet.
"""

from __future__ import annotations

import json
import os
import threading
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from whisper import sim_ear, sim_rest
from whisper.configuration import Configuration
from whisper.sim_ear import RATE, Heard

MOST_BUFFER_S, DROPPED_S = 45, 30
LEAST_PASS_S = 1.0
PAUSE_S = 0.05
END_OF_AUDIO = b"END_OF_AUDIO"
FORMATS = ("float32", "int16", "uint8")
Tell = Callable[[str], None]


class SimServer:
    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._clients: dict[object, float] = {}
        self._lock = threading.Lock()

    def clients(self) -> int:
        return len(self._clients)

    def prepare(self, tell: Tell) -> None:
        tell("loading the model")
        time.sleep(float(os.environ.get("GPUCTL_SIM_LOAD_S") or 0))

    def run(self) -> None:
        from websockets.sync.server import serve

        configuration = self._configuration
        if configuration.rest_port is not None:
            sim_rest.start(configuration, self.clients)
        refuse = self._refuse_without_token if configuration.token else None
        with serve(
            self._serve, configuration.host, configuration.port, process_request=refuse
        ) as server:
            server.serve_forever()

    def _refuse_without_token(self, connection: Any, request: Any) -> Any:
        shown = request.headers.get("Authorization", "")
        if shown == f"Bearer {self._configuration.token}":
            return None
        return connection.respond(401, "Unauthorized\n")

    def _serve(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        with suppress(ConnectionClosed):
            options = _greeting(connection.recv())
            if options is None:
                return  # closed without a word, as the real one does
            if not self._take_place(connection):
                wait = {"uid": options["uid"], "status": "WAIT", "message": self._wait_minutes()}
                connection.send(json.dumps(wait))
                return
            self._listen(connection, options)

    def _listen(self, connection: Any, options: dict[str, Any]) -> None:
        """One client, until it ends, leaves or has stayed too long."""
        session = Session(connection.send, options)
        began = self._clients[connection]
        try:
            session.start()
            while True:
                if time.monotonic() - began >= self._configuration.max_connection_s:
                    session.send({"message": "DISCONNECT"})
                    return
                frame = connection.recv()
                # As text it is no frame: the real server stumbles over it and hangs up.
                if frame == END_OF_AUDIO or isinstance(frame, str):
                    return
                session.add(sim_ear.samples_of(frame, options.get("audio_format", "float32")))
        finally:
            session.end()
            with self._lock:
                self._clients.pop(connection, None)

    def _take_place(self, connection: object) -> bool:
        with self._lock:
            if len(self._clients) >= self._configuration.max_clients:
                return False
            self._clients[connection] = time.monotonic()
            return True

    def _wait_minutes(self) -> float:
        with self._lock:
            oldest = min(self._clients.values(), default=time.monotonic())
        return (self._configuration.max_connection_s - (time.monotonic() - oldest)) / 60


def _greeting(text: Any) -> dict[str, Any] | None:
    """A client's options, None where they cannot be meant."""
    try:
        options: dict[str, Any] = json.loads(text)
        _ = options["uid"], options["language"], options["task"], options["model"]
    except (ValueError, KeyError, TypeError):
        return None
    return options if options.get("audio_format", "float32") in FORMATS else None


class Session:
    """What is known of one client's audio: `_offset` seconds of it are done with."""

    def __init__(self, send: Callable[[str], None], options: dict[str, Any]) -> None:
        self._send, self._options = send, options
        self._samples: array[int] = array("h")
        self._dropped_s = 0.0
        self._passes = 0
        self._offset = 0.0
        self._told: dict[str, Any] = {}
        self._done: list[dict[str, Any]] = []
        self._last_text, self._repeats, self._repeat_end = "", 0, 0.0
        self._is_over = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> None:
        self.send({"message": "SERVER_READY", "backend": "sim"})
        if self._options["language"] is None:
            self.send({"language": "en", "language_prob": 1})
        threading.Thread(target=self._hear, daemon=True).start()

    def end(self) -> None:
        self._is_over.set()

    def send(self, message: dict[str, Any]) -> None:
        self._send(json.dumps({"uid": self._options["uid"], **message}))

    def add(self, samples: array[int]) -> None:
        with self._lock:
            if len(self._samples) > MOST_BUFFER_S * RATE:
                del self._samples[: DROPPED_S * RATE]
                self._dropped_s += DROPPED_S
                self._offset = max(self._offset, self._dropped_s)
            self._samples += samples

    def _hear(self) -> None:
        from websockets.exceptions import ConnectionClosed

        with suppress(ConnectionClosed):
            while not self._is_over.wait(PAUSE_S):
                self._tell_position()
                self._pass()

    def _tell_position(self) -> None:
        """As our own addition to the real server does (live_server.py)."""
        received = self._dropped_s + len(self._samples) / RATE
        told = {
            "position": f"{self._offset:.3f}",
            "received": f"{received:.3f}",
            "passes": self._passes,
        }
        if told != self._told and self._options.get("gpuctl_positions"):
            self._told = told
            self.send(told)

    def _pass(self) -> None:
        """One look at all that has no text yet, as WhisperLive's own loop does it."""
        with self._lock:
            offset = self._offset
            chunk = self._samples[round((offset - self._dropped_s) * RATE) :]
        duration = len(chunk) / RATE
        if duration < LEAST_PASS_S:
            return
        heard = sim_ear.listen(chunk)
        self._passes += 1
        if not heard:
            self._offset = offset + duration
            return
        for one in heard[:-1]:
            self._done.append(self._segment(one, offset, completed=True))
            self._offset = offset + one.end
        last = self._repeated(heard[-1], offset)
        count = int(self._options.get("send_last_n_segments", 10))
        self.send({"segments": [*self._done[-count:], *([last] if last else [])]})

    def _repeated(self, last: Heard, offset: float) -> dict[str, Any] | None:
        """The tail; None once it came often enough to be taken as completed."""
        if last.text == self._last_text:
            self._repeats += 1
        else:
            self._last_text, self._repeats, self._repeat_end = last.text, 0, last.end
        if self._repeats <= int(self._options.get("same_output_threshold", 10)):
            return self._segment(last, offset, completed=False)
        # A sentence that was said twice is told once: the real one takes it for an echo.
        if not self._done or self._done[-1]["text"] != last.text:
            self._done.append(self._segment(last, offset, completed=True))
        self._offset = offset + self._repeat_end
        self._last_text, self._repeats = "", 0
        return None

    def _segment(self, heard: Heard, offset: float, *, completed: bool) -> dict[str, Any]:
        found: dict[str, Any] = {
            "start": f"{offset + heard.start:.3f}",
            "end": f"{offset + heard.end:.3f}",
            "text": heard.text,
            "completed": completed,
        }
        if self._options.get("word_timestamps"):
            found["words"] = [
                {
                    "word": word,
                    "start": f"{offset + start:.3f}",
                    "end": f"{offset + end:.3f}",
                    "probability": 1.0,
                }
                for start, end, word in heard.told_words
            ]
        return found
