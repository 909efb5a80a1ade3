"""Entry: answers --version and --help before anything else is imported."""

from __future__ import annotations

import sys

_HELP: tuple[list[str], ...] = (["--help"], ["-h"], ["help"], [])
_COLLECT_EVERY = 50_000


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
    return _run(argv)


def _run(argv: list[str]) -> int:
    import gc  # noqa: PLC0415  likewise

    # Hardly anything that a start makes is garbage: looking for it, and picking everything apart
    # at the end, takes a tenth of a command's time.
    gc.set_threshold(_COLLECT_EVERY)
    from gpuctl.cli import main as run  # noqa: PLC0415  likewise

    try:
        code = run(argv)
    finally:
        gc.freeze()
    _leave_stragglers(code)
    return code


def _leave_stragglers(code: int) -> None:
    """Ends the process at once while a thread in the background still waits for some service.

    Python 3.11 takes the interpreter apart under such threads, and those in C code (TLS, imports)
    crash: one run in ten of `gpuctl doctor` ended by signal 11 instead of its exit code.
    """
    import threading  # noqa: PLC0415  already loaded by the command

    main_thread = threading.main_thread()
    if any(thread.daemon for thread in threading.enumerate() if thread is not main_thread):
        import os  # noqa: PLC0415  already loaded by the interpreter

        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _is_completing() -> bool:
    import os  # noqa: PLC0415  already loaded by the interpreter

    return "_GPUCTL_COMPLETE" in os.environ


if __name__ == "__main__":
    sys.exit(main())
