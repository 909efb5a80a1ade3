"""The simulator's own API under /sim: what it holds, what shall go wrong, when to end."""

from __future__ import annotations

import os
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gpuctl.models import Json
from gpuctl.sim import bodies, drops
from gpuctl.sim.api import json_body
from gpuctl.sim.kinds import IMMEDIATE
from gpuctl.sim.problems import Problem
from gpuctl.sim.world import World


def admin_routes(world: World, shut_down: Callable[[], None]) -> list[BaseRoute]:
    async def status(_: Request) -> Response:
        return JSONResponse(await run_in_threadpool(_status, world))

    async def ping(_: Request) -> Response:
        return JSONResponse({"pid": os.getpid()})  # waits for no lock: it says that we live

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            await run_in_threadpool(world.faults.clear)
            return Response(status_code=204)
        body = bodies.check(await json_body(request), bodies.FAULT, ("kind",))
        await run_in_threadpool(_add_fault, world, body)
        return JSONResponse({"faults": world.faults.as_json()}, status_code=201)

    async def shutdown(_: Request) -> Response:
        shut_down()
        return Response(status_code=202)

    return [
        Route("/sim/ping", ping, methods=["GET"]),
        Route("/sim/status", status, methods=["GET"]),
        Route("/sim/faults", faults, methods=["POST", "DELETE"]),
        Route("/sim/shutdown", shutdown, methods=["POST"]),
    ]


def _status(world: World) -> Json:
    return {
        "pid": os.getpid(),
        "folder": str(world.folder),
        "pods": world.pods.all(),
        "networkVolumes": world.volumes.all(),
        "endpoints": world.endpoints.all(),
        "faults": world.faults.as_json(),
    }


def _add_fault(world: World, body: Json) -> None:
    """Some strike at once (kinds.IMMEDIATE); every other fault waits for its moment."""
    kind, value = body["kind"], body.get("value")
    if kind == "ssh-drop":
        drops.parsed(value)
    if kind in ("slow-start", "rate-limit") and value and not value.replace(".", "").isdecimal():
        raise Problem(422, "bad fault", ["value: seconds"])
    if kind in IMMEDIATE:
        world.pods.strike(kind, value)
        return
    world.faults.add(kind, body.get("times"), value)
