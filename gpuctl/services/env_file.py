"""Changes names in a `.env` file and leaves every other byte of it as it was."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from gpuctl.errors import ConfigError, UsageError

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,~-]*")
# The value as dotenv reads it, then the comment behind it.
_VALUE = re.compile(
    r"""[^=]*=[ \t]*?(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^'"\s]\S*(?:[ \t]+[^#\s]\S*)*|)"""
    r"(?P<comment>[ \t]+#[^\r\n]*)?$",
    re.DOTALL,
)


def merged(text: str, values: Mapping[str, str]) -> str:
    """`text` with `values` set: in place where a name stands already (the last one wins when it
    stands twice, so all are set), at the end where it does not.

    Raises UsageError for a value that does not fit on one line.
    """
    from dotenv.parser import parse_stream  # noqa: PLC0415  only for the commands that write

    left = dict(values)
    parts = []
    for binding in parse_stream(StringIO(text)):
        original = binding.original.string
        if binding.key in values and not binding.error:
            original = _replaced(original, str(binding.key), values[str(binding.key)])
            left.pop(str(binding.key), None)
        parts.append(original)
    whole = "".join(parts)
    if left and whole and not whole.endswith("\n"):
        whole += "\n"
    return whole + "".join(f"{name}={quoted(value)}\n" for name, value in left.items())


def write(path: Path, values: Mapping[str, str], *, backup: bool = False) -> Path | None:
    """Sets `values` in the file at `path`, all or nothing; it is 0600 from its first byte on.

    Gives back the copy of the file before, when `backup` asked for one (0600 as well). A symbolic
    link stays one. Raises ConfigError when the file cannot be read or written, UsageError.
    """
    target = path.resolve()
    try:
        before = target.read_bytes().decode("utf-8") if target.exists() else ""
        after = merged(before, values)
        kept = None
        if backup and before:
            kept = target.with_name(target.name + ".bak")
            _replace(kept, before)
        _replace(target, after)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file", hint="move it away") from error
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    return kept


def quoted(value: str) -> str:
    """A value as `.env` and the shell read it alike. Raises UsageError for more than one line."""
    if "\n" in value or "\r" in value or "\0" in value:
        raise UsageError("a value for .env must be one line")
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _replaced(original: str, name: str, value: str) -> str:
    """One assignment anew: what stood before it, `export`, its comment and line end are kept."""
    body = original.strip("\r\n\t ")
    head, tail = original[: original.index(body)], original[original.index(body) + len(body) :]
    export = "export " if body.startswith("export") else ""
    match = _VALUE.match(body)
    comment = match["comment"] if match else None
    return f"{head}{export}{name}={quoted(value)}{comment or ''}{tail}"


def _replace(target: Path, text: str) -> None:
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(text.encode("utf-8"))
            out.flush()
            os.fsync(out.fileno())
        temporary.chmod(0o600)
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
