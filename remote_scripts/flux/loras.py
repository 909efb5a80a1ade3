"""LoRAs on a resident pipeline: only what differs from the last job is loaded or dropped."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from flux.failures import classify, first_line
from flux.request import Lora, Request
from worker import report
from worker.fields import bad_input
from worker.report import Failure


def apply(pipe: Any, loaded: set[str], request: Request) -> None:
    """Makes `pipe` carry exactly the request's LoRAs; `loaded` is what it carries, kept up to date.

    Raises Failure (bad_input) that names the LoRA at fault; the pipeline is then without any.
    """
    wanted = {_adapter(lora): lora for lora in request.loras}
    if not wanted:
        _drop_all(pipe, loaded)
        return
    if stale := sorted(loaded - set(wanted)):
        pipe.delete_adapters(stale)
        loaded.difference_update(stale)
    for adapter, lora in wanted.items():
        if adapter not in loaded:
            report.loading("lora", lora.source)
            _load(pipe, loaded, adapter, lora, request)
    pipe.set_adapters(list(wanted), [lora.weight for lora in wanted.values()])


def _load(pipe: Any, loaded: set[str], adapter: str, lora: Lora, request: Request) -> None:
    if not hasattr(pipe, "load_lora_weights"):
        raise bad_input(f"{request.model.title} takes no LoRA ({lora.source})", "leave --lora out")
    source, weight_name = _located(lora)
    options = {"weight_name": weight_name} if weight_name else {}
    try:
        pipe.load_lora_weights(source, adapter_name=adapter, **options)
        if adapter not in _present(pipe):
            raise ValueError("it has no layer that fits this model")
    except Exception as error:
        _drop_all(pipe, loaded | {adapter})
        loaded.clear()
        raise _named(error, lora, request) from error
    loaded.add(adapter)


def _named(error: Exception, lora: Lora, request: Request) -> Failure:
    known = classify(error, request)
    if known and known.code in ("disk_full", "oom"):
        return known
    return bad_input(
        f"the LoRA {lora.source} cannot be used: {first_line(error)}",
        f"check that it exists and was made for {request.model.title}",
    )


def _located(lora: Lora) -> tuple[str, str | None]:
    """Folder and file name for a LoRA in the workspace, else the hub's repository as it stands."""
    if "://" in lora.source:
        raise bad_input(f"the LoRA {lora.source} is a URL", "name a repository or send the file")
    try:
        path = report.inside_workspace(lora.source)
    except Failure:
        raise bad_input(
            f"the LoRA {lora.source} lies outside the workspace",
            "name a repository or send the file",
        ) from None
    if path.is_file():
        return str(path.parent), path.name
    if path.is_dir():
        return str(path), lora.weight_name
    if lora.source.count("/") != 1 or Path(lora.source).suffix == ".safetensors":
        raise bad_input(f"no LoRA at {lora.source}", "name a repository or send the file")
    return lora.source, lora.weight_name


def _drop_all(pipe: Any, loaded: set[str]) -> None:
    if loaded:
        pipe.unload_lora_weights()
        loaded.clear()


def _present(pipe: Any) -> set[str]:
    return {name for names in pipe.get_list_adapters().values() for name in names}


def _adapter(lora: Lora) -> str:
    """A name that peft accepts (no dots) and that is the same for the same file."""
    digest = hashlib.sha256(f"{lora.source}|{lora.weight_name}".encode()).hexdigest()
    return f"lora_{digest[:16]}"
