"""The user data of an instance: its timer on the first line, then a look at what the image has."""

from __future__ import annotations

import re

from gpuctl.errors import UsageError
from gpuctl.resources import bundled

DEFAULT_MINUTES = 90
DEFAULT_USER = "ubuntu"


def user_data(minutes: int, user: str) -> str:
    """remote_scripts/ec2/user_data.sh with the timer at `minutes` and docker opened to `user`.

    Raises UsageError for what is no user name.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user):
        raise UsageError(f"ec2.user is '{user}', which is no user name", hint="ec2.user: ubuntu")
    text = (bundled("remote_scripts") / "ec2" / "user_data.sh").read_text(encoding="utf-8")
    interpreter, timer, rest = text.split("\n", 2)
    timer = _put(timer, f"+{DEFAULT_MINUTES} ", f"+{minutes} ")
    timer = _put(timer, f"sleep {DEFAULT_MINUTES * 60};", f"sleep {minutes * 60};")
    rest = _put(rest, f"minutes={DEFAULT_MINUTES}\n", f"minutes={minutes}\n")
    rest = _put(rest, f'user="{DEFAULT_USER}"\n', f'user="{user}"\n')
    return "\n".join((interpreter, timer, rest))


def _put(text: str, old: str, new: str) -> str:
    """A script that no longer says what is replaced would run with another timer than told."""
    if text.count(old) != 1:
        raise ValueError(f"user_data.sh does not say {old!r} once")
    return text.replace(old, new)
