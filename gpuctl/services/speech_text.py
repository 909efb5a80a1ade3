"""Where the text of a speech comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from gpuctl.errors import NotFound, UsageError


def read_text(text: str | None, file: Path | None, stdin: TextIO) -> str:
    """The text as given, from `stdin` when it is `-`, or from `file`; without outer blanks.

    Raises UsageError when there is none or two, NotFound when the file cannot be read.
    """
    if (text is None) == (file is None):
        raise UsageError(
            "give a text, or --file FILE", hint='gpuctl tts "Hello." --voice me.wav, or - for stdin'
        )
    if file is not None:
        try:
            # utf-8-sig: a mark that Windows programs put first would be spoken.
            found = file.expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise NotFound(f"the text file {file} cannot be read: {error}") from None
    else:
        found = stdin.read() if text == "-" else str(text)
    return found.replace("\r\n", "\n").strip()
