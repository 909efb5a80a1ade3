"""Reads a Dockerfile as far as gpuctl needs it: instructions, arguments, what asks for BuildKit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?:(:[-+])([^}]*))?\})")
_ARGUMENT = re.compile(r"\s*(\w+)(?:=(.*))?", re.DOTALL)
# What only BuildKit understands; Docker's older builder stops at it (feasibility.md §3).
_BUILDKIT = (
    ("RUN", re.compile(r"--(mount|network|security)\b"), "RUN --{}"),
    ("RUN", re.compile(r"^<<-?\w+"), "RUN <<EOF"),
    ("COPY", re.compile(r"--(link|chmod|parents|exclude)\b"), "COPY --{}"),
    ("COPY", re.compile(r"<<-?\w+"), "COPY <<EOF"),
    ("ADD", re.compile(r"--(link|chmod|checksum|keep-git-dir)\b"), "ADD --{}"),
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its word in capitals and everything behind it on one line."""

    word: str
    text: str

    def __str__(self) -> str:
        return f"{self.word} {self.text}"


def instructions(content: str) -> list[Instruction]:
    """Comments and blank lines are left out, continued lines joined, here-documents skipped."""
    return [
        Instruction(word.upper(), text.strip())
        for word, _, text in (line.partition(" ") for line in _logical_lines(content))
    ]


def _logical_lines(content: str) -> Iterator[str]:
    pending, ending = "", ""
    for raw in content.splitlines():
        line = raw.strip()
        if ending:
            ending = "" if line == ending else ending
            continue
        if not line or line.startswith("#"):
            continue
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1].rstrip() + " "
            continue
        yield pending
        opened = re.search(r"<<-?[\"']?(\w+)", pending)
        ending = opened[1] if opened and re.match(r"(?i)(run|copy|add)\b", pending) else ""
        pending = ""
    if pending.strip():
        yield pending.strip()


def arguments(content: str) -> dict[str, str | None]:
    """Every ARG of the file, wherever it stands, with its first default (None: it has none)."""
    found: dict[str, str | None] = {}
    for instruction in instructions(content):
        if instruction.word == "ARG":
            for name, default in _assignments(instruction.text):
                if found.get(name) is None:
                    found[name] = default
    return found


def _assignments(text: str) -> list[tuple[str, str | None]]:
    match = [_ARGUMENT.fullmatch(word) for word in split(text)]
    return [(each[1], each[2]) for each in match if each]


def split(text: str) -> list[str]:
    """Words as a shell would split them, quotes removed; `$` is left alone."""
    words: list[str] = []
    word, quote, is_open = "", "", False
    position = 0
    while position < len(text):
        letter = text[position]
        if letter == "\\" and position + 1 < len(text) and quote != "'":
            following = text[position + 1]
            word += following if following in "\\\"' " else letter + following
            position, is_open = position + 2, True
            continue
        if quote:
            quote, word = ("", word) if letter == quote else (quote, word + letter)
        elif letter in "\"'":
            quote, is_open = letter, True
        elif letter.isspace():
            words, word, is_open = ([*words, word] if is_open else words), "", False
        else:
            word, is_open = word + letter, True
        position += 1
    return [*words, word] if is_open else words


def expanded(text: str, values: Mapping[str, str]) -> str:
    """`$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+other}` replaced; unknown ones by ''."""

    def value(match: re.Match[str]) -> str:
        if match[0] == r"\$":
            return "$"
        found = values.get(match[1] or match[2], "")
        if match[3] == ":-":
            return found or match[4]
        if match[3] == ":+":
            return match[4] if found else ""
        return found

    return _VARIABLE.sub(value, text)


def needs_buildkit(content: str) -> str | None:
    """The first thing in the file that only BuildKit can do, as one would name it; else None."""
    for instruction in instructions(content):
        for word, pattern, name in _BUILDKIT:
            if instruction.word == word and (found := pattern.search(instruction.text)):
                return name.format(*found.groups())
    return None


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next: what it is built on, its own name, its instructions."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]


def stages(content: str) -> tuple[list[Instruction], list[Stage]]:
    """What stands before the first FROM (global arguments), and the stages."""
    before: list[Instruction] = []
    found: list[Stage] = []
    for each in instructions(content):
        if each.word == "FROM":
            words = [word for word in split(each.text) if not word.startswith("--")]
            is_named = len(words) == 3 and words[1].lower() == "as"
            found.append(Stage(words[0] if words else "", words[2] if is_named else "", ()))
        elif found:
            found[-1] = replace(found[-1], instructions=(*found[-1].instructions, each))
        else:
            before.append(each)
    return before, found


def last_image(content: str) -> Stage:
    """The last stage, with what it inherits from the stages that it is built on."""
    _, every = stages(content)
    if not every:
        return Stage("scratch", "", ())
    image = every[-1]
    for stage in reversed(every[:-1]):
        if stage.name and stage.name == image.base:
            whole = (*stage.instructions, *image.instructions)
            image = Stage(stage.base, image.name, whole)
    return image
