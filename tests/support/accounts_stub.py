"""A loopback server that is every account at once: RunPod, Anthropic, Hugging Face, Docker Hub,
AWS's STS. It accepts one key each, remembers what it was asked, and misbehaves to order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gpuctl.models import Json

RUNPOD_KEY = "rpa_GOOD0123456789ABCDEF"
ANTHROPIC_KEY = "sk-ant-good-0123456789abcdef"
HF_TOKEN = "hf_goodGOODgoodGOOD0123"
DOCKER_TOKEN = "dckr_pat_good0123456789"
AWS_KEY_ID = "AKIAGOODGOODGOOD0000"
AWS_SECRET = "good/aws/secret/0123456789/abcdefghijklm"

_STS = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    "<GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/op</Arn><UserId>U</UserId>"
    "<Account>123456789012</Account></GetCallerIdentityResult>"
    "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
)
_STS_REFUSAL = (
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
    "<Code>InvalidClientTokenId</Code><Message>The security token is invalid</Message></Error>"
    "<RequestId>r</RequestId></ErrorResponse>"
)
GPUS: list[Json] = [
    {"id": "NVIDIA L4", "name": "L4", "memory": 24, "price": {"secure": 0.39}},
    {"id": "NVIDIA L40S", "name": "L40S", "memory": 48, "price": {"secure": 0.89}},
]


class Accounts:
    """`answers` by the beginning of `METHOD /path` take the place of the usual: (status, body).
    `hanging` are such beginnings that are never answered before `close`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.keys: list[str] = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIfoo other@host"]
        self.pods: list[Json] = []
        self.openapi: Json = {"paths": {}}
        self.gpus = GPUS
        self.balance = 25.0
        self.clock_offset_s = 0.0
        self.rate_limit = '"minute";r=590;t=12, "hour";r=29000;t=900'
        self.answers: dict[str, tuple[int, Any]] = {}
        self.hanging: set[str] = set()
        self.closing = threading.Event()
        self.requests: list[tuple[str, str]] = []

    @property
    def environ(self) -> dict[str, str]:
        """What leads gpuctl here and nowhere else."""
        return {
            "GPUCTL_RUNPOD__API_URL": f"{self.url}/v2",
            "GPUCTL_RUNPOD__GRAPHQL_URL": f"{self.url}/graphql",
            "ANTHROPIC_BASE_URL": self.url,
            "HF_ENDPOINT": self.url,
            "GPUCTL_DOCKERHUB__API_URL": self.url,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def asked(self, beginning: str) -> int:
        return sum(f"{method} {path}".startswith(beginning) for method, path in self.requests)

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        self.requests.append((method, path))
        line = f"{method} {path}"
        if any(line.startswith(beginning) for beginning in self.hanging):
            self.closing.wait(60)
        for beginning, answer in self.answers.items():
            if line.startswith(beginning):
                return answer
        if path.startswith(("/v2/auth/", "/api/", "/v1/")) or path == "/":
            return self._others(path, token, body)
        return self._runpod(method, path, token, body)

    def _runpod(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        if path == "/v2/openapi.json":
            return 200, self.openapi
        if path.startswith("/proxy/"):
            return 200, "anyone may come in"
        if RUNPOD_KEY not in token:
            return 401, {"title": "Unauthorized", "status": 401, "detail": "invalid API key"}
        if method == "PUT":
            self.keys = json.loads(body)["keys"]
        myself = {"clientBalance": self.balance, "currentSpendPerHr": 0.0, "spendLimit": 80}
        bodies: dict[str, Any] = {
            "/v2/pods": {"pods": self.pods},
            "/v2/account/ssh-keys": {"keys": self.keys},
            "/v2/catalog/gpus": {"gpus": [{**gpu, "availability": "HIGH"} for gpu in self.gpus]},
            "/v2/network-volumes": {"networkVolumes": []},
            "/graphql": {"data": {"myself": myself}},
        }
        found = bodies.get(path.partition("?")[0])
        return (200, found) if found else (404, {"status": 404, "detail": "not found"})

    def _others(self, path: str, token: str, body: bytes) -> tuple[int, Any]:
        if path == "/":
            return (200, _STS) if AWS_KEY_ID in token else (403, _STS_REFUSAL)
        if path == "/v2/auth/token":
            is_right = json.loads(body) == {"identifier": "op", "secret": DOCKER_TOKEN}
            return (200, {"access_token": "jwt"}) if is_right else (401, {"message": "wrong"})
        if path.startswith("/api/"):
            who = {"name": "op", "auth": {"accessToken": {"role": "read"}}}
            return (200, who) if HF_TOKEN in token else (401, {"error": "Invalid token"})
        listed = [{"type": "model", "id": "claude-haiku-5-5", "display_name": "Haiku",
                   "created_at": "2026-10-07T00:00:00Z"}]  # fmt: skip
        page = {"data": listed, "has_more": False, "first_id": None, "last_id": None}
        said = {"type": "error", "error": {"type": "authentication_error", "message": "no"}}
        return (200, page) if ANTHROPIC_KEY in token else (401, said)


@contextmanager
def accounts_stub() -> Iterator[Accounts]:
    """Serves until the block ends; what hangs is let go then."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length)
            token = self.headers.get("authorization", "") + self.headers.get("x-api-key", "")
            status, found = accounts.answer(self.command, self.path, token, body)
            is_text = isinstance(found, str)
            content = (found if is_text else json.dumps(found)).encode()
            try:
                self.send_response_only(status)
                self.send_header("Date", formatdate(time.time() + accounts.clock_offset_s))
                self.send_header("RateLimit", accounts.rate_limit)
                self.send_header("RateLimit-Policy", '"minute";q=600;w=60, "hour";q=30000;w=3600')
                self.send_header("content-type", "text/xml" if is_text else "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up: what some tests are about

        do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    accounts = Accounts(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield accounts
    finally:
        accounts.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
