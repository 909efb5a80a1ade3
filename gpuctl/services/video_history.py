"""How long films took, so that the next one's end can be told while it is made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from gpuctl.models import JobRecord, Json, Report

KIND = "video_time"


class Memory(Protocol):
    """The part of State that this needs."""

    def keep(self, kind: str, key: str, record: Json) -> None: ...
    def all_kept(self, kind: str) -> list[Json]: ...


def remember(memory: Memory, record: JobRecord) -> None:
    """Keeps what a finished film took, one row for each kind of film and GPU."""
    metrics = record.metrics
    inference_s = metrics.get("inference_s")
    work = _work(metrics)
    if not inference_s or not work:
        return
    row = {
        "gpu": _gpu(record),
        "preset": metrics.get("preset") or metrics.get("workflow"),
        "engine": metrics.get("engine"),
        "work": work,
        "inference_s": float(inference_s),
    }
    memory.keep(KIND, f"{row['gpu']}|{row['preset']}|{work:g}", row)


def expected_s(memory: Memory, gpu: str | None, preset: str | None, order: Json) -> float | None:
    """Seconds that such a film will take on such a GPU; None where nobody has seen any.

    The same work took as long; other work is scaled by pixels × frames × steps.
    """
    rows = [row for row in memory.all_kept(KIND) if row.get("gpu") == gpu and row.get("work")]
    same = [row for row in rows if row.get("preset") == preset]
    work = _work({**order, "steps": order.get("steps") or _steps(preset)})
    if not same or not work:
        return None
    nearest = min(same, key=lambda row: abs(float(row["work"]) - work))
    return float(nearest["inference_s"]) * work / float(nearest["work"])


class WithEta:
    """A report whose bars tell how much longer it takes: by the steps that were seen, and before
    there are any, by what such films took."""

    def __init__(
        self,
        report: Report,
        expected: float | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report, self._expected, self._now = report, expected, now
        self._began: float | None = None
        self._first: tuple[float, float] | None = None

    def step(self, text: str) -> None:
        self._report.step(text)

    def note(self, text: str) -> None:
        self._report.note(text)

    def warn(self, text: str) -> None:
        self._report.warn(text)

    def progress(self, stage: str, done: float, total: float | None) -> None:
        if stage == "queue":
            self._report.step(f"queued behind {done:g}" if done else "next in the queue")
            return
        if stage in ("load", "encode") and self._began is None:
            self._began = self._now()
        left = self._left_s(stage, done, total)
        self._report.progress(f"{stage}, {words(left)} left" if left else stage, done, total)

    def _left_s(self, stage: str, done: float, total: float | None) -> float | None:
        now = self._now()
        if stage == "denoise" and total:
            if self._first is None or done < self._first[0]:
                self._first = (done, now)
            steps, took = done - self._first[0], now - self._first[1]
            if steps >= 2 and took > 0:
                return took / steps * (total - done)
        if self._expected is None or self._began is None or stage in ("save", "upload"):
            return None
        return max(0.0, self._expected - (now - self._began)) or None


def words(seconds: float) -> str:
    """1 min 10 s; under a minute in steps of five, so that it does not flicker."""
    whole = round(seconds)
    if whole >= 60:
        return f"{whole // 60} min {whole % 60 // 10 * 10} s"
    return f"{max(5, round(whole / 5) * 5)} s"


def _work(facts: Json) -> float:
    """Pixels × frames × steps: what the time grows with."""
    product = 1.0
    for name in ("width", "height", "frames", "steps"):
        product *= float(facts.get(name) or 0)
    return product


def _steps(preset: str | None) -> int:
    """As remote_scripts/video/workflows has them."""
    return {"fast": 4, "hybrid": 10, "quality": 20}.get(preset or "", 0)


def _gpu(record: JobRecord) -> str | None:
    machine: Json = record.context.get("machine") or {}
    gpu = machine.get("gpu") or record.metrics.get("gpu")
    return str(gpu) if gpu else None
