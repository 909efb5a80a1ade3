"""How the simulator says no: RFC 9457 problem documents, as RunPod's v2 sends them."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from starlette.responses import JSONResponse

NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications. "
    "Please refresh and try again."
)

HOST_FULL = "There are not enough free GPUs on the host machine to start this pod."


class Problem(Exception):
    """An answer that is an error. `errors` lists schema violations (422 only)."""

    def __init__(self, status: int, detail: str, errors: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)

    def response(self) -> JSONResponse:
        body: dict[str, object] = {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return JSONResponse(body, status_code=self.status, media_type="application/problem+json")


def not_found(noun: str, wanted: str) -> Problem:
    return Problem(404, f"{noun} {wanted} not found")
