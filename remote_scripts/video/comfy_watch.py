"""One prompt from its submission to its end. The WebSocket is a hint; history and queue decide."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlencode

from video import comfy_client, comfy_errors, graphs
from video.comfy_client import Comfy, Missing, Rejected, Unreachable
from worker import report
from worker.report import Cancelled, Failure

Json = dict[str, Any]
POLL_S = 0.5
# With a silent socket the truth is asked for so often.
RECONCILE_S = 5.0
# Before it has begun, its place in the queue is what changes.
WAITING_S = 1.0
# ComfyUI may take so long to come back before a job on it is given up.
AWAY_S = 60.0
LOST_CHECKS = 3
OOM = ("OutOfMemoryError", "out of memory", "Allocation on device")
STAGES = (
    ("load", ("Loader", "LoadImage", "LoadWanVideo", "Lora", "ModelSampling", "BlockSwap")),
    ("encode", ("Encode", "WanImageToVideo", "WanFirstLastFrame", "Resize")),
    ("denoise", ("Sampler",)),
    ("decode", ("Decode",)),
    ("save", ("Save", "Combine", "CreateVideo")),
)


class Watch:
    """Submits a graph and follows it. Tells every node and step through `report`."""

    def __init__(
        self,
        comfy: Comfy,
        graph: Json,
        prompt_id: str,
        client_id: str,
        *,
        planned_steps: int = 0,
        away_s: float = AWAY_S,
    ) -> None:
        self._comfy, self._graph, self._id, self._client = comfy, graph, prompt_id, client_id
        self._progress = _Progress(graph, planned_steps)
        self._away_s = away_s
        self._absent = 0

    def run(self) -> Json:
        """The history entry of a prompt that succeeded.

        Raises Failure (bad_input, model_missing, unsupported, oom, worker_died, failed), Cancelled.
        """
        is_over = False
        try:
            with self._socket() as listen:
                self._submit()
                entry = self._until_over(listen)
            while entry is None:
                entry = self._again()
            is_over = True
            return self._judged(entry)
        except Unreachable as error:
            raise comfy_client.unreachable(self._comfy.where, error) from error
        finally:
            if not is_over:
                # Nobody waits for it any more: the GPU is for the next one.
                with suppress(Unreachable, Missing, Rejected, Failure):
                    self._comfy.cancel(self._id)

    def _submit(self) -> None:
        try:
            answer = self._comfy.submit(self._graph, self._id, self._client)
        except Rejected as rejection:
            raise comfy_errors.rejected(rejection.answer, self._graph) from None
        for sentence, _ in comfy_errors.node_sentences(
            answer.get("node_errors") or {}, self._graph
        ):
            report.log(f"left out: {sentence}", "warning")

    def _again(self) -> Json | None:
        """After a drop: where is it now? Then listens once more, under the same name."""
        deadline = time.monotonic() + self._away_s
        while True:
            report.check_cancelled()
            try:
                entry = self._reconciled()
                if entry is not None:
                    return entry
                with self._socket() as listen:
                    return self._until_over(listen)
            except Unreachable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)

    def _reconciled(self) -> Json | None:
        """The history entry; None while it waits or runs. Raises Failure when it is nowhere."""
        entry = self._comfy.history(self._id)
        if entry is not None:
            return entry
        running, pending = self._comfy.queued()
        if self._id in running:
            self._absent = 0
            return None
        if self._id in pending:
            self._absent = 0
            report.progress("queue", len(running) + pending.index(self._id))
            return None
        # It leaves the queue a moment before it is in the history.
        self._absent += 1
        if self._absent >= LOST_CHECKS:
            raise Failure(
                "worker_died",
                "ComfyUI was restarted and has forgotten this video",
                "run it again; if it was ended for memory, use a smaller size or fewer frames",
            )
        return None

    def _until_over(self, listen: Callable[[], Any]) -> Json | None:
        """The history entry; None when the socket dropped."""
        heard_at = time.monotonic()
        while True:
            report.check_cancelled()
            try:
                message = listen()
            except TimeoutError:
                patience_s = RECONCILE_S if self._progress.has_begun else WAITING_S
                if time.monotonic() - heard_at > patience_s or self._absent:
                    heard_at = time.monotonic()
                    entry = self._reconciled()
                    if entry is not None:
                        return entry
                continue
            if message is None:
                return None
            heard_at = time.monotonic()
            if isinstance(message, str) and self._is_end(json.loads(message)):
                entry = self._reconciled()
                if entry is not None:
                    return entry

    def _is_end(self, message: Json) -> bool:
        """`executing` without a node ends success, error and cancel alike."""
        kind, data = str(message.get("type")), message.get("data") or {}
        if data.get("prompt_id") not in (None, self._id):
            return False
        if kind == "executing" and data.get("node") is None:
            return data.get("prompt_id") == self._id
        self._progress.note(kind, data)
        return False

    def _judged(self, entry: Json) -> Json:
        status = entry.get("status") or {}
        events = {str(event[0]): event[1] for event in status.get("messages") or ()}
        if "execution_interrupted" in events:
            raise Cancelled
        if "execution_error" in events:
            raise _failure_of(events["execution_error"], self._graph)
        if status.get("status_str", "success") != "success":
            raise Failure("failed", "ComfyUI says that it failed, and not why", comfy_client.REMEDY)
        return entry

    @contextmanager
    def _socket(self) -> Iterator[Callable[[], Any]]:
        """Yields a call that gives the next message, None once the socket is closed.

        It raises TimeoutError after half a second without any, and Unreachable.
        """
        from websockets.exceptions import ConnectionClosed, WebSocketException
        from websockets.sync.client import connect

        query = urlencode({"clientId": self._client})
        url = f"ws://{self._comfy.where}/ws?{query}"
        try:
            socket = connect(url, open_timeout=15, close_timeout=1, max_size=None, proxy=None)
        except (OSError, WebSocketException, TimeoutError) as error:
            raise Unreachable(str(error)) from error

        def listen() -> Any:
            try:
                return socket.recv(timeout=POLL_S)
            except ConnectionClosed:
                return None

        with socket:
            yield listen


class _Progress:
    """Turns ComfyUI's events into ours: which stage, and how many steps of how many."""

    def __init__(self, graph: Json, planned_steps: int) -> None:
        self._graph, self._planned = graph, planned_steps
        self._done_nodes: set[str] = set()
        self._done_steps = 0
        self._current = ""
        self._current_steps = 0
        self.has_begun = False

    def note(self, kind: str, data: Json) -> None:
        node = str(data.get("node") or "")
        self.has_begun |= kind == "execution_start"
        if kind == "execution_cached":
            self._done_nodes |= {str(one) for one in data.get("nodes") or ()}
        elif kind == "executing" and node:
            self._begin(node)
        elif kind == "progress" and node and self._stage(node) == "denoise":
            self._current_steps = int(data.get("value", 0))
            self._tell_steps(int(data.get("max", 0)))
        elif kind == "progress" and node:
            report.progress(self._stage(node), data.get("value", 0), data.get("max"))

    def _begin(self, node: str) -> None:
        if self._current:
            self._done_nodes.add(self._current)
        self._done_steps += self._current_steps
        self._current, self._current_steps = node, 0
        fields = {"node": node, "title": graphs.title(self._graph, node)}
        counted = {"nodes_done": len(self._done_nodes), "nodes": len(self._graph)}
        if self._stage(node) == "denoise" and self._planned:
            report.progress("denoise", self._done_steps, self._planned, **fields, **counted)
        else:
            report.progress(
                self._stage(node), len(self._done_nodes), len(self._graph), **fields, **counted
            )

    def _tell_steps(self, node_total: int) -> None:
        done = self._done_steps + self._current_steps
        report.progress("denoise", done, max(done, self._planned or node_total))

    def _stage(self, node: str) -> str:
        kind = str((self._graph.get(node) or {}).get("class_type", ""))
        fitting = (stage for stage, words in STAGES if any(word in kind for word in words))
        return next(fitting, "work")


def _failure_of(error: Json, graph: Json) -> Failure:
    message = str(error.get("exception_message") or "").strip() or "no reason given"
    kind, node = str(error.get("exception_type") or ""), str(error.get("node_id") or "")
    where = f"in '{graphs.title(graph, node)}' ({node}, {error.get('node_type')})"
    if any(word in kind or word in message for word in OOM):
        return Failure(
            "oom", f"the GPU's memory was not enough {where}: {message}",
            "use a smaller size or fewer frames, or a GPU with more memory",
        )  # fmt: skip
    return Failure("failed", f"{kind.rpartition('.')[2] or 'error'} {where}: {message}", "")
