"""The only place that joins an argv into a command line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def join(argv: Sequence[str]) -> str:
    """One line that a POSIX shell splits into exactly `argv` again."""
    return shlex.join(argv)


def with_workspace(workspace: str | None, script: str, *args: str) -> list[str]:
    """The argv that runs the constant `script` under sh with GPUCTL_WORKSPACE resolved first.

    Configuration wins, then the machine's own GPUCTL_WORKSPACE, then /workspace where it can be
    written, else ~/.gpuctl. `workspace` and `args` arrive as "$1", "$2", … and are never parsed.
    """
    return ["sh", "-c", _RESOLVE + script, "sh", workspace or "", *args]


# `exec 3>` would be noisier: mkdir and -w answer the one question, whether jobs can live there.
_RESOLVE = """\
W=$1; shift
[ -n "$W" ] || W=${GPUCTL_WORKSPACE:-/workspace}
case $W in "~") W=$HOME;; "~/"*) W=$HOME/${W#"~/"};; esac
if ! mkdir -p -- "$W" 2>/dev/null || ! [ -w "$W" ]; then
  W=$HOME/.gpuctl; mkdir -p -- "$W" || exit 73
fi
GPUCTL_WORKSPACE=$W; export GPUCTL_WORKSPACE
"""
