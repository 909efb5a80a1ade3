"""Who may speak to the HTTP front, and how much: before any route sees the request."""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Json = dict[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TooLarge(Exception):
    pass


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, can only be this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """With a token it is demanded of everybody; without one only loopback names are answered, and
    no page of a browser: a web site must not reach the service through its visitor."""

    def __init__(self, app: App, token: str | None, limit_bytes: int) -> None:
        self._app, self._token, self._limit = app, token, limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self._refusal(headers)
        if refusal:
            await _answer(send, *refusal)
            return
        taken, is_answered = 0, False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limit:
                raise TooLarge
            return message

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except TooLarge:
            if not is_answered:
                await _answer(send, 413, f"more than {self._limit >> 20} MB", "send less")

    def _refusal(self, headers: dict[str, str]) -> tuple[int, str, str] | None:
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._limit:
            return 413, f"more than {self._limit >> 20} MB", "send less"
        if self._token:
            given = headers.get("authorization", "")
            if hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                return None
            return 401, "a token is needed here", "Authorization: Bearer …, as in SERVICE_TOKEN"
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if "origin" in headers or not is_loopback(host.strip("[]")):
            return 403, "only programs on this machine are answered", "set SERVICE_TOKEN"
        return None


async def _answer(send: Send, status: int, message: str, remedy: str) -> None:
    """In the words that the routes have for an error."""
    code = {401: "unauthorized", 403: "forbidden"}.get(status, "bad_input")
    body = json.dumps({"error": {"code": code, "message": message, "remedy": remedy}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
