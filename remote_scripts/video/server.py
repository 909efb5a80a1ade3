"""The video service's routes: the seed's three, and what a queue of one GPU needs beside them.

Imported by service.py alone, where FastAPI is installed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from video import inventory
from video.request import parse
from worker.http_front import accept, refusal, router
from worker.http_guard import Guard
from worker.http_spool import Spool
from worker.layout import Layout
from worker.report import Failure

Json = dict[str, Any]
LIMIT_BYTES = 160 << 20


class LoraPair(BaseModel):
    """A file for each expert, by name on the volume or by address."""

    high: str | None = None
    low: str | None = None
    high_url: str | None = None
    low_url: str | None = None
    high_weight: float = 1.0
    low_weight: float = 1.0


class GenerateRequest(BaseModel):
    """What a video is made from. Everything but the image may be left out."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    id: str | None = Field(None, description="the job's id; the same id again runs nothing twice")
    image_path: str | None = None
    image_url: str | None = None
    image_base64: str | None = None
    end_image_path: str | None = None
    end_image_url: str | None = None
    end_image_base64: str | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    cfg: float | None = None
    width: int | None = None
    height: int | None = None
    length: int | None = Field(None, description="frames, 4n+1; also `frames`")
    steps: int | None = None
    context_overlap: int | None = None
    preset: str | None = Field(None, description="fast, hybrid or quality")
    lora_pairs: list[LoraPair] | None = Field(None, max_length=4)


def application(layout: Layout, token: str | None) -> Any:
    """The ASGI application; with `token` nobody is answered without it."""
    spool = Spool(layout, "video")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(spool.wake)
        yield

    app = FastAPI(title="video", lifespan=lifespan, docs_url=None, redoc_url=None)
    service = _Service(spool)
    app.include_router(router(spool))
    app.add_api_route("/generate", service.generate, methods=["POST"])
    app.add_api_route("/health", service.health, methods=["GET"])
    app.add_api_route("/models", service.models, methods=["GET"])
    app.add_api_route("/workflows", service.workflows, methods=["GET"])
    app.add_api_route("/validate", service.validate, methods=["POST"])
    return Guard(app, token, LIMIT_BYTES)


class _Service:
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._workspace = Path(spool.layout.root)

    async def generate(self, request: GenerateRequest) -> Response:
        """Queues a video and answers at once: nothing here blocks for longer than that."""
        given = request.model_dump(exclude_unset=True, exclude_none=True, mode="json")
        job_id = given.pop("id", None) or _new_id()
        try:
            parse(given)
            return JSONResponse(await accept(self._spool, job_id, given))
        except Failure as failure:
            return refusal(failure)

    async def health(self) -> Response:
        """200 when ComfyUI answers, 503 with the reason when it does not."""
        state = await asyncio.to_thread(inventory.comfyui, self._workspace)
        daemon = await asyncio.to_thread(self._spool.daemon)
        waiting = len(daemon.get("queue") or ())
        queue = {"running": daemon.get("current"), "waiting": waiting}
        is_well = bool(state["reachable"])
        status = "healthy" if is_well else "unhealthy"
        return JSONResponse(
            {"status": status, "comfyui": state, "queue": queue}, 200 if is_well else 503
        )

    async def models(self) -> Response:
        return JSONResponse(await asyncio.to_thread(inventory.models_document))

    async def workflows(self) -> Response:
        return JSONResponse(await asyncio.to_thread(inventory.workflows))

    async def validate(self, given: dict[str, Any]) -> Response:
        """What would be queued for this request, and every reason why it could not run."""
        try:
            found = await asyncio.to_thread(inventory.validated, given, self._workspace)
        except Failure as failure:
            return refusal(failure)
        return JSONResponse(found)


def _new_id() -> str:
    """Sorted by time, as the ids of clients are; for callers that give none."""
    return f"{int(time.time() * 1000):012x}-{secrets.token_hex(6)}"
