"""Automatic1111's API over HTTP on loopback: one call, its answer, or an error with a name."""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from worker.report import Failure

Json = dict[str, Any]

ADDRESS = "http://127.0.0.1:3000"
PREFIX = "/sdapi/v1"
CALL_LIMIT_S = 60.0
# A checkpoint is read from a slow network volume in minutes.
LOAD_LIMIT_S = 900.0
_RETRY_PAUSES_S = (0.2, 1.0, 3.0)


class Refused(Exception):
    """The WebUI answered with an error. `detail` and `errors` are its own words."""

    def __init__(self, status: int, answer: object) -> None:
        fields = answer if isinstance(answer, dict) else {}
        self.status = status
        self.kind = str(fields.get("error") or "")
        self.detail = fields.get("detail") or ""
        self.errors = str(fields.get("errors") or "")
        super().__init__(f"{status} {self.kind} {self.detail} {self.errors}".strip())

    @property
    def text(self) -> str:
        """The most telling of its words, on one line."""
        detail = self.detail if isinstance(self.detail, str) else _fields_at_fault(self.detail)
        return " ".join((self.errors or detail or f"status {self.status}").split())[:500]


class Gone(Exception):
    """Nothing listens there, or the connection ended before the answer."""


@dataclass(frozen=True)
class Webui:
    """Where the API listens. `auth` is user:password of --api-auth, None without one."""

    address: str = ADDRESS
    auth: str | None = None

    @classmethod
    def from_environment(cls) -> Webui:
        return cls(
            os.environ.get("GPUCTL_SD_WEBUI_URL") or ADDRESS,
            os.environ.get("GPUCTL_SD_WEBUI_AUTH") or None,
        )

    def get(self, path: str, *, limit_s: float = CALL_LIMIT_S) -> Any:
        """Reads; asked again after a dropped connection, for nothing changes by it.

        Raises Refused, Gone.
        """
        for pause_s in _RETRY_PAUSES_S:
            try:
                return self.call("GET", path, None, limit_s=limit_s)
            except Gone:
                time.sleep(pause_s)
        return self.call("GET", path, None, limit_s=limit_s)

    def post(self, path: str, body: Json, *, limit_s: float = CALL_LIMIT_S) -> Any:
        """Sends once: what the server did before a connection broke cannot be known.

        Raises Refused, Gone.
        """
        return self.call("POST", path, body, limit_s=limit_s)

    def call(self, method: str, path: str, body: Json | None, *, limit_s: float) -> Any:
        """One request. `path` is under /sdapi/v1, or absolute with a leading `//`."""
        target = path[1:] if path.startswith("//") else PREFIX + path
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        place = urlsplit(self.address)
        link = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=limit_s)
        try:
            link.request(method, target, content, self._headers())
            answer = link.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Gone(f"{type(error).__name__}: {error}") from error
        finally:
            link.close()
        found = _parsed(raw)
        if answer.status >= 400:
            raise Refused(answer.status, found)
        return found

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.auth:
            headers["Authorization"] = "Basic " + base64.b64encode(self.auth.encode()).decode()
        return headers


def named(refused: Refused) -> Failure:
    """What an error of the WebUI means for the job (workloads.md §3.3)."""
    text = refused.text
    folded = f"{refused.kind} {text}".lower()
    if "outofmemory" in folded or "out of memory" in folded:
        return Failure(
            "oom",
            f"the GPU ran out of memory: {text}",
            "use a smaller size, fewer pictures at once (batch_size), or a larger GPU",
        )
    if "nan" in refused.kind.lower() or "all nans" in folded:
        return Failure(
            "failed",
            f"the model computed nothing but NaNs: {text}",
            "try another VAE (sd_vae), or start the WebUI with --no-half-vae",
        )
    if "no space left" in folded:
        return Failure("disk_full", text, "free space on the machine")
    if refused.status == 401:
        return Failure(
            "failed", "the WebUI wants a password", "set GPUCTL_SD_WEBUI_AUTH=user:password"
        )
    if "not found" in folded and "model" in folded:
        return Failure("model_missing", text, "`models` lists what is there")
    if refused.status in (400, 404, 422) or "invalid encoded image" in folded:
        return Failure("bad_input", f"the WebUI refused the request: {text}", "correct the input")
    return Failure("failed", f"the WebUI failed ({refused.status}): {text}", "see its log")


def _parsed(raw: bytes) -> Any:
    """JSON, None for an empty answer (SD.Next's 204), the text of anything else."""
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return {"detail": raw[:300].decode(errors="replace")}


def _fields_at_fault(detail: object) -> str:
    """pydantic's list of complaints as `key: complaint; …`."""
    rows = detail if isinstance(detail, list) else [detail]
    said = []
    for row in rows:
        if isinstance(row, dict):
            where = ".".join(str(part) for part in row.get("loc", ())[1:])
            said.append(f"{where}: {row.get('msg')}")
    return "; ".join(said) or str(detail)
