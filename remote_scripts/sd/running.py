"""One generation: the blocking request in a thread, its progress and its cancellation beside it."""

from __future__ import annotations

import threading
import time
from typing import Any

from sd.webui import Gone, Refused, Webui, named
from worker import report
from worker.report import Failure

Json = dict[str, Any]

JOB_LIMIT_S = 3600.0
# After an interrupt the WebUI finishes its step, decodes, and answers.
INTERRUPT_LIMIT_S = 120.0
_LOOK_EVERY_S = 0.5
_LISTEN_EVERY_S = 0.05
# A busy server answers late; one that is gone refuses at once, and the request itself then ends.
_SILENCE_LIMIT_S = 120.0


class Generation:
    """Runs one request. `interrupted` says that somebody else stopped it in between."""

    def __init__(self, webui: Webui, api: str, body: Json, *, has_preview: bool) -> None:
        self._webui, self._api, self._body = webui, api, body
        self._has_preview = has_preview
        self._answer: Any = None
        self._error: Exception | None = None
        self._done = threading.Event()
        self._heard_at = time.monotonic()
        self._shown: tuple[Any, ...] = ()
        self.interrupted = False

    def run(self, limit_s: float = JOB_LIMIT_S) -> Json:
        """The WebUI's answer. Raises Failure and Cancelled; the WebUI is free again then."""
        thread = threading.Thread(target=self._post, args=(limit_s,), daemon=True)
        thread.start()
        deadline, look_at = time.monotonic() + limit_s, 0.0
        try:
            while not self._done.wait(_LISTEN_EVERY_S):
                report.check_cancelled()
                now = time.monotonic()
                if now >= look_at:
                    self._look()
                    look_at = time.monotonic() + _LOOK_EVERY_S
                self._check_time(now, deadline, limit_s)
        except Failure:
            self._interrupt()
            raise
        found = self._result()
        if self._shown[:1] == ("denoise",) and not self.interrupted:
            # The last look came before the last step.
            report.progress("denoise", self._shown[2], self._shown[2])
        return found

    def _post(self, limit_s: float) -> None:
        try:
            limit_s += INTERRUPT_LIMIT_S
            self._answer = self._webui.post(f"/{self._api}", self._body, limit_s=limit_s)
        except (Refused, Gone) as error:
            self._error = error
        finally:
            self._done.set()

    def _result(self) -> Json:
        if isinstance(self._error, Refused):
            raise named(self._error) from self._error
        if isinstance(self._error, Gone):
            raise Failure(
                "worker_died",
                f"the WebUI ended before the picture was there ({self._error})",
                "submit it again: a fresh one starts; if it was killed for memory, use less",
            ) from self._error
        if not isinstance(self._answer, dict):
            raise Failure("failed", "the WebUI's answer is not an object", "see its log")
        return self._answer

    def _look(self) -> None:
        """Reports where it is. A look that fails is no failure: the request itself tells that."""
        skip = "" if self._has_preview else "?skip_current_image=true"
        try:
            found = self._webui.call("GET", f"/progress{skip}", None, limit_s=10.0)
        except (Refused, Gone):
            return
        self._heard_at = time.monotonic()
        state = (found or {}).get("state") or {}
        self.interrupted |= bool(state.get("interrupted"))
        self._tell(found or {}, state)

    def _tell(self, found: Json, state: Json) -> None:
        jobs, steps = int(state.get("job_count") or 0), int(state.get("sampling_steps") or 0)
        preview = found.get("current_image") if self._has_preview else None
        if jobs > 0 and steps > 0:
            done = int(state.get("job_no") or 0) * steps + int(state.get("sampling_step") or 0)
            shown: tuple[Any, ...] = ("denoise", min(done, jobs * steps), jobs * steps)
        elif jobs > 0:
            shown = ("prepare", 0, 1)
        else:
            # Idle although the request is there: another or a model comes first, or it is done.
            shown = ("decode" if self._shown[:1] == ("denoise",) else "wait", 0, 1)
        if preview or shown != self._shown:
            self._shown = shown
            extra = {"preview": preview} if preview else {}
            report.progress(*shown, **extra)

    def _check_time(self, now: float, deadline: float, limit_s: float) -> None:
        if now > deadline:
            raise Failure(
                "failed", f"no picture after {limit_s:g} s: stopped", "use fewer steps or pictures"
            )
        if now - self._heard_at > _SILENCE_LIMIT_S:
            raise Failure(
                "failed",
                f"the WebUI has not said a word for {_SILENCE_LIMIT_S:g} s",
                "see its log; restart the machine when it hangs",
            )

    def _interrupt(self) -> None:
        """Stops the WebUI and waits until it is free: the next job must not meet this one."""
        deadline = time.monotonic() + INTERRUPT_LIMIT_S
        while not self._done.is_set() and time.monotonic() < deadline:
            try:
                # Again, until it counts: one that comes before the start of a job is lost.
                self._webui.call("POST", "/interrupt", {}, limit_s=10.0)
            except (Refused, Gone):
                return
            self._done.wait(_LOOK_EVERY_S)


def run(webui: Webui, api: str, body: Json, *, has_preview: bool) -> tuple[Json, bool]:
    """The answer, and whether someone else interrupted it. Raises Failure, Cancelled."""
    generation = Generation(webui, api, body, has_preview=has_preview)
    return generation.run(), generation.interrupted
