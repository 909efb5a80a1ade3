"""Reads a text given as an argument, from a file or from stdin."""

from __future__ import annotations

import sys
from pathlib import Path

from gpuctl.errors import NotFound, UsageError


def prompt_text(argument: str | None, file: str | None) -> str:
    """The one text that was given. Raises UsageError for none or two, NotFound for a lost file."""
    if argument is not None and file is not None:
        raise UsageError("the prompt was given twice", hint="use PROMPT or --prompt-file")
    if argument is None and file is None:
        raise UsageError(
            "there is no prompt", hint='gpuctl flux "a lighthouse at dusk", or --prompt-file FILE'
        )
    if argument == "-" or file == "-":
        return sys.stdin.read().strip()
    if file is None:
        return argument or ""
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from error
