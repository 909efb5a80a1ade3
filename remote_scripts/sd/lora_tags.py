"""`<lora:name:weight>` in a prompt, read as the WebUI reads it (extra networks)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from sd.words import bad_input

_TAG = re.compile(r"<lora:([^>]*)>")
_UNFINISHED = re.compile(r"<lora:[^>]*$")


@dataclass(frozen=True)
class Tag:
    """One LoRA and its strength; `text` is the whole tag."""

    name: str
    weight: float
    text: str


def tags(prompt: str) -> list[Tag]:
    """Every LoRA of the prompt, in order. Raises Failure for one that the WebUI would choke on.

    After the name come the weights of the text encoder and the U-Net, or `te=`, `unet=`, `dyn=`.
    """
    found = []
    for match in _TAG.finditer(prompt):
        name, *rest = match[1].split(":")
        if not name.strip():
            raise bad_input(f"{match[0]} names no LoRA", "write <lora:name:0.8>")
        weights = [_number(part, match[0]) for part in rest]
        found.append(Tag(name, weights[0] if weights else 1.0, match[0]))
    if (open_ := _UNFINISHED.search(prompt)) is not None:
        raise bad_input(f"{open_[0][:60]!r} has no end", "write <lora:name:0.8>")
    return found


def _number(part: str, tag: str) -> float:
    text = part.partition("=")[2] if "=" in part else part
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise bad_input(f"the weight {part!r} of {tag} is no number", "write <lora:name:0.8>")
    return value
