"""Writes down every exchange under /v2, so that tests can hold it against RunPod's description."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpuctl.models import Json

RECORD = "GPUCTL_SIM_RECORD"
"""Names a folder; each simulator appends to a file of its own in it."""


class Recorder:
    """A line of JSON per exchange, in the file before the answer's end is on the wire.

    What never ends (server-sent events) is written with its head alone. No key is written.
    """

    def __init__(self, app: ASGIApp, folder: Path, simulator: Path) -> None:
        self._app = app
        self._path = folder / f"{os.getpid()}.ndjson"
        self._simulator = str(simulator)
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v2/"):
            await self._app(scope, receive, send)
            return
        asked, replay = await _read(receive)
        exchange = {**_request(scope), "simulator": self._simulator, "body": asked}
        answered, is_stream = bytearray(), False

        async def said(message: Message) -> None:
            nonlocal is_stream
            if message["type"] == "http.response.start":
                headers = dict(Headers(raw=message["headers"]).items())
                exchange.update(status=message["status"], headers=headers)
                is_stream = headers.get("content-type", "").startswith("text/event-stream")
                if is_stream:
                    self._write({**exchange, "answer": None})
            elif not is_stream:
                answered.extend(message.get("body", b""))
                if not message.get("more_body"):
                    self._write({**exchange, "answer": answered.decode("utf-8", "replace")})
            await send(message)

        await self._app(scope, replay, said)

    def _write(self, exchange: Json) -> None:
        with self._lock, self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(exchange) + "\n")


async def _read(receive: Receive) -> tuple[str, Receive]:
    """The whole body, and what gives it once more: a refusal comes before it is looked at."""
    body, has_more = bytearray(), True
    while has_more:
        message = await receive()
        body.extend(message.get("body", b""))
        has_more = bool(message.get("more_body"))
    waiting = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return body.decode("utf-8", "replace"), replay


def _request(scope: Scope) -> Json:
    headers = dict(Headers(scope=scope).items())
    if "authorization" in headers:
        headers["authorization"] = f"{headers['authorization'].partition(' ')[0]} ***"
    return {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "asked_headers": headers,
    }
