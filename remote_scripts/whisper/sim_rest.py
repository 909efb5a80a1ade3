"""The REST side of the stand-in: WhisperLive's two routes, answered by the same ear."""

from __future__ import annotations

import email.parser
import email.policy
import io
import json
import threading
import wave
from array import array
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from whisper import sim_ear
from whisper.configuration import Configuration

MOST_BODY_BYTES = 1 << 30


def start(configuration: Configuration, clients: Callable[[], int]) -> None:
    """Answers in the background. Raises OSError when the port is taken."""
    assert configuration.rest_port is not None
    address = (configuration.host, configuration.rest_port)
    server = ThreadingHTTPServer(address, _handler(configuration, clients))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="rest", daemon=True).start()


def transcribed(form: dict[str, bytes]) -> tuple[int, dict[str, Any]]:
    """The answer to one file, in the one format that gpuctl asks for."""
    wanted = form.get("response_format", b"json").decode()
    if wanted != "verbose_json":
        return 400, {"error": "the stand-in answers verbose_json only"}
    try:
        with wave.open(io.BytesIO(form["file"])) as sound:
            shape = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
            samples = array("h", sound.readframes(sound.getnframes()))
    except (KeyError, EOFError, wave.Error) as error:
        return 500, {"error": f"not a WAV file: {error}"}
    if shape != (1, 2, sim_ear.RATE):
        return 500, {"error": f"channels, bytes and rate are {shape}: the stand-in resamples not"}
    with_words = b"word" in form.get("timestamp_granularities", b"")
    segments = [_segment(i, heard, with_words) for i, heard in enumerate(sim_ear.listen(samples))]
    return 200, {
        "task": "transcribe",
        "language": form.get("language", b"en").decode(),
        "duration": len(samples) / sim_ear.RATE,
        "text": " ".join(str(segment["text"]) for segment in segments),
        "segments": segments,
    }


def _segment(number: int, heard: sim_ear.Heard, with_words: bool) -> dict[str, Any]:
    words = [
        {"word": word, "start": start, "end": end, "probability": 1.0}
        for start, end, word in heard.told_words
    ]
    found = {
        "id": number,
        "seek": 0,
        "start": heard.start,
        "end": heard.end,
        "text": heard.text.strip(),
        "no_speech_prob": 0.0,
    }
    return {**found, "words": words} if with_words else found


def _handler(
    configuration: Configuration, clients: Callable[[], int]
) -> type[BaseHTTPRequestHandler]:
    token = configuration.token

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/health":
                self._answer(404, {"error": "Not Found"})
                return
            body = {
                "status": "ok",
                "backend": "sim",
                "model": configuration.model,
                "clients": clients(),
                "max_clients": configuration.max_clients,
            }
            self._answer(200, body)

        def do_POST(self) -> None:
            content = self.rfile.read(min(int(self.headers["Content-Length"]), MOST_BODY_BYTES))
            if token and self.headers.get("Authorization") != f"Bearer {token}":
                self._answer(401, {"error": "Invalid or missing API key"})
            elif self.path != "/v1/audio/transcriptions":
                self._answer(404, {"error": "Not Found"})
            else:
                self._answer(*transcribed(_form(self.headers["Content-Type"], content)))

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """As quiet as the health server."""

    return Handler


def _form(content_type: str, content: bytes) -> dict[str, bytes]:
    """The parts of a multipart body by name."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + content)
    found: dict[str, bytes] = {}
    for part in parsed.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            found[name] = payload
    return found
