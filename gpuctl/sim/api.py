"""RunPod's REST v2, as far as gpuctl uses it: paths, methods, status codes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gpuctl.sim import bodies
from gpuctl.sim.billing import billing_routes
from gpuctl.sim.catalog_api import catalog_routes
from gpuctl.sim.log_stream import log_endpoint
from gpuctl.sim.logs import PodLog
from gpuctl.sim.problems import NO_CAPACITY, Problem
from gpuctl.sim.world import World

# A handler is given the path's id ("" where there is none) and the parsed body.
Handler = Callable[[str, Any], Response]


def v2_routes(world: World, is_closing: Callable[[], bool]) -> list[BaseRoute]:
    routes: list[BaseRoute] = [
        *_pod_routes(world),
        *_volume_routes(world),
        *_endpoint_routes(world),
        *billing_routes(world.ledger, world.observe),
        *catalog_routes(),
        Route("/v2/pods/{id}/logs", log_endpoint(_pod_log(world), is_closing)),
        Route(
            "/v2/serverless/{id}/workers/{worker}/logs",
            log_endpoint(_worker_log(world), is_closing),
        ),
        _route("/v2/account/ssh-keys", "GET", lambda _id, _body: _ok({"keys": world.keys})),
        _route("/v2/account/ssh-keys", "PUT", lambda _id, body: _put_keys(world, body)),
    ]
    return _joined([*routes, Route("/v2/openapi.json", _openapi(routes))])


def _pod_log(world: World) -> Callable[[Request], PodLog]:
    return lambda request: world.pods.log(request.path_params["id"])


def _worker_log(world: World) -> Callable[[Request], PodLog]:
    def find(request: Request) -> PodLog:
        served = world.endpoints.served(request.path_params["id"])
        return served.workers.log(request.path_params["worker"])

    return find


def _pod_routes(world: World) -> list[BaseRoute]:
    pods = world.pods
    return [
        _route("/v2/pods", "GET", lambda _id, _body: _ok({"pods": pods.all()})),
        _route("/v2/pods", "POST", lambda _id, body: _create_pod(world, body)),
        _route("/v2/pods/{id}", "GET", lambda pod_id, _body: _ok(pods.get(pod_id))),
        _route(
            "/v2/pods/{id}",
            "PATCH",
            lambda pod_id, body: _ok(pods.update(pod_id, bodies.check(body, bodies.UPDATE_POD))),
        ),
        _route("/v2/pods/{id}", "DELETE", lambda pod_id, _body: _act(world, pod_id, "terminate")),
        _route(
            "/v2/pods/{id}/action",
            "POST",
            lambda pod_id, body: _act(
                world, pod_id, bodies.check(body, bodies.ACTION, ("action",))["action"]
            ),
        ),
    ]


def _volume_routes(world: World) -> list[BaseRoute]:
    volumes, path = world.volumes, "/v2/network-volumes"
    return [
        _route(path, "GET", lambda _id, _body: _ok({"networkVolumes": volumes.all()})),
        _route(
            path,
            "POST",
            lambda _id, body: _created(
                volumes.create(
                    bodies.check(body, bodies.CREATE_VOLUME, ("name", "size", "dataCenter"))
                )
            ),
        ),
        _route(path + "/{id}", "GET", lambda volume_id, _body: _ok(volumes.get(volume_id))),
        _route(
            path + "/{id}",
            "PATCH",
            lambda volume_id, body: _ok(volumes.update(volume_id, _volume_patch(body))),
        ),
        _route(path + "/{id}", "DELETE", lambda volume_id, _body: _delete(world, volume_id)),
    ]


def _endpoint_routes(world: World) -> list[BaseRoute]:
    endpoints, path = world.endpoints, "/v2/serverless"
    one = path + "/{id}"

    def delete(endpoint_id: str, _: Any) -> Response:
        endpoints.delete(endpoint_id)
        return Response(status_code=204)

    return [
        _route(path, "GET", lambda _id, _body: _ok({"endpoints": endpoints.all()})),
        _route(path, "POST", lambda _id, body: _created(endpoints.create(body))),
        _route(one, "GET", lambda endpoint_id, _body: _ok(endpoints.get(endpoint_id))),
        _route(one, "PATCH", lambda endpoint_id, body: _ok(endpoints.update(endpoint_id, body))),
        _route(one, "DELETE", delete),
        _route(f"{one}/workers", "GET", lambda endpoint_id, _body: _workers(world, endpoint_id)),
        _route(
            f"{one}/releases",
            "GET",
            lambda endpoint_id, _body: _ok(endpoints.listed_releases(endpoint_id)),
        ),
    ]


def _workers(world: World, endpoint_id: str) -> Response:
    served = world.endpoints.served(endpoint_id)
    return _ok(served.workers.listed(served.version, time.time()))


def _create_pod(world: World, body: Any) -> Response:
    checked = bodies.check_create_pod(body)
    if world.faults.take("image-refused") is not None:
        raise Problem(422, f"invalid image name: {checked['image']}")
    if world.faults.take("insufficient-funds") is not None:
        raise Problem(402, "insufficient balance: add funds to deploy a pod")
    gpu_id = checked.get("gpu", {}).get("id", "")
    if world.faults.take("no-capacity", lambda f: not f.value or f.value in gpu_id) is not None:
        raise Problem(400, NO_CAPACITY)
    pod = world.pods.create(checked, world.keys)
    is_doubled = world.faults.take("create-twice") is not None
    if is_doubled:
        world.pods.create(checked, world.keys)
    if is_doubled or world.faults.take("create-500") is not None:
        raise Problem(500, "internal server error")
    return _created(pod)


def _act(world: World, pod_id: str, action: str) -> Response:
    pod = world.pods.act(pod_id, action)
    return Response(status_code=204) if pod is None else _ok(pod)


def _put_keys(world: World, body: Any) -> Response:
    world.set_keys(bodies.check(body, bodies.KEYS, ("keys",))["keys"])
    return _ok({"keys": world.keys})


def _volume_patch(body: Any) -> Any:
    checked = bodies.check(body, bodies.UPDATE_VOLUME)
    if not checked:
        raise Problem(422, "request body does not match the schema", ["give name or size"])
    return checked


def _delete(world: World, volume_id: str) -> Response:
    world.volumes.delete(volume_id)
    return Response(status_code=204)


def _ok(document: Any) -> Response:
    return JSONResponse(document)


def _created(document: Any) -> Response:
    return JSONResponse(document, status_code=201)


def _route(path: str, method: str, handler: Handler) -> Route:
    """Handlers block on locks, sockets and dying processes: they run on a thread."""

    async def endpoint(request: Request) -> Response:
        body = await json_body(request) if method in ("POST", "PUT", "PATCH") else None
        return await run_in_threadpool(handler, request.path_params.get("id", ""), body)

    return Route(path, endpoint, methods=[method])


async def json_body(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError:
        raise Problem(422, "request body is not JSON", ["body: must be JSON"]) from None


def _joined(routes: list[BaseRoute]) -> list[BaseRoute]:
    """One route per path, so that a wrong method is answered with every right one in Allow."""
    by_path: dict[str, dict[str, Any]] = {}
    for route in routes:
        assert isinstance(route, Route)
        for method in route.methods or ():
            by_path.setdefault(route.path, {})[method] = route.endpoint
    return [Route(path, _by_method(table), methods=list(table)) for path, table in by_path.items()]


def _by_method(table: dict[str, Any]) -> Any:
    async def endpoint(request: Request) -> Response:
        response: Response = await table[request.method](request)
        return response

    return endpoint


def _openapi(routes: list[BaseRoute]) -> Any:
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        assert isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}:
            paths.setdefault(route.path, {})[method.lower()] = {"responses": {}}
    document = {"openapi": "3.1.0", "info": {"title": "simulator", "version": "2"}, "paths": paths}

    async def endpoint(_: Request) -> Response:
        return JSONResponse(document)

    return endpoint
