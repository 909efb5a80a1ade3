"""Holds every request and response against RunPod's official description of REST v2."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

_BESIDE = Path(__file__).resolve().parents[2].parent / "shared/openapi/runpod-v2.json"
_HOST = "https://api.runpod.io"
# A proxy's page or an event stream is not described as JSON.
_NOT_DESCRIBED = ("text/html", "text/event-stream")
# The platform itself gives such ids, to be given back as they are (runpod.md §2.5).
_SEQUENCE = re.compile(r"(?<=Z)/\d+$")
# What it is about, not what it says: two of these that differ in nothing else are checked once.
_VARYING = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z|(?<=\"uptime\":)\d+|(?<=\"port\":)\d+"
    r"|(?<=\"public\":)\d{4,5}\b|(?<= -p )\d+|gpuctl-[a-z]+-[0-9a-z]{26}"
)


class Violation(AssertionError):
    """Something on the wire that RunPod's description does not allow."""


def description_file() -> Path:
    """Skips the test when the official document is not here."""
    path = found_description()
    if path is None:
        pytest.skip("RunPod's OpenAPI document is not here (GPUCTL_RUNPOD_OPENAPI)")
    return path


def found_description() -> Path | None:
    path = Path(os.environ.get("GPUCTL_RUNPOD_OPENAPI") or _BESIDE)
    return path if path.is_file() else None


@dataclass(frozen=True)
class Exchange:
    """A request with its answer; `answer` is None where it never ends."""

    method: str
    path: str
    status: int
    query: str = ""
    asked_headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: str | None = ""

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Exchange:
        """As the simulator writes it (gpuctl/sim/wire.py)."""
        return cls(**{name: line[name] for name in cls.__dataclass_fields__})

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "")

    def __str__(self) -> str:
        question = f"?{self.query}" if self.query else ""
        return f"{self.method} {self.path}{question} {self.body} -> {self.status}"

    def key(self) -> str:
        """The same for those that the description cannot tell apart."""
        told = (self.asked_headers.get("content-type"), self.media_type, sorted(self.headers))
        return _VARYING.sub("0", f"{self} {told} {self.answer}")


def violations(exchange: Exchange) -> list[str]:
    """What the description does not allow, but for what the simulator does deliberately."""
    if not _is_described(exchange):
        return []
    found = [] if exchange.status == 401 else _of_request(exchange)
    if not exchange.media_type.startswith(_NOT_DESCRIBED):
        found += _of_answer(exchange)
    return [f"{exchange}: {problem}" for problem in found]


def validating_transport(inner: httpx.BaseTransport | None = None) -> ValidatingTransport:
    """For httpx.Client(transport=…). Skips the test without the official document."""
    description_file()
    return ValidatingTransport(inner or httpx.HTTPTransport())


class ValidatingTransport(httpx.BaseTransport):
    """Raises Violation when an accepted request is invalid, a refused (422) one is valid, or a
    response is not as described. `checked` lists what passed: `METHOD path status`."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self.checked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        response = self._inner.handle_request(request)
        if not request.url.path.startswith("/v2/"):
            return response
        is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        if not is_stream:
            response.read()
        problems = violations(
            Exchange(
                request.method,
                request.url.path,
                response.status_code,
                query=request.url.query.decode(),
                asked_headers=dict(request.headers),
                body=request.content.decode(),
                headers=dict(response.headers),
                answer=None if is_stream else response.text,
            )
        )
        if problems:
            raise Violation("\n".join(problems))
        self.checked.append(f"{request.method} {request.url.path} {response.status_code}")
        return response

    def close(self) -> None:
        self._inner.close()


def _is_described(exchange: Exchange) -> bool:
    """Not the description's own address, and not what is refused for being no part of it."""
    if exchange.path == "/v2/openapi.json":
        return False
    if exchange.status not in (404, 405):
        return True
    from openapi_core.templating.paths.exceptions import PathError

    found = _api().iter_request_errors(_asked(exchange))
    return not any(isinstance(problem, PathError) for problem in found)


def _of_request(exchange: Exchange) -> list[str]:
    found = _api().iter_request_errors(_asked(exchange))
    problems = [f"invalid request: {_told(problem)}" for problem in found]
    if exchange.status != 422:
        return problems
    # An image's name is a string like any other to the description.
    is_judged = "invalid image name" in (exchange.answer or "")
    return [] if problems or is_judged else [f"refused although valid: {exchange.answer}"]


def _of_answer(exchange: Exchange) -> list[str]:
    from openapi_core.testing import MockResponse

    answer = MockResponse(
        _with_gpus(exchange.answer or "").encode(),
        status_code=exchange.status,
        headers=dict(exchange.headers),
        content_type=exchange.media_type,
    )
    return [_told(problem) for problem in _api().iter_response_errors(_asked(exchange), answer)]


def _with_gpus(answer: str) -> str:
    """The fault gpu-gone answers `gpu.count` 0, as RunPod does and its description forbids."""
    return answer.replace('"count":0}', '"count":1}')


@functools.cache
def _api() -> Any:
    from openapi_core import Config, OpenAPI

    config = Config(extra_media_type_deserializers={"application/problem+json": json.loads})
    return OpenAPI.from_dict(json.loads(description_file().read_text("utf-8")), config=config)


def _asked(exchange: Exchange) -> Any:
    from openapi_core.testing import MockRequest

    args: Any = parse_qsl(exchange.query, keep_blank_values=True)
    headers = dict(exchange.asked_headers)
    if "last-event-id" in headers:
        headers["last-event-id"] = _SEQUENCE.sub("", headers["last-event-id"])
    return MockRequest(
        _HOST,
        exchange.method,
        exchange.path,
        args=args,
        headers=headers,
        data=exchange.body.encode(),
        content_type=exchange.asked_headers.get("content-type", "application/json"),
    )


def _told(problem: Exception) -> str:
    """The innermost reason: openapi-core wraps each violation several times."""
    reasons = getattr(problem.__cause__ or problem, "schema_errors", None)
    if reasons:
        return "; ".join(f"{'/'.join(map(str, one.path))}: {one.message}" for one in reasons)
    return f"{problem!r} {problem.__cause__!r}"
