"""Errors of torch, diffusers and the hub, renamed to what happened and what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from flux.engines import PINS
from flux.request import Model, Request
from worker.report import FULL_DISK_ERRNOS, FULL_DISK_REMEDY, Failure

_MISSING = (
    "LocalEntryNotFoundError",
    "RepositoryNotFoundError",
    "RevisionNotFoundError",
    "EntryNotFoundError",
    "HFValidationError",
    "OfflineModeIsEnabled",
)
_REFUSED_STATUS = (401, 403)


@contextmanager
def named(request: Request) -> Iterator[None]:
    """Raises Failure instead of a known error; everything else passes through unchanged."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        failure = classify(error, request)
        if failure is None:
            raise
        raise failure from error


def classify(error: BaseException, request: Request) -> Failure | None:
    """The failure behind `error` or behind what caused it; None when it is not a known one."""
    chain = list(_causes(error))
    if any(_is_full_disk(link) for link in chain):
        return Failure("disk_full", f"the disk is full: {first_line(error)}", FULL_DISK_REMEDY)
    if any(_is_out_of_memory(link) for link in chain):
        return _out_of_memory(request)
    # By name before status: the hub answers 401 for a repository that does not exist, too.
    if any("GatedRepoError" in _names(link) for link in chain):
        return gated(request.model)
    if any(_names(link) & set(_MISSING) for link in chain):
        return _missing(request.model, error)
    if any(_is_refused(link) for link in chain):
        return gated(request.model)
    return _package_missing(chain)


def _package_missing(chain: list[BaseException]) -> Failure | None:
    for name, pin in PINS.items():
        if any(isinstance(link, ImportError) and name in str(link) for link in chain):
            remedy = f"on the machine: pip install {pin}"
            return Failure("unsupported", f"{name} is not installed", remedy)
    if any(isinstance(link, ImportError) and link.name == "torch" for link in chain):
        remedy = "use an image that brings torch, or name a Python that has it in remote.python"
        return Failure("unsupported", "torch is not installed", remedy)
    return None


def gated(model: Model) -> Failure:
    """The model exists, and its owner wants a licence accepted first."""
    licence = model.licence or "its licence"
    url = model.licence_url or f"https://huggingface.co/{model.repo}"
    return Failure(
        "gated",
        f"{model.title} is gated: {licence} has to be accepted once, by the account of HF_TOKEN",
        f"accept it at {url}, then set HF_TOKEN to a token of that account",
    )


def first_line(error: BaseException) -> str:
    """The error's first line, short enough for a message."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= 200 else line[:199].rstrip() + "…"


def _missing(model: Model, error: BaseException) -> Failure:
    revision = f" at revision {model.revision}" if model.revision else ""
    return Failure(
        "model_missing",
        f"the model {model.repo}{revision} is not here and cannot be fetched: {first_line(error)}",
        "check the name and the machine's network; a private model needs HF_TOKEN",
    )


def _out_of_memory(request: Request) -> Failure:
    return Failure(
        "oom",
        f"the GPU ran out of memory at {request.width}×{request.height} with {request.model.title}",
        "ask for fewer pixels, for --engine nf4 or --engine offload, or rent a larger GPU",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _names(error: BaseException) -> set[str]:
    """Class names, so that neither torch nor the hub's client is imported to compare."""
    return {kind.__name__ for kind in type(error).__mro__}


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in FULL_DISK_ERRNOS:
        return True
    # safetensors and the hub's downloader (both Rust) pass on the text alone.
    return "No space left on device" in str(error) or f"os error {errno.ENOSPC}" in str(error)


def _is_out_of_memory(error: BaseException) -> bool:
    return "OutOfMemoryError" in _names(error) or "CUDA out of memory" in str(error)


def _is_refused(error: BaseException) -> bool:
    return getattr(getattr(error, "response", None), "status_code", None) in _REFUSED_STATUS
