"""Why a job waits in an endpoint's queue, read from its workers: pure (facts: runpod.md §3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gpuctl.models import Endpoint

Cause = Literal["crash_loop", "paused", "no_capacity", "starting", "busy", "none"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`cause`, what is so, and what to type next."""

    cause: Cause
    message: str
    hint: str

    def line(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


def diagnose(endpoint: Endpoint, answer: Mapping[str, Any]) -> Diagnosis:
    """`answer` is that of /workers. A crash loop is looked for first: it is what is most often
    taken for a lack of capacity."""
    summary = answer.get("summary") or {}
    count = {name: int(summary.get(name) or 0) for name in _STATES}
    name = endpoint.name
    if count["unhealthy"]:
        sick = [each.get("id") for each in answer.get("workers", ()) if _is_sick(each)]
        which = f" --worker {sick[0]}" if sick else ""
        return Diagnosis(
            "crash_loop",
            f"{count['unhealthy']} of {sum(count.values())} workers crash when they start, and "
            "bill all the same: this is no lack of GPUs",
            f"read why: gpuctl endpoint logs {name}{which}; stop it: gpuctl endpoint pause {name}",
        )
    if endpoint.workers_max == 0:
        return Diagnosis(
            "paused", "the endpoint is paused: it has no workers", f"gpuctl endpoint resume {name}"
        )
    if count["running"]:
        return Diagnosis(
            "busy",
            f"all {count['running']} workers are busy with other jobs",
            f"more of them: gpuctl endpoint update {name} --max-workers N",
        )
    if count["throttled"]:
        pools = ", ".join(endpoint.pools) or "its pools"
        return Diagnosis(
            "no_capacity",
            f"no GPU is free for {count['throttled']} workers in {pools}",
            f"allow more: gpuctl endpoint update {name} --max-price USD (or --gpu, --dc)",
        )
    if count["initializing"]:
        return Diagnosis(
            "starting",
            f"{count['initializing']} workers are starting: pulling the image, loading",
            f"watch one: gpuctl endpoint logs {name} -f",
        )
    if not sum(count.values()):
        return Diagnosis("starting", "no worker yet: the endpoint scales up from zero", "")
    return Diagnosis("none", "workers are idle, and yet the job waits", "")


_STATES = ("running", "idle", "initializing", "throttled", "unhealthy")


def _is_sick(worker: Any) -> bool:
    return isinstance(worker, dict) and worker.get("status") == "UNHEALTHY"
