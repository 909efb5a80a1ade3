"""Shows how the worker will cut a text, by the worker's very code: there is no second one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from gpuctl import resources
from gpuctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the text; `number` counts from 1, as --redo does."""

    number: int
    text: str
    ending: str
    tokens: int


def chunks(text: str, limit: int) -> Sequence[Chunk]:
    """As they will be spoken. Raises UsageError when markup alone is longer than `limit`."""
    worker = _worker()
    try:
        found = worker.chunks(text, limit)
    except worker.Unsplittable as error:
        raise UsageError(f"the markup {error}", hint="raise --max-chars") from error
    return [
        Chunk(number, chunk.text.strip(), chunk.ending, worker.tokens_about(chunk.text))
        for number, chunk in enumerate(found, 1)
    ]


@cache
def _worker() -> ModuleType:
    """remote_scripts/tts/chunking.py, loaded by its path: it needs nothing of the worker's."""
    path = resources.bundled("remote_scripts") / "tts" / "chunking.py"
    name = "gpuctl_shipped_chunking"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # NamedTuple looks its module up there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
