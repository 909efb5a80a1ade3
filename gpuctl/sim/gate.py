"""What every request passes: the key, the faults of the wire, the headers of the answer."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpuctl.sim.problems import Problem
from gpuctl.sim.world import World

QUOTAS = (("minute", 600, 60), ("hour", 30000, 3600), ("day", 500000, 86400))
WORKER_PATH = "/worker/"
POD_PATH = re.compile(r"/v2/pods/([^/]+)(/action|/logs)?")
BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>"
OPEN_PATHS = frozenset({"/v2/openapi.json"})


class Gate:
    """`on_request` is told of each authenticated request, so that the server knows it is used."""

    def __init__(
        self, app: ASGIApp, world: World, token: str, on_request: Callable[[], None]
    ) -> None:
        self._app = app
        self._world = world
        self._token = token
        self._on_request = on_request
        self._lock = threading.Lock()
        self._used: dict[str, tuple[int, int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                if message["status"] != 401:
                    headers.update(self._rate_limit())
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, tagged)

    def _refusal(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if path in OPEN_PATHS:
            return None
        if not self._is_allowed(Headers(scope=scope).get("authorization", ""), path):
            return Problem(401, "missing or invalid API key").response()
        if not path.startswith(WORKER_PATH):  # workers ask all the time, also when nobody works
            self._on_request()
        return self._fault(path) if path.startswith("/v2/") else None

    def _is_allowed(self, authorization: str, path: str) -> bool:
        """The account's key opens everything; a pod's own key only that pod."""
        scheme, _, key = authorization.partition(" ")
        if path.startswith(WORKER_PATH):  # the worker SDK sends its key bare
            return secrets.compare_digest(authorization.encode(), self._world.worker_key.encode())
        if scheme.lower() != "bearer" or not key.isascii():
            return False
        if secrets.compare_digest(key, self._token):
            return True
        own = POD_PATH.fullmatch(path)
        return own is not None and self._world.pods.is_key_of(key, own[1])

    def _fault(self, path: str) -> Response | None:
        limit = self._world.faults.take("rate-limit")
        if limit is not None:
            answer = Problem(429, "rate limit exceeded").response()
            answer.headers["Retry-After"] = limit.value or "1"
            return answer
        broken = self._world.faults.take("server-error", lambda f: not f.value or f.value in path)
        if broken is not None:
            return Problem(500, "internal server error").response()
        if self._world.faults.take("html-502") is not None:
            return HTMLResponse(BAD_GATEWAY, status_code=502)
        return None

    def _rate_limit(self) -> dict[str, str]:
        moment = int(time.time())
        left = []
        with self._lock:
            for name, quota, window_s in QUOTAS:
                window, used = self._used.get(name, (0, 0))
                used = used + 1 if window == moment // window_s else 1
                self._used[name] = (moment // window_s, used)
                reset_s = window_s - moment % window_s
                left.append(f'"{name}";r={max(quota - used, 0)};t={reset_s}')
        policy = ", ".join(f'"{name}";q={quota};w={window}' for name, quota, window in QUOTAS)
        return {"RateLimit": ", ".join(left), "RateLimit-Policy": policy}


async def problem_response(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem.response()
