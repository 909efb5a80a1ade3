"""A loopback server that speaks as much of REST v2 as renting needs, and misbehaves to order."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gpuctl.models import Json

GPUS: list[Json] = [
    {"id": "NVIDIA L4", "name": "L4", "memory": 24, "price": {"secure": 0.39, "community": 0}},
    {
        "id": "NVIDIA GeForce RTX 4090",
        "name": "RTX 4090",
        "memory": 24,
        "price": {"secure": 0.69, "community": 0.34},
    },
    {"id": "NVIDIA L40S", "name": "L40S", "memory": 48, "price": {"secure": 0.89, "community": 0}},
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent instead of the usual; `happens`: the request is carried out all the same.

    `body` None keeps the usual body; `cut` ends the connection in the middle of it.
    """

    status: int
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    happens: bool = False
    cut: bool = False


def problem(status: int, detail: str) -> str:
    return json.dumps({"title": "Problem", "status": status, "detail": detail})


class PodApi:
    """Pods by id, every request in order, and the answers that wait to be given."""

    def __init__(self) -> None:
        self.pods: dict[str, Json] = {}
        self.requests: list[tuple[str, str, Json | None]] = []
        self.scripted: dict[str, list[Answer]] = {}
        self.next_pod: Json = {}
        self.url = ""

    def script(self, request: str, *answers: Answer) -> None:
        """`request` is the method and the beginning of the path: `POST /v2/pods`."""
        self.scripted.setdefault(request, []).extend(answers)

    def calls(self, method: str, path: str = "/v2/pods") -> list[Json | None]:
        return [body for m, p, body in self.requests if m == method and p.startswith(path)]

    def take(self, method: str, path: str) -> Answer | None:
        line = f"{method} {path}"
        for request, answers in self.scripted.items():
            if line.startswith(request) and answers:
                return answers.pop(0)
        return None

    def usual(self, method: str, path: str, body: Json | None) -> tuple[int, Any]:
        parts = path.split("?")[0].split("/")[2:]
        if parts[:2] == ["catalog", "gpus"]:
            return 200, {"gpus": [{**gpu, "availability": "HIGH"} for gpu in GPUS]}
        if parts[0] == "network-volumes":
            return 200, {"id": parts[1], "name": "v", "size": 50, "dataCenter": "EU-RO-1"}
        if parts == ["pods"]:
            return self._collection(method, body or {})
        return self._pod(method, parts, body or {})

    def _collection(self, method: str, body: Json) -> tuple[int, Any]:
        if method == "GET":
            return 200, {"pods": list(self.pods.values())}
        pod_id = f"pod{len(self.pods) + 1}"
        pod = {"id": pod_id, "status": "RUNNING", "cost": 0.39, "startedAt": "2026-11-21T10:00:00Z"}
        address = {"host": "127.0.0.1", "port": 22022, "username": "root"}
        pod |= {"ssh": {"proxy": None, "direct": address}, "gpu": body["gpu"]}
        pod |= {key: body[key] for key in ("name", "image", "cloud")}
        self.pods[pod_id] = {**pod, **self.next_pod}
        return 201, self.pods[pod_id]

    def _pod(self, method: str, parts: list[str], body: Json) -> tuple[int, Any]:
        pod = self.pods.get(parts[1])
        if pod is None:
            return 404, json.loads(problem(404, "pod not found"))
        if method == "DELETE":
            del self.pods[parts[1]]
            return 204, None
        if parts[2:] == ["action"]:
            pod["status"] = {"stop": "EXITED"}.get(body["action"], "RUNNING")
        if parts[2:] == ["logs"]:
            return 200, "pulling image layer 3/9"
        return 200, pod


class _Handler(BaseHTTPRequestHandler):
    api: PodApi
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.api.requests.append((self.command, self.path, body))
        answer = self.api.take(self.command, self.path)
        status, usual = 0, None
        if answer is None or answer.happens:
            status, usual = self.api.usual(self.command, self.path, body)
        if isinstance(usual, str):
            self._log(usual)
        else:
            self._answer(answer or Answer(status), usual)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _answer(self, answer: Answer, usual: Any) -> None:
        text = answer.body
        if text is None:
            text = "" if usual is None else json.dumps(usual)
        content = text.encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("x-request-id", "req-7")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if answer.cut else content)
        self.close_connection = answer.cut

    def _log(self, line: str) -> None:
        data = json.dumps({"source": "system", "line": line, "ts": "t"})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f": keep-alive\n\nid: t1\ndata: {data}\n\n".encode())
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Tests print nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone is what some tests are about."""


@contextmanager
def pod_api() -> Iterator[PodApi]:
    api = PodApi()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}/v2"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
