"""ComfyUI over HTTP: one question each, with its answer or a named failure. workloads.md §4.1."""

from __future__ import annotations

import http.client
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from worker.report import Failure

Json = dict[str, Any]
PORT = 8188
TIMEOUT_S = 30.0
# Lists of models on a network volume can take their time.
SLOW_S = 120.0
BLOCK_BYTES = 1 << 20
FIELD = "Content-Disposition: form-data"
REMEDY = "is ComfyUI running? its log says why not: gpuctl logs, or docker compose logs"


class Unreachable(Exception):
    """ComfyUI does not answer now; it may again."""


class Rejected(Exception):
    """ComfyUI did not take the graph: its whole answer."""

    def __init__(self, answer: Json) -> None:
        super().__init__("the graph was not accepted")
        self.answer = answer


def address() -> tuple[str, int]:
    """SERVER_ADDRESS as HOST or HOST:PORT; 127.0.0.1:8188 unless it says otherwise."""
    host, _, port = (os.environ.get("SERVER_ADDRESS") or "127.0.0.1").partition(":")
    return host, int(port) if port.isdecimal() else PORT


class Comfy:
    """One server. Every call makes a connection of its own: it may be restarted in between."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._has_jobs: bool | None = None

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"

    def stats(self) -> Json:
        """`/system_stats`: that it answers is what "ready" means. Raises Unreachable."""
        return self._get("/system_stats", timeout_s=10.0)

    def version(self) -> str:
        return str((self.stats().get("system") or {}).get("comfyui_version") or "unknown")

    def device(self) -> str:
        devices = self.stats().get("devices") or [{}]
        return str(devices[0].get("name") or "unknown")

    def node_class(self, name: str) -> Json | None:
        """What `/object_info` says of one class; None when the server does not have it."""
        found = self._get(f"/object_info/{quote(name, safe='')}", timeout_s=SLOW_S).get(name)
        return found if isinstance(found, dict) else None

    def upload(self, name: str, content: bytes) -> str:
        """Puts a picture into its input folder; gives the name it is known by there.

        The same bytes keep their name; others under the same name get a new one.
        """
        boundary = secrets.token_hex(16)
        parts = b"".join(
            f'--{boundary}\r\n{FIELD}; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in (("type", "input"), ("overwrite", "false"))
        )
        head = (
            f'--{boundary}\r\n{FIELD}; name="image"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = parts + head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        answer = self._call("POST", "/upload/image", body, kind, timeout_s=SLOW_S)
        folder = str(answer.get("subfolder") or "")
        return f"{folder}/{answer['name']}" if folder else str(answer["name"])

    def submit(self, graph: Json, prompt_id: str, client_id: str) -> Json:
        """The server's answer, which may hold `node_errors` also when it took the graph.

        Raises Rejected, Unreachable.
        """
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        return self._post("/prompt", body, timeout_s=SLOW_S)

    def history(self, prompt_id: str) -> Json | None:
        """The finished prompt; None while it waits or runs, and when it is not known."""
        found = self._get(f"/history/{prompt_id}").get(prompt_id)
        return found if isinstance(found, dict) else None

    def queued(self) -> tuple[list[str], list[str]]:
        """The ids of what runs and of what waits, in order."""
        answer = self._get("/queue")
        running, pending = answer.get("queue_running") or [], answer.get("queue_pending") or []
        return [str(row[1]) for row in running], [
            str(row[1]) for row in sorted(pending, key=_number)
        ]

    def cancel(self, prompt_id: str) -> bool:
        """Ends exactly this prompt; False when it was over, or unknown."""
        if self._has_jobs is not False:
            try:
                answer = self._post(f"/api/jobs/{prompt_id}/cancel", {})
                self._has_jobs = True
                return answer.get("cancelled") is True
            except Missing:
                self._has_jobs = False
        running, pending = self.queued()
        if prompt_id in pending:
            self._post("/queue", {"delete": [prompt_id]})
            running, _ = self.queued()  # it may have begun in between
        if prompt_id in running:
            # Without an id, and on a server that ignores it, whatever runs would be ended.
            self._post("/interrupt", {"prompt_id": prompt_id})
        return prompt_id in pending or prompt_id in running

    def free(self) -> None:
        """Lets go of the models; the next prompt loads again."""
        self._post("/free", {"unload_models": True, "free_memory": True})

    @contextmanager
    def view(self, entry: Json) -> Iterator[http.client.HTTPResponse]:
        """A finished file. Raises Missing, Unreachable."""
        names = ("filename", "subfolder", "type")
        query = urlencode({name: entry.get(name) or "" for name in names})
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        try:
            with _named():
                connection.request("GET", f"/view?{query}")
                response = connection.getresponse()
            if response.status != 200:
                raise Missing(f"ComfyUI has no file {entry.get('filename')!r}")
            yield response
        finally:
            connection.close()

    def _get(self, path: str, *, timeout_s: float = TIMEOUT_S) -> Json:
        return self._call("GET", path, None, "", timeout_s=timeout_s)

    def _post(self, path: str, body: Json, *, timeout_s: float = TIMEOUT_S) -> Json:
        content = json.dumps(body).encode()
        return self._call("POST", path, content, "application/json", timeout_s=timeout_s)

    def _call(
        self, method: str, path: str, body: bytes | None, kind: str, *, timeout_s: float
    ) -> Json:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            with _named():
                connection.request(method, path, body, {"Content-Type": kind} if kind else {})
                response = connection.getresponse()
                content = response.read()
        finally:
            connection.close()
        return _answer(path, response.status, content)


class Missing(Exception):
    """The server does not know that address: it is older, or the thing is gone."""


def unreachable(where: str, error: object) -> Failure:
    """The end of a job whose ComfyUI went away."""
    return Failure("worker_died", f"ComfyUI does not answer at {where}: {error}", REMEDY)


def _answer(path: str, status: int, content: bytes) -> Json:
    try:
        document = json.loads(content or b"{}")
    except ValueError:
        document = {}
    found: Json = document if isinstance(document, dict) else {"items": document}
    if status in (404, 405):
        raise Missing(path)
    if status == 400 and ("error" in found or "node_errors" in found):
        raise Rejected(found)
    if status >= 400:
        said = content.decode(errors="replace").strip()[:300]
        raise Failure("failed", f"ComfyUI answered {status} to {path}: {said}", REMEDY)
    return found


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(str(error) or type(error).__name__) from error


def _number(row: list[Any]) -> float:
    return float(row[0])
