"""A stand-in for ComfyUI: its HTTP and WebSocket, old and new, with real mp4s and no model.

Written from messages recorded on a real server (feasibility.md §8, workloads.md §4.1).
`python -m video.sim_comfyui --port 0 --folder F` prints `{"port": N}` and serves until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from video.sim_queue import OLD, VERSIONS, Options, Queue

Json = dict[str, Any]
FOLDERS = ("diffusion_models", "loras", "text_encoders", "vae", "clip_vision")
LEFT_POLL_S = 2.0


def main(argv: list[str] | None = None) -> int:
    """Serves until SIGTERM, until `--folder` is gone, or until nobody asked for `--idle-s`."""
    parser = argparse.ArgumentParser(prog="sim_comfyui")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--volume", type=Path, help="where models lie, besides the known ones")
    parser.add_argument("--mode", choices=tuple(VERSIONS), default=OLD)
    parser.add_argument("--idle-s", type=float, default=1800.0)
    parser.add_argument("--announce", type=Path, help="write the port to this file as well")
    parser.add_argument("--no-custom-nodes", action="store_true")
    parser.add_argument("--previews", action="store_true")
    parser.add_argument("--model", action="append", default=[], help="folder/name that exists")
    given = parser.parse_args(argv)
    options = Options(
        folder=given.folder,
        volume=given.volume,
        mode=given.mode,
        has_custom_nodes=not given.no_custom_nodes,
        has_previews=given.previews,
        step_s=_seconds("GPUCTL_SIM_STEP_S"),
        load_s=_seconds("GPUCTL_SIM_LOAD_S"),
        models=_models(given.model),
    )
    return serve(options, given.port, given.idle_s, given.announce)


def serve(options: Options, port: int, idle_s: float, announce: Path | None) -> int:
    """Listens on loopback; `announce` is written, whole, when it can be reached."""
    import socket

    import uvicorn

    from video.sim_http import application

    listener = socket.create_server(("127.0.0.1", port))
    queue = Queue(options)
    config = uvicorn.Config(
        application(queue), log_level="warning", ws="websockets-sansio", lifespan="on",
        timeout_graceful_shutdown=1, ws_max_size=100 << 20,
    )  # fmt: skip
    server = uvicorn.Server(config)
    said = json.dumps({"port": listener.getsockname()[1], "pid": os.getpid()})
    threading.Thread(target=_end_when_left, args=(queue, idle_s, server), daemon=True).start()
    if announce:
        part = announce.with_suffix(f".{os.getpid()}.part")
        part.write_text(said, encoding="utf-8")
        part.replace(announce)
    print(said, flush=True)
    asyncio.run(server.serve(sockets=[listener]))
    return 0


def _end_when_left(queue: Queue, idle_s: float, server: Any) -> None:
    while not server.should_exit:
        time.sleep(LEFT_POLL_S)
        is_left = time.monotonic() - queue.asked_at > idle_s and not queue.is_busy
        if is_left or not queue.options.folder.exists():
            server.should_exit = True


def _models(given: list[str]) -> Mapping[str, tuple[str, ...]]:
    """Those named, else every model of the catalogue, so that nothing is ever missing."""
    from video import models

    known = given or [f"{model.folder}/{model.name}" for model in models.catalogue().values()]
    pairs = [name.split("/", 1) for name in known]
    return {folder: tuple(n for f, n in pairs if f == folder) for folder in FOLDERS}


def _seconds(name: str) -> float:
    try:
        return max(0.0, float(os.environ.get(name, "0")))
    except ValueError:
        return 0.0


if __name__ == "__main__":
    sys.exit(main())
