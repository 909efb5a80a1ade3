"""A stand-in for Automatic1111's API server: its routes, defaults, errors and silences.

Written from what is known of the real one (facts/workloads.md §3), for the simulator and the tests.
It runs as a process of its own, `python -m sd.sim_webui`, and ends with its stdin.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sd import sim_catalogue, sim_infotext, sim_paint
from sd.keys import IMG2IMG, TXT2IMG
from sd.sim_generate import generate
from sd.sim_pictures import decoded, encoded
from sd.sim_world import ApiError, World

Json = dict[str, Any]
Route = Callable[[World, Json], Any]
PREFIX = "/sdapi/v1"


def progress(world: World, query: Json) -> Json:
    """GET progress. 0 when idle, also between two jobs."""
    now = world.progress
    state = {
        "skipped": now.skipped,
        "interrupted": now.interrupted,
        "stopping_generation": False,
        "job": "scripts_txt2img" if now.job_count else "",
        "job_count": now.job_count,
        "job_timestamp": "20261121000000",
        "job_no": now.job_no,
        "sampling_step": now.step,
        "sampling_steps": now.steps,
    }
    if not now.job_count:
        return {"progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": None,
                "textinfo": None}  # fmt: skip
    done = 0.01 + now.job_no / now.job_count + now.step / max(1, now.steps) / now.job_count
    wants_image = query.get("skip_current_image", "false").lower() not in ("true", "1")
    image = encoded(now.preview, "", "png", 80) if wants_image and now.preview else None
    spent = time.time() - now.started
    return {"progress": min(done, 1.0), "eta_relative": spent / done - spent, "state": state,
            "current_image": image, "textinfo": None}  # fmt: skip


def upscale(world: World, body: Json) -> Json:
    picture = decoded(str(body.get("image") or ""))
    upscaler = body.get("upscaler_1") or "None"
    if upscaler not in sim_catalogue.UPSCALERS:
        raise ApiError(500, "", f"could not find upscaler named {upscaler}", "AssertionError")
    width, height = picture.size
    factor = float(body.get("upscaling_resize") or 2)
    size = (int(width * factor), int(height * factor))
    if body.get("resize_mode") == 1:
        size = (int(body["upscaling_resize_w"]), int(body["upscaling_resize_h"]))
    with world.queue_lock:
        larger = sim_paint.upscaled(picture, size, upscaler)
    kept = str(picture.info.get("parameters", ""))
    note = f"{kept}, Postprocess upscaler: {upscaler}" if kept else ""
    return {"html_info": "<div></div>", "image": encoded(larger, note, "png", 80)}


def png_info(_world: World, body: Json) -> Json:
    picture = decoded(str(body.get("image") or "").strip())
    text = str(picture.info.get("parameters", ""))
    return {"info": text, "items": {"parameters": text}, "parameters": sim_infotext.parsed(text)}


def interrupt(world: World, _body: Json) -> Json:
    world.interrupt()
    return {}


def skip(world: World, _body: Json) -> None:
    world.progress.skipped = True


def set_options(world: World, body: Json) -> None:
    world.set_options(body)


def set_faults(world: World, body: Json) -> Json:
    """Not A1111's: what goes wrong from now on (crash_at_step, nan, oom_above_pixels, step_s)."""
    world.faults = body
    return body


def openapi(world: World, _query: Json) -> Json:
    """The part of FastAPI's description that clients look at."""

    def schema(keys: Json) -> Json:
        return {"type": "object", "properties": {key: {} for key in keys}}

    extra: Json = {"distilled_cfg_scale": {}} if world.flavour == "forge" else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "FastAPI", "version": "0.1.0"},
        "paths": {f"{PREFIX}{path}": {} for _, path in routes(world)},
        "components": {
            "schemas": {
                "StableDiffusionProcessingTxt2Img": schema({**TXT2IMG, **extra}),
                "StableDiffusionProcessingImg2Img": schema({**IMG2IMG, **extra}),
            }
        },
    }


def routes(world: World) -> dict[tuple[str, str], Route]:
    """Route → what answers it, as the flavour has them."""
    found: dict[tuple[str, str], Route] = {
        ("POST", "/txt2img"): lambda w, body: generate(w, "txt2img", body),
        ("POST", "/img2img"): lambda w, body: generate(w, "img2img", body),
        ("POST", "/extra-single-image"): upscale,
        ("POST", "/png-info"): png_info,
        ("POST", "/interrupt"): interrupt,
        ("POST", "/skip"): skip,
        ("POST", "/options"): set_options,
        ("GET", "/progress"): progress,
        ("GET", "/options"): lambda w, _: w.options,
        ("GET", "/samplers"): lambda w, _: _samplers(w),
        ("GET", "/schedulers"): lambda *_: sim_catalogue.schedulers(),
        ("GET", "/sd-models"): lambda *_: sim_catalogue.checkpoints(),
        ("GET", "/sd-vae"): lambda *_: _vaes(),
        ("GET", "/loras"): lambda *_: sim_catalogue.loras(),
        ("GET", "/upscalers"): lambda *_: sim_catalogue.upscalers(),
        ("GET", "/latent-upscale-modes"): lambda *_: _named(sim_catalogue.LATENT_MODES),
        ("GET", "/prompt-styles"): lambda *_: _styles(),
        ("GET", "/embeddings"): lambda *_: {"loaded": {}, "skipped": {}},
        ("GET", "/scripts"): lambda *_: _scripts(),
        ("GET", "/memory"): lambda *_: {"ram": {}, "cuda": {"error": "simulated"}},
        ("POST", "/refresh-loras"): lambda *_: None,
        ("POST", "/refresh-checkpoints"): lambda *_: None,
    }
    if world.flavour == "old":
        del found["GET", "/schedulers"]
    if world.flavour == "forge":
        found["GET", "/sd-modules"] = found.pop(("GET", "/sd-vae"))
    if world.flavour == "sdnext":
        del found["GET", "/latent-upscale-modes"]
        found["GET", "/version"] = lambda *_: {"app": "sd.next"}
    return found


def _samplers(world: World) -> list[Json]:
    extra = [{"name": f"{name} Karras", "aliases": [], "options": {"scheduler": "karras"}}
             for name in ("DPM++ 2M", "DPM++ SDE", "LMS")]  # fmt: skip
    return sim_catalogue.samplers() + (extra if world.flavour == "old" else [])


def _vaes() -> list[Json]:
    return [{"model_name": name, "filename": f"/opt/webui/models/VAE/{name}"}
            for name in sim_catalogue.VAES]  # fmt: skip


def _named(names: tuple[str, ...]) -> list[Json]:
    return [{"name": name} for name in names]


def _styles() -> list[Json]:
    return [{"name": name, "prompt": text, "negative_prompt": ""}
            for name, text in sim_catalogue.STYLES.items()]  # fmt: skip


def _scripts() -> Json:
    names = [*sim_catalogue.SCRIPTS, *sim_catalogue.ALWAYS_ON]
    return {"txt2img": names, "img2img": names}


class Handler(BaseHTTPRequestHandler):
    """One request. `world` is bound by `serve`."""

    world: World
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer("GET", {})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._say(422, {"detail": [{"loc": ["body"], "msg": "value is not a valid dict",
                                        "type": "type_error.dict"}]})  # fmt: skip
            return
        self._answer("POST", body)

    def _answer(self, method: str, body: Json) -> None:
        path, _, query = self.path.partition("?")
        given = dict(part.partition("=")[::2] for part in query.split("&") if part)
        if path == "/sim/faults":
            self._say(200, set_faults(self.world, body))
            return
        if not self._is_allowed():
            self._say(401, {"detail": "Incorrect username or password"})
            return
        if path == "/openapi.json":
            self._say(200, openapi(self.world, given))
            return
        route = routes(self.world).get((method, path.removeprefix(PREFIX)))
        if route is None or not path.startswith(PREFIX):
            self._say(404, {"detail": "Not Found"})
            return
        try:
            found = route(self.world, body if method == "POST" else given)
        except ApiError as error:
            self._say(error.status, error.body)
            return
        is_silent = self.world.flavour == "sdnext" and found in ({}, None)
        self._say(204 if is_silent else 200, found)

    def _is_allowed(self) -> bool:
        auth = self.world.auth
        wanted = f"Basic {base64.b64encode(auth.encode()).decode()}" if auth else None
        return wanted is None or self.headers.get("Authorization") == wanted

    def _say(self, status: int, answer: Any) -> None:
        body = b"" if status == 204 else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(world: World, port: int = 0) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 that answers in the background; port 0 takes a free one."""
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"world": world}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main(argv: list[str], **parts: Any) -> int:
    """Serves until stdin ends, so that it never outlives who started it. Prints its port."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--flavour", default="1.9")
    options.add_argument("--auth", default=None)
    asked = options.parse_args(argv)
    world = World(flavour=asked.flavour, auth=asked.auth, **parts)
    time.sleep(world.load_s)
    server = serve(world, asked.port)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
