"""The order that the receipt of a result describes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gpuctl.errors import UsageError
from gpuctl.models import Json
from gpuctl.services import destinations, receipts
from gpuctl.services.generating import Order
from gpuctl.services.inputs import FOLDER
from gpuctl.workloads import WORKLOADS, whisper

if TYPE_CHECKING:
    from gpuctl.config import Settings


Find = Callable[[str], Path | None]


def order(file: Path, out: str | None, settings: Settings, find: Find) -> Order:
    """What `gpuctl replay` sends. `find` knows files that are kept here by their content (voices).

    Raises NotFound, ValidationFailed, UsageError.
    """
    receipt = receipts.read(file)
    workload = str(receipt.get("workload"))
    if workload not in WORKLOADS:
        raise UsageError(
            f"{file} was made by '{workload}', which this gpuctl does not know",
            hint="upgrade gpuctl to make it again",
        )
    if workload == whisper.NAME:
        source = (receipt.get("details") or {}).get("source")
        raise UsageError(
            "a transcript is made again from its recording", hint=f"gpuctl transcribe {source}"
        )
    prompts = receipt["prompts"]
    told = {
        "prompt": prompts.get("user"),
        "enhanced": prompts.get("enhanced"),
        "clip_tokens": prompts.get("clip_tokens"),
        "receipt": receipt.get("details") or {},
    }
    formats = tuple(WORKLOADS[workload].FORMATS)
    folder = settings.path(f"{workload}.output_dir")
    destination = destinations.plan(out, folder, formats)
    job_input = receipts.job_input(receipt)
    inputs = _kept(job_input, find) | _inputs(told["receipt"])
    return Order(workload, job_input, destination, inputs, told)


def _kept(job_input: Json, find: Find) -> dict[str, Path]:
    """Files that the order names by content, and that need no path in a receipt to be found."""
    prefix = f"{FOLDER}/"
    names = [
        value for value in job_input.values() if isinstance(value, str) and value.startswith(prefix)
    ]
    return {name: path for name in names if (path := find(name)) is not None}


def _inputs(details: Json) -> dict[str, Path]:
    """The local files that the job was given, where they are still what they were. Another machine
    needs them; the one that made the result may have kept them."""
    from gpuctl.services.inputs import content_name  # noqa: PLC0415  only with files

    named = details.get("inputs") or {}
    paths = {str(name): Path(path) for name, path in named.items() if Path(path).is_file()}
    return {name: path for name, path in paths.items() if content_name(path) == name}
