"""The simulator's image registry: the OCI distribution API on a port of its own.

RunPod's API begins with /v2 as a registry's does, so the two cannot share an address. Whoever is on
this computer may pull; pushing needs the registry's own password. The account's key is not known
here. Docker itself can push to it and pull from it.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gpuctl.sim.registry_store import Broken, RegistryStore

USERNAME = "simulator"
SERVICE = "gpuctl-simulator"
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*")
_HEADERS = {"Docker-Distribution-Api-Version": "registry/2.0"}

Handler = Callable[[Request, str], Awaitable[Response]]


class Refused(Exception):
    """An answer in the specification's words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    def response(self) -> Response:
        body = {"errors": [{"code": self.code, "message": str(self)}]}
        return JSONResponse(body, status_code=self.status, headers=_HEADERS)


class ImageRegistry:
    """`port` is where it is served; `password` is what a push needs."""

    def __init__(self, folder: Path, port: int, password: str) -> None:
        self._store = RegistryStore(folder)
        self._realm = f"http://127.0.0.1:{port}/token"
        self._password = password
        self._tokens = {"pull": secrets.token_hex(24), "push": secrets.token_hex(24)}

    def app(self) -> ASGIApp:
        return Starlette(
            routes=self._routes(),
            exception_handlers={Refused: _refused, Broken: _broken},
        )

    def _routes(self) -> list[BaseRoute]:
        def route(path: str, handler: Handler, *methods: str) -> Route:
            async def endpoint(request: Request) -> Response:
                is_read = request.method in ("GET", "HEAD")
                refusal = self._refusal(request, "pull" if is_read else "push")
                response = refusal or await handler(request, _name(request))
                response.headers.update(_HEADERS)
                return response

            return Route(f"/v2/{path}", endpoint, methods=list(methods))

        name = "{name:path}"
        return [
            Route("/token", self._token),
            route("", self._base, "GET"),
            route(f"{name}/blobs/uploads/", self._begin, "POST"),
            route(f"{name}/blobs/uploads/{{upload}}", self._patch, "PATCH"),
            route(f"{name}/blobs/uploads/{{upload}}", self._put, "PUT"),
            route(f"{name}/blobs/{{digest}}", self._blob, "GET"),
            route(f"{name}/manifests/{{selector}}", self._manifest, "GET"),
            route(f"{name}/manifests/{{selector}}", self._put_manifest, "PUT"),
            route(f"{name}/tags/list", self._tags, "GET"),
        ]

    # who may

    async def _token(self, request: Request) -> Response:
        """Without an account a token that reads; with ours one that writes."""
        authorization = request.headers.get("authorization", "")
        kind = "pull"
        if authorization:
            kind = "push" if self._is_ours(authorization) else ""
        if not kind:
            return Refused(401, "UNAUTHORIZED", "wrong name or password").response()
        return JSONResponse({"token": self._tokens[kind], "expires_in": 3600})

    def _is_ours(self, authorization: str) -> bool:
        scheme, _, encoded = authorization.partition(" ")
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            return False
        is_right = secrets.compare_digest(password.encode(), self._password.encode())
        return scheme.lower() == "basic" and user == USERNAME and is_right

    def _refusal(self, request: Request, right: str) -> Response | None:
        _, _, token = request.headers.get("authorization", "").partition(" ")
        shown = [
            kind
            for kind, ours in self._tokens.items()
            if secrets.compare_digest(token.encode(), ours.encode())
        ]
        if right in shown or "push" in shown:
            return None
        if shown:  # a token, but one that only reads: docker would try a 401 again for a minute
            return Refused(403, "DENIED", "requested access to the resource is denied").response()
        answer = Refused(401, "UNAUTHORIZED", "authentication required").response()
        scope = f"repository:{request.path_params.get('name', '')}:pull"
        scope += ",push" if right == "push" else ""
        challenge = f'Bearer realm="{self._realm}",service="{SERVICE}"'
        named = f',scope="{scope}"' if "name" in request.path_params else ""
        answer.headers["WWW-Authenticate"] = challenge + named
        return answer

    # blobs and manifests

    async def _base(self, _request: Request, _repository: str) -> Response:
        return JSONResponse({})

    async def _begin(self, request: Request, repository: str) -> Response:
        upload = self._store.begin()
        digest = request.query_params.get("digest")
        if digest:  # the whole blob at once
            await self._store.append(upload, request.stream())
            return self._finished(repository, upload, digest)
        return _under_way(repository, upload, 0, 202)

    async def _patch(self, request: Request, repository: str) -> Response:
        upload = request.path_params["upload"]
        size = await self._store.append(upload, request.stream())
        return _under_way(repository, upload, size, 202)

    async def _put(self, request: Request, repository: str) -> Response:
        upload = request.path_params["upload"]
        await self._store.append(upload, request.stream())
        return self._finished(repository, upload, request.query_params.get("digest", ""))

    def _finished(self, repository: str, upload: str, digest: str) -> Response:
        self._store.finish(upload, digest)
        headers = {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}
        return Response(status_code=201, headers=headers)

    async def _blob(self, request: Request, _repository: str) -> Response:
        digest = request.path_params["digest"]
        path = self._store.blob(digest)
        if path is None:
            raise Refused(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {"Docker-Content-Digest": digest}
        return FileResponse(path, media_type="application/octet-stream", headers=headers)

    async def _manifest(self, request: Request, repository: str) -> Response:
        found = self._store.manifest(repository, request.path_params["selector"])
        if found is None:
            raise Refused(404, "MANIFEST_UNKNOWN", "manifest unknown")
        headers = {"Docker-Content-Digest": found.digest}
        return Response(found.body, media_type=found.media_type, headers=headers)

    async def _put_manifest(self, request: Request, repository: str) -> Response:
        kind = request.headers.get("content-type", "")
        selector = request.path_params["selector"]
        digest = self._store.put_manifest(repository, selector, kind, await request.body())
        headers = {
            "Location": f"/v2/{repository}/manifests/{digest}",
            "Docker-Content-Digest": digest,
        }
        return Response(status_code=201, headers=headers)

    async def _tags(self, _request: Request, repository: str) -> Response:
        return JSONResponse({"name": repository, "tags": self._store.tags(repository)})


class OwnPort:
    """Sends what arrives on the registry's port to the registry, and all else where it belongs."""

    def __init__(
        self, app: ASGIApp, registry: ASGIApp, port: int, on_request: Callable[[], None]
    ) -> None:
        self._app, self._registry, self._port = app, registry, port
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("server")
        if scope["type"] == "http" and server and server[1] == self._port:
            self._on_request()
            await self._registry(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _under_way(repository: str, upload: str, size: int, status: int) -> Response:
    return Response(
        status_code=status,
        headers={
            "Location": f"/v2/{repository}/blobs/uploads/{upload}",
            "Docker-Upload-UUID": upload,
            "Range": f"0-{max(0, size - 1)}",
        },
    )


def _name(request: Request) -> str:
    name: str = request.path_params.get("name", "")
    if name and not _NAME.fullmatch(name):
        raise Refused(400, "NAME_INVALID", "invalid repository name")
    return name


async def _refused(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Refused)
    return problem.response()


async def _broken(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Broken)
    return Refused(problem.status, problem.code, str(problem)).response()
