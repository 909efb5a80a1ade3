"""A loopback server that answers the Messages API by script and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One answer, sent once `hold` is set: a test decides how long Claude thinks."""

    status: int = 200
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None


def message(
    text: str, *, stop_reason: str | None = "end_turn", before: Sequence[Mapping[str, Any]] = ()
) -> Reply:
    content = [*before, {"type": "text", "text": text}] if text else list(before)
    return Reply(
        body={
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-5-5",
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {"input_tokens": 21, "output_tokens": 12},
        }
    )


def problem(status: int, kind: str, said: str = "no") -> Reply:
    """An error as the API words it. The SDK waits only 20 ms before it tries again."""
    return Reply(
        status,
        {"type": "error", "error": {"type": kind, "message": said}, "request_id": "req_1"},
        {"retry-after-ms": "20", "request-id": "req_1"},
    )


@dataclass
class Stub:
    """`replies` are given in turn; the last one is repeated."""

    url: str
    replies: list[Reply]
    requests: list[dict[str, Any]] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)

    def take(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def claude_stub(*replies: Reply) -> Iterator[Stub]:
    """Serves until the block ends; held replies are let go then."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            body = json.loads(self.rfile.read(length))
            stub.requests.append({"path": self.path, "headers": dict(self.headers), "body": body})
            reply = stub.take()
            stub.arrived.set()
            if reply.hold is not None:
                reply.hold.wait(30)
            self._answer(reply)

        def _answer(self, reply: Reply) -> None:
            payload = json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in {"content-type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)
            except (BrokenPipeError, ConnectionResetError):
                # The client gave up: that is what some tests are about.
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub = Stub(f"http://127.0.0.1:{server.server_port}", list(replies))
    held = [reply.hold for reply in replies if reply.hold is not None]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stub
    finally:
        for hold in held:
            hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
