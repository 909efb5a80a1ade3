"""Entry: answers --version and --help before anything else is imported."""

from __future__ import annotations

import sys

_HELP: tuple[list[str], ...] = (["--help"], ["-h"], ["help"], [])


def main() -> int:
    """The console script. Returns the exit code."""
    argv = sys.argv[1:]
    if argv in (["--version"], ["-V"]):
        from gpuctl import __version__  # noqa: PLC0415  a second of SDKs would be in the way

        sys.stdout.write(f"gpuctl {__version__}\n")
        return 0
    if argv in _HELP and not _is_completing():
        from gpuctl.help_text import ROOT  # noqa: PLC0415  likewise

        try:
            sys.stdout.write(ROOT)
            sys.stdout.flush()
        except BrokenPipeError:
            sys.stderr.close()
        return 0
    from gpuctl.cli import main as run  # noqa: PLC0415  likewise

    return run(argv)


def _is_completing() -> bool:
    import os  # noqa: PLC0415  already loaded by the interpreter

    return "_GPUCTL_COMPLETE" in os.environ


if __name__ == "__main__":
    sys.exit(main())
