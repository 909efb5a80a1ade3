"""A crontab, a systemctl and a launchctl that remember what they are told, in a folder."""

from __future__ import annotations

from pathlib import Path

_CRONTAB = """#!/bin/sh
[ "$1" = - ] && exec cat > "{folder}/crontab.txt"
[ -f "{folder}/crontab.txt" ] || { echo "no crontab for me" >&2; exit 1; }
exec cat "{folder}/crontab.txt"
"""
_SYSTEMCTL = """#!/bin/sh
shift
case $1 in
  show-environment) exit {answer} ;;
  enable) shift 2; : > "{folder}/enabled-$1" ;;
  disable) shift 2; rm -f "{folder}/enabled-$1" ;;
  is-active) [ -f "{folder}/enabled-$2" ] && echo active || { echo inactive; exit 3; } ;;
esac
"""
_LAUNCHCTL = """#!/bin/sh
case $1 in
  load) : > "{folder}/loaded-$(basename "$3" .plist)" ;;
  unload) [ "$2" = -w ] && shift; rm -f "{folder}/loaded-$(basename "$2" .plist)" ;;
  list) [ -f "{folder}/loaded-$2" ] ;;
esac
"""


def fake_timers(folder: Path, *, has_systemd: bool = False) -> Path:
    """A folder for the front of the PATH. Without `has_systemd` there is no systemd of the user."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = {"crontab": _CRONTAB, "systemctl": _SYSTEMCTL, "launchctl": _LAUNCHCTL}
    for name, script in programs.items():
        text = script.replace("{folder}", str(folder))
        (folder / name).write_text(text.replace("{answer}", "0" if has_systemd else "1"))
        (folder / name).chmod(0o755)
    return folder
