"""The simulated ComfyUI's queue: one prompt at a time, its events, its history, its cache."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from video import models
from video.sim_nodes import CORE, CUSTOM
from video.sim_validation import Verdict, validate

Json = dict[str, Any]
OLD, NEW = "old", "new"
VERSIONS = {OLD: "0.3.64", NEW: "0.38.1"}


@dataclass
class Options:
    """`models` and the files on `volume` make the lists of the loaders."""

    folder: Path
    volume: Path | None = None
    mode: str = OLD
    has_custom_nodes: bool = True
    has_previews: bool = False
    step_s: float = 0.0
    load_s: float = 0.0
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        return self.mode == NEW


@dataclass
class Item:
    """One prompt in the queue."""

    number: int
    id: str
    graph: Json
    extra: Json
    outputs: list[str]
    messages: list[list[Any]] = field(default_factory=list)
    is_interrupted: bool = False

    def as_list(self) -> list[Any]:
        return [self.number, self.id, self.graph, self.extra, self.outputs]


class Queue:
    """All of the server's state; used from its event loop alone."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.asked_at = time.monotonic()
        self.pending: list[Item] = []
        self.running: Item | None = None
        self.history: dict[str, Json] = {}
        self.sockets: dict[str, asyncio.Queue[Any]] = {}
        self.faults: dict[str, Any] = {}
        self.cache: dict[str, Any] = {}
        self._number = 0
        self.loaded: set[str] = set()
        self._is_waiting = asyncio.Event()
        for name in ("input", "output"):
            (options.folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def is_busy(self) -> bool:
        return bool(self.running or self.pending)

    def classes(self) -> Mapping[str, Json]:
        """Every class with the lists of its loaders filled in."""
        found = {**CORE, **CUSTOM} if self.options.has_custom_nodes else CORE
        return {name: self._filled(node) for name, node in found.items()}

    def files(self, folder: str) -> list[str]:
        known = self.options.models.get(folder, ())
        if self.options.volume is None:
            return sorted(known)
        here = self.options.volume / models.VOLUME_FOLDERS[folder]
        found = (path for path in here.glob("*") if path.suffix in models.SUFFIXES)
        return sorted({*known, *(path.name for path in found)})

    def submit(self, body: Json) -> tuple[Verdict, Item | None]:
        verdict = validate(body["prompt"], self.classes(), is_new=self.options.is_new)
        if not verdict.outputs:
            return verdict, None
        self._number += 1
        number = -self._number if body.get("front") else int(body.get("number", self._number))
        extra = {"client_id": body["client_id"]} if body.get("client_id") else {}
        prompt_id = str(body.get("prompt_id") or uuid.uuid4())
        item = Item(number, prompt_id, body["prompt"], extra, verdict.outputs)
        self.pending.append(item)
        self.pending.sort(key=lambda item: item.number)
        self._is_waiting.set()
        self.tell_status()
        return verdict, item

    def delete(self, ids: list[str]) -> bool:
        kept = [item for item in self.pending if item.id not in ids]
        is_changed = len(kept) != len(self.pending)
        self.pending = kept
        self.tell_status()
        return is_changed

    def interrupt(self, prompt_id: str | None) -> bool:
        """Without an id whatever runs is ended, whosever it is."""
        running = self.running
        if running is None or (prompt_id is not None and running.id != prompt_id):
            return False
        running.is_interrupted = True
        return True

    def tell_status(self, socket: asyncio.Queue[Any] | None = None, sid: str = "") -> None:
        remaining = len(self.pending) + bool(self.running)
        data: Json = {"status": {"exec_info": {"queue_remaining": remaining}}}
        if sid:
            data["sid"] = sid
        for one in [socket] if socket else list(self.sockets.values()):
            one.put_nowait({"type": "status", "data": data})

    async def work(self) -> None:
        """Runs the queue, for ever."""
        from video.sim_execution import Execution

        while True:
            while not self.pending:
                self._is_waiting.clear()
                await self._is_waiting.wait()
            self.running = self.pending.pop(0)
            await Execution(self, self.running).run()
            self.running = None
            self.tell_status()

    def tell(self, item: Item, event: str, data: Json) -> None:
        """To the one who asked for the prompt; nobody else hears of it."""
        socket = self.sockets.get(item.extra.get("client_id", ""))
        if socket:
            socket.put_nowait({"type": event, "data": {**data, "prompt_id": item.id}})

    def _filled(self, node: Json) -> Json:
        def spec(given: list[Any]) -> list[Any]:
            kind = given[0]
            if not isinstance(kind, str) or not kind.startswith("$"):
                return given
            return [self._choices(kind[1:]), given[1]]

        filled = {
            group: {name: spec(given) for name, given in inputs.items()}
            for group, inputs in node["input"].items()
        }
        return {**node, "input": filled}

    def _choices(self, folder: str) -> list[str]:
        if folder == "input":
            root = self.options.folder / "input"
            found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
            return sorted(map(str, found))
        name, _, more = folder.partition("+")
        return [more, *self.files(name)] if more else self.files(name)
