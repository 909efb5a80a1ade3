"""The worker's refusals as the errors that they are here: exit 2 and 3 instead of 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gpuctl.errors import GpuctlError, JobFailed, NotFound, UsageError

_MEANT: dict[str, type[GpuctlError]] = {"bad_input": UsageError, "model_missing": NotFound}


@contextmanager
def named() -> Iterator[None]:
    """A LoRA or model that is not there is `not found`, a wrong key is `usage`."""
    try:
        yield
    except JobFailed as failure:
        kind = _MEANT.get(failure.worker_code)
        if kind is None:
            raise
        raise kind(failure.message, hint=failure.hint, details=failure.details) from failure
