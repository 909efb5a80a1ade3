"""Runs one prompt of the simulated ComfyUI, node by node, and tells what happens."""

from __future__ import annotations

import asyncio
import struct
import time
from pathlib import Path
from typing import Any

from video import sim_film, sim_graph
from video.sim_queue import Item, Queue

Json = dict[str, Any]
PAUSE_S = 0.02


class Interrupted(Exception):
    pass


class NodeFailed(Exception):
    """A node raised while it ran."""

    def __init__(self, message: str, kind: str = "RuntimeError") -> None:
        super().__init__(message)
        self.message, self.kind = message, kind


class Execution:
    """One item of the queue while it runs."""

    def __init__(self, queue: Queue, item: Item) -> None:
        self._queue, self._item = queue, item

    async def run(self) -> None:
        """To its end, whatever that is; history has it then."""
        outputs: Json = {}
        self._note("execution_start", {})
        nodes = list(sim_graph.ancestors(self._item.graph, self._item.outputs))
        signatures = {node: sim_graph.signature(self._item.graph, node) for node in nodes}
        cached = [node for node in nodes if signatures[node] in self._queue.cache]
        self._note("execution_cached", {"nodes": cached})
        current, values = "", dict[str, Any]()
        try:
            for current in nodes:
                await self._execute(current, signatures[current], values, outputs)
            self._note("execution_success", {})
        except Interrupted:
            self._note("execution_interrupted", self._where(current, values))
        except NodeFailed as failure:
            self._fail(current, values, failure)
        except Exception as error:  # noqa: BLE001 -- as the real one: the prompt ends, not the server
            self._fail(current, values, NodeFailed(str(error), type(error).__name__))
        self._finish(outputs)

    def _fail(self, node_id: str, values: Json, failure: NodeFailed) -> None:
        where = self._where(node_id, values)
        more = {
            "exception_message": failure.message,
            "exception_type": failure.kind,
            "traceback": [f'  File "nodes.py", in {where["node_type"]}\n'],
            "current_inputs": {},
            "current_outputs": list(values),
        }
        self._note("execution_error", {**where, **more})

    async def _execute(self, node_id: str, signature: str, values: Json, outputs: Json) -> None:
        node, is_cached = self._item.graph[node_id], signature in self._queue.cache
        if is_cached:
            values[node_id], shown = self._queue.cache[signature]
        else:
            self._tell("progress_state", {"nodes": self._states(node_id, 0, 1)})
            self._tell("executing", {"node": node_id, "display_node": node_id})
            await self._pause()
            values[node_id], shown = await self._result(node_id, node, values)
            self._queue.cache[signature] = values[node_id], shown
        if shown is not None:
            outputs[node_id] = shown
            self._tell("executed", {"node": node_id, "display_node": node_id, "output": shown})

    async def _result(
        self, node_id: str, node: Json, values: Json
    ) -> tuple[tuple[Any, ...], Json | None]:
        inputs = {
            name: values[str(value[0])][value[1]] if isinstance(value, list) else value
            for name, value in node.get("inputs", {}).items()
        }
        await self._fail_as_asked(node)
        await self._load(inputs)
        steps = sim_graph.steps_of(node, inputs)
        if self._queue.classes()[node["class_type"]]["output_node"]:
            return (), await asyncio.to_thread(self._save, node, inputs)
        result = sim_graph.run(node, inputs, self._queue.options.folder / "input")
        for step in range(steps):
            await self._pause(self._queue.options.step_s)
            self._step(node_id, step + 1, steps, result[0])
        return result, None

    async def _load(self, inputs: Json) -> None:
        """The first use of a model takes its time; the second none."""
        names = {v for v in inputs.values() if isinstance(v, str) and v.endswith(".safetensors")}
        if names - self._queue.loaded:
            self._queue.loaded |= names
            await asyncio.sleep(self._queue.options.load_s)

    def _step(self, node_id: str, step: int, steps: int, film: Any) -> None:
        self._tell("progress_state", {"nodes": self._states(node_id, step, steps)})
        self._tell("progress", {"value": step, "max": steps, "node": node_id})
        if self._queue.options.has_previews:
            socket = self._queue.sockets.get(self._item.extra.get("client_id", ""))
            if socket:
                image = struct.pack(">II", 1, 1) + sim_film.preview(film, step, steps)
                socket.put_nowait(image)

    def _save(self, node: Json, inputs: Json) -> Json:
        film, fps = sim_graph.film_of(inputs)
        prefix = Path(str(inputs["filename_prefix"]))
        folder = self._queue.options.folder / "output" / prefix.parent
        folder.mkdir(parents=True, exist_ok=True)
        ending = "_.mp4" if node["class_type"] == "SaveVideo" else ".mp4"
        number = len(list(folder.glob(f"{prefix.name}_*"))) + 1
        path = folder / f"{prefix.name}_{number:05}{ending}"
        try:
            sim_film.write(film, fps, path)
        except sim_film.NoEncoder as error:
            raise NodeFailed(str(error)) from error
        subfolder = "" if str(prefix.parent) == "." else str(prefix.parent)
        entry = {"filename": path.name, "subfolder": subfolder, "type": "output"}
        if node["class_type"] == "SaveVideo":
            return {"images": [entry], "animated": [True]}
        more = {"format": inputs["format"], "frame_rate": fps, "fullpath": str(path)}
        return {"gifs": [{**entry, **more}]}

    async def _pause(self, seconds: float = 0.0) -> None:
        """Lets the world in, and ends the prompt where that was asked for."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            is_held = "hold" in self._queue.faults
            await asyncio.sleep(PAUSE_S if is_held else min(PAUSE_S, max(0.0, left)))
            if self._item.is_interrupted:
                raise Interrupted
            if time.monotonic() >= deadline and "hold" not in self._queue.faults:
                return

    async def _fail_as_asked(self, node: Json) -> None:
        asked = self._queue.faults.get("fail")
        if asked and asked["class_type"] == node["class_type"]:
            del self._queue.faults["fail"]
            raise NodeFailed(asked["message"], asked.get("type", "RuntimeError"))

    def _finish(self, outputs: Json) -> None:
        is_success = self._item.messages[-1][0] == "execution_success"
        self._queue.history[self._item.id] = {
            "prompt": self._item.as_list(),
            "outputs": outputs,
            "status": {
                "status_str": "success" if is_success else "error",
                "completed": is_success,
                "messages": self._item.messages,
            },
            "meta": {
                node: {
                    "node_id": node,
                    "display_node": node,
                    "parent_node": None,
                    "real_node_id": node,
                }
                for node in outputs
            },
        }
        self._tell("executing", {"node": None})

    def _where(self, node_id: str, values: Json) -> Json:
        kind = self._item.graph[node_id]["class_type"]
        return {"node_id": node_id, "node_type": kind, "executed": list(values)}

    def _states(self, node_id: str, value: int, most: int) -> Json:
        state = {
            "value": value,
            "max": most,
            "state": "running",
            "node_id": node_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        return {node_id: state}

    def _note(self, event: str, data: Json) -> None:
        """An event that history keeps as well."""
        stamped = {**data, "prompt_id": self._item.id, "timestamp": int(time.time() * 1000)}
        self._item.messages.append([event, stamped])
        self._tell(event, stamped)

    def _tell(self, event: str, data: Json) -> None:
        self._queue.tell(self._item, event, data)
