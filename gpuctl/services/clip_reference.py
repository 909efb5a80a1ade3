"""Counts with transformers' own CLIPTokenizer, to check ours against it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from gpuctl.errors import MissingDependency
from gpuctl.services import clip_tokens


def encode(text: str, folder: Path) -> list[int]:
    """What transformers makes of `text`; its vocabulary files are written to `folder` (offline).

    Raises MissingDependency when transformers is not installed.
    """
    # Otherwise it says at each start that there is no PyTorch, which nobody needs here.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    try:
        from transformers import CLIPTokenizer  # noqa: PLC0415  0.7 s, only for the comparison
    except ImportError as error:
        raise MissingDependency(
            f"transformers cannot be imported: {error}", hint="install it, or drop --reference"
        ) from None

    write_vocabulary(folder)
    # Not CLIPTokenizer(vocab_file=…): 5.x accepts that and makes a vocabulary of three entries.
    tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    return [int(number) for number in tokenizer(text)["input_ids"]]


def write_vocabulary(folder: Path) -> None:
    """vocab.json and merges.txt, from the bundled table; files that are there are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    names = clip_tokens.symbols()
    vocabulary = {name: number for number, name in enumerate([*names, *clip_tokens.MARKERS])}
    lines = [f"{names[left]} {names[right]}" for left, right in clip_tokens.merges()]
    texts = {
        "vocab.json": json.dumps(vocabulary),
        "merges.txt": "\n".join(["#version: 0.2", *lines]) + "\n",
    }
    for name, text in texts.items():
        if not (folder / name).exists():
            part = folder / f"{name}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(folder / name)
