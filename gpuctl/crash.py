"""What happens when something unexpected breaks: a redacted report, and where it lies."""

from __future__ import annotations

import errno
import os
import platform
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from gpuctl import __version__
from gpuctl.errors import GpuctlError

_PACKAGES = ("typer", "rich", "httpx", "paramiko", "anthropic", "tokenizers", "pillow")


_OF_THE_DISK = frozenset(
    {errno.EACCES, errno.EDQUOT, errno.EIO, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)


def disk_trouble(error: BaseException) -> GpuctlError | None:
    """The error for what this computer's own files refuse (full, read-only); None for the rest."""
    if not isinstance(error, OSError) or error.errno not in _OF_THE_DISK:
        return None
    place = f": {error.filename}" if error.filename else ""
    return GpuctlError(
        f"this computer's disk refuses{place} ({error.strerror})",
        hint="make room or mend the permissions and try again; "
        "`gpuctl status` shows what is running and billed",
    )


def report(
    error: BaseException, argv: Sequence[str], folder: Path, redact: Callable[[str], str]
) -> GpuctlError:
    """Writes crash-<time>.txt (0600) into `folder` and returns the error that names it."""
    try:
        described = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  an exception whose text raises must still be reported
        described = type(error).__name__
    text = redact(
        f"gpuctl {__version__} crashed\n\n{described}\n\n"
        f"argv: {list(argv)}\npython: {sys.version}\nplatform: {platform.platform()}\n"
        f"packages: {_versions()}\n\n{_trace(error)}"
    )
    path = folder / f"crash-{datetime.now(UTC):%Y%m%dT%H%M%S}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(text)
        hint = f"the report is {path}; it holds no secrets and is what a bug report needs"
    except OSError as problem:
        hint = f"the report could not be written ({problem.strerror}); use --debug to see it here"
    crash = GpuctlError(f"gpuctl broke: {described}", hint=hint)
    crash.details["report"] = str(path)
    return crash


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001  see above
        return "".join(traceback.format_tb(error.__traceback__))


def _versions() -> str:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} -")
    return ", ".join(found)
