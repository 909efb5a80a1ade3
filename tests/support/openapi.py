"""Holds every request and response against RunPod's official description of REST v2."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

_BESIDE = Path(__file__).resolve().parents[2].parent / "shared/openapi/runpod-v2.json"
_HOST = "https://api.runpod.io"
# A proxy's page or an event stream is not described as JSON.
_NOT_DESCRIBED = ("text/html", "text/event-stream")


class Violation(AssertionError):
    """Something on the wire that RunPod's description does not allow."""


def description_file() -> Path:
    """Skips the test when the official document is not here."""
    path = Path(os.environ.get("GPUCTL_RUNPOD_OPENAPI") or _BESIDE)
    if not path.is_file():
        pytest.skip(f"RunPod's OpenAPI document is not at {path} (GPUCTL_RUNPOD_OPENAPI)")
    return path


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
        media_type = response.headers.get("content-type", "")
        if not media_type.startswith("text/event-stream"):
            response.read()
        self._check_request(request, response)
        if not media_type.startswith(_NOT_DESCRIBED):
            self._check_response(request, response)
        self.checked.append(f"{request.method} {request.url.path} {response.status_code}")
        return response

    def close(self) -> None:
        self._inner.close()

    def _check_request(self, request: httpx.Request, response: httpx.Response) -> None:
        if response.status_code == 401:
            return
        problems = [_told(problem) for problem in _openapi().iter_request_errors(_asked(request))]
        if response.status_code == 422 and not problems:
            raise Violation(f"refused although valid: {_line(request)}: {response.text}")
        if response.status_code != 422 and problems:
            raise Violation(f"invalid request: {_line(request)}: {problems}")

    def _check_response(self, request: httpx.Request, response: httpx.Response) -> None:
        from openapi_core.testing import MockResponse

        answer = MockResponse(
            response.content,
            status_code=response.status_code,
            headers=dict(response.headers),
            content_type=response.headers.get("content-type", ""),
        )
        found = _openapi().iter_response_errors(_asked(request), answer)
        problems = [_told(problem) for problem in found]
        if problems:
            raise Violation(f"{_line(request)} {response.status_code}: {problems}")


@functools.cache
def _openapi() -> Any:
    from openapi_core import Config, OpenAPI

    config = Config(extra_media_type_deserializers={"application/problem+json": json.loads})
    return OpenAPI.from_dict(json.loads(description_file().read_text("utf-8")), config=config)


def _asked(request: httpx.Request) -> Any:
    from openapi_core.testing import MockRequest

    args: Any = request.url.params.multi_items()
    return MockRequest(
        _HOST,
        request.method,
        request.url.path,
        args=args,
        headers=dict(request.headers),
        data=request.content,
        content_type=request.headers.get("content-type", "application/json"),
    )


def _line(request: httpx.Request) -> str:
    return f"{request.method} {request.url.raw_path.decode()} {request.content.decode()}"


def _told(problem: Exception) -> str:
    """The innermost reason: openapi-core wraps each violation several times."""
    reasons = getattr(problem.__cause__ or problem, "schema_errors", None)
    if reasons:
        return "; ".join(f"{'/'.join(map(str, one.path))}: {one.message}" for one in reasons)
    return f"{problem!r} {problem.__cause__!r}"
