"""/health, /ready and /status beside the WhisperLive server, on a port of their own."""

from __future__ import annotations

import hmac
import json
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from whisper.configuration import Configuration
from whisper.probe import NotReady, greet

# A handshake takes one of the clients' places for an instant: not at every question.
REMEMBERED_S = 5.0
HANDSHAKE_LIMIT_S = 20.0
NVIDIA_SMI_LIMIT_S = 5.0
Tell = Callable[[str], None]


class Health:
    """What is known of the server. `clients` tells how many it has, `failure` why it ended."""

    def __init__(self, configuration: Configuration, clients: Callable[[], int]) -> None:
        self.configuration = configuration
        self.stage = "starting"
        self.failure: str | None = None
        self._clients = clients
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._readiness: tuple[bool, str] = (False, "starting")

    def health(self) -> tuple[int, dict[str, Any]]:
        """Alive, as long as the server has not failed; loading a model is being alive."""
        body = {"status": "failed" if self.failure else "ok", "stage": self.stage}
        return (503, {**body, "error": self.failure}) if self.failure else (200, body)

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Whether the server takes a client now. A full server is ready: it says WAIT itself."""
        is_ready, why = self._known_readiness()
        return (200 if is_ready else 503), {"ready": is_ready, "detail": why, "stage": self.stage}

    def status(self) -> tuple[int, dict[str, Any]]:
        is_ready, _ = self._known_readiness()
        return 200, {
            "status": "failed" if self.failure else self.stage,
            "ready": is_ready,
            "uptime_s": round(time.monotonic() - self._began, 1),
            "model": self.configuration.model,
            "clients": self._clients(),
            "max_clients": self.configuration.max_clients,
            "max_connection_s": self.configuration.max_connection_s,
            "gpus": gpus(),
            "configuration": self.configuration.shown(),
            "error": self.failure,
        }

    def _known_readiness(self) -> tuple[bool, str]:
        if self.failure is not None or self.stage != "serving":
            return False, self.failure or self.stage
        with self._lock:
            now = time.monotonic()
            is_old = self._asked_at is None or now - self._asked_at > REMEMBERED_S
            if is_old or not self._readiness[0]:
                self._readiness = self._ask()
                self._asked_at = time.monotonic()
            return self._readiness

    def _ask(self) -> tuple[bool, str]:
        try:
            answer = greet(
                self.configuration.port, token=self.configuration.token, limit_s=HANDSHAKE_LIMIT_S
            )
        except NotReady as error:
            return False, str(error)
        if answer.get("status") == "WAIT":
            return True, "every place is taken"
        if answer.get("message") == "SERVER_READY":
            return True, "takes a client"
        return False, str(answer.get("message"))


def gpus() -> list[dict[str, Any]]:
    """Each card's name and memory in MiB; [] where there is none, or no driver."""
    fields = "name,memory.used,memory.total,utilization.gpu"
    try:
        found = subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=NVIDIA_SMI_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.split(", ") for line in found.stdout.splitlines()] if not found.returncode else []
    return [
        {"name": row[0], "used_mib": row[1], "total_mib": row[2], "use_percent": row[3]}
        for row in rows
        if len(row) == 4
    ]


def serve(health: Health) -> ThreadingHTTPServer:
    """Answers in the background until `shutdown`. Raises OSError when the port is taken."""
    configuration = health.configuration
    server = ThreadingHTTPServer((configuration.host, configuration.health_port), _handler(health))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    routes = {"/health": health.health, "/ready": health.ready, "/status": health.status}
    token = health.configuration.token

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path not in routes:
                self._answer(404, {"error": f"there is {', '.join(routes)}"})
            elif path == "/status" and not self._may_look():
                self._answer(401, {"error": "Authorization: Bearer TOKEN is missing or wrong"})
            else:
                self._answer(*routes[path]())

        def _may_look(self) -> bool:
            """Who is merely to know whether it lives needs no token; the rest is ours."""
            shown = self.headers.get("Authorization") or ""
            return token is None or hmac.compare_digest(shown.encode(), f"Bearer {token}".encode())

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """A health check every few seconds is nothing to log."""

    return Handler
