"""The text that A1111 writes into every picture, made and read back."""

from __future__ import annotations

import re
from typing import Any

from sd import sim_catalogue
from sd.sim_paint import Order

Json = dict[str, Any]
_PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def infotext(order: Order, version: str) -> str:
    """Prompt, negative prompt and one line of parameters, as in the chunk `parameters`."""
    facts: Json = {
        "Steps": order.steps,
        "Sampler": order.sampler,
        "Schedule type": order.scheduler,
        "CFG scale": float(order.cfg),
        "Seed": order.seed,
        "Size": f"{order.width}x{order.height}",
        "Model hash": sim_catalogue.short_hash(order.model),
        "Model": order.model,
        "Denoising strength": order.strength if order.initial is not None else None,
        "Clip skip": order.clip_skip if order.clip_skip > 1 else None,
        "Lora hashes": _hashes(order),
        "Simulated": "True",
        "Version": version,
    }
    line = ", ".join(f"{name}: {value}" for name, value in facts.items() if value is not None)
    negative = f"\nNegative prompt: {order.negative}" if order.negative else ""
    return f"{order.prompt}{negative}\n{line}"


def parsed(text: str) -> Json:
    """What png-info answers as `parameters`: strings by name, `Prompt` among them."""
    if "\n" not in text and "Steps:" not in text:
        return {}
    *head, last = text.split("\n")
    if len(_PAIR.findall(last)) < 3:
        head, last = [*head, last], ""
    prompt, negative = [], []
    for line in head:
        if line.startswith("Negative prompt:"):
            negative.append(line.partition(":")[2].strip())
        elif negative:
            negative.append(line)
        else:
            prompt.append(line)
    found: Json = {"Prompt": "\n".join(prompt), "Negative prompt": "\n".join(negative)}
    for name, value in _PAIR.findall(last):
        found[name.strip()] = value.strip().strip('"')
    if match := re.fullmatch(r"(\d+)x(\d+)", found.pop("Size", "")):
        found["Size-1"], found["Size-2"] = match.groups()
    return found


def _hashes(order: Order) -> str | None:
    used = ", ".join(f"{name}: {sim_catalogue.short_hash(name)[:12]}" for name in order.loras)
    return f'"{used}"' if used else None
