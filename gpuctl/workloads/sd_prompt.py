"""What stands in a prompt for Automatic1111: `<lora:name:weight>`, emphasis, BREAK. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from gpuctl.errors import UsageError

# The WebUI's page goes this far; beyond it pictures fall apart.
MAX_WEIGHT = 10.0
_TAG = re.compile(r"<(\w+):([^>]+)>")
_SPACES = re.compile(r"\s+")
_WEIGHT = re.compile(r":\s*[+-]?[\d.]+\s*\)")
_NAME = re.compile(r"[^<>:]+")


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA by the name of its file on the worker, and its strength."""

    name: str
    weight: float = 1.0

    @property
    def tag(self) -> str:
        return f"<lora:{self.name}:{self.weight:g}>"


def parse_lora(text: str) -> Lora:
    """NAME[:WEIGHT], or a whole tag. Raises UsageError."""
    inner = text.strip()
    if inner.startswith("<lora:") and inner.endswith(">"):
        inner = inner[len("<lora:") : -1]
    name, separator, weight = inner.partition(":")
    if not _NAME.fullmatch(name.strip()) or not name.strip():
        raise UsageError(f"--lora {text!r} names no LoRA", hint="--lora lcm:0.8")
    return Lora(name.strip(), _weight(weight, text) if separator else 1.0)


def loras(prompt: str) -> tuple[Lora, ...]:
    """The LoRAs that a prompt names, in order. Raises UsageError for a weight that is none."""
    return tuple(
        parse_lora(match[0]) for match in _TAG.finditer(prompt) if match[1].lower() == "lora"
    )


def with_loras(prompt: str, more: tuple[Lora, ...]) -> str:
    """The prompt with the tags of `more` behind it. Raises UsageError for one named twice."""
    named = [lora.name for lora in (*loras(prompt), *more)]
    twice = [name for name in named if named.count(name) > 1]
    if twice:
        raise UsageError(
            f"the LoRA '{twice[0]}' is named twice", hint="its weights would add up: name it once"
        )
    parts = [prompt.strip(), *(lora.tag for lora in more)]
    return ", ".join(part for part in parts if part)


def spoken(prompt: str) -> str:
    """The prompt's words: without tags, brackets and weights, as the text encoder gets them."""
    text = _WEIGHT.sub(")", without_tags(prompt))
    text = text.replace("\\(", "\0").replace("\\)", "\1").replace("\\[", "\2").replace("\\]", "\3")
    text = re.sub(r"[()\[\]]", "", text)
    return text.translate({0: "(", 1: ")", 2: "[", 3: "]"})


def without_tags(prompt: str) -> str:
    """The prompt without `<lora:…>` and the like, and without the commas that stay alone."""
    text = _TAG.sub("", prompt)
    return re.sub(r"(?:\s*,)+\s*$", "", re.sub(r",(?:\s*,)+", ",", text)).strip()


def segments(prompt: str) -> list[str]:
    """The parts between BREAKs, each of which begins a chunk of its own."""
    return [part for part in re.split(r"\s*\bBREAK\b\s*", spoken(prompt))]


def slug(prompt: str, most: int = 6) -> str:
    """The first words, at most eight letters each on average, fit for a file name."""
    words = re.findall(r"[^\W_]+", _SPACES.sub(" ", spoken(prompt)).lower())
    return "-".join(words[:most])[: 8 * most].rstrip("-") or "picture"


def _weight(text: str, whole: str) -> float:
    # A second number is the text encoder's and the U-Net's apart; the tag itself keeps both.
    first = text.partition(":")[0]
    value = first.partition("=")[2] if "=" in first else first
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
        raise UsageError(
            f"the weight '{first}' of {whole!r} is not a number from -10 to 10",
            hint="--lora lcm:0.8, or <lora:lcm:0.8> in the prompt",
        )
    return weight
