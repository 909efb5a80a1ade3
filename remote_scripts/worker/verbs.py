"""The verbs that a client sends over ssh for every job: submit, attach, cancel, stop."""

# pathlib is not imported here: see layout.py.
# ruff: noqa: PTH103, PTH110, PTH123

from __future__ import annotations

import errno
import json
import os
import sys

from worker.connection import DaemonFailed, ask, connect, connect_or_start
from worker.follow import Follower
from worker.layout import Layout, is_id, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs 3 ms
    from typing import Any

USAGE = {
    "submit": "submit WORKLOAD [--python P] [--idle-s N]",
    "attach": "attach WORKLOAD ID [--from SEQ]",
    "cancel": "cancel WORKLOAD ID",
    "stop": "stop WORKLOAD",
}
OPTIONS = ("--python", "--idle-s", "--from")


class WrongUsage(Exception):
    pass


def main(verb: str, argv: list[str]) -> int:
    try:
        words, options = split(argv)
        return {"submit": submit, "attach": attach, "cancel": cancel, "stop": stop}[verb](
            Layout.from_environment(), words, options
        )
    except (OSError, DaemonFailed) as error:
        return Follower(Layout.from_environment(), "", "").fail("failed", f"{verb}: {error}")
    except WrongUsage as error:
        sys.stderr.write(f"{error}\nusage: run.py {USAGE[verb]}\n")
        return 2


def split(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """Words and `--option value` pairs. (argparse costs 8 ms.) Raises WrongUsage."""
    words, options, rest = [], {}, iter(argv)
    for word in rest:
        if word.startswith("--"):
            value = next(rest, None)
            if word not in OPTIONS or value is None:
                raise WrongUsage(f"unknown option, or no value: {word}")
            options[word] = value
        else:
            words.append(word)
    return words, options


def submit(layout: Layout, words: list[str], options: dict[str, str]) -> int:
    """Reads one JSON object from stdin, runs it once per id, and follows it."""
    (workload,) = _take(words, 1)
    idle_s = _number(options, "--idle-s")
    text = sys.stdin.buffer.readline()
    try:
        request = json.loads(text)
    except ValueError as error:
        return Follower(layout, workload, "").fail("bad_input", f"not JSON: {error}")
    problem = _problem(request)
    if problem:
        return Follower(layout, workload, "").fail("bad_input", problem)
    follower = Follower(layout, workload, request["id"])
    if not _is_of(layout, workload, request["id"]):
        return follower.fail("bad_input", f"this id is another workload's: {request['id']}")
    if follower.replay():
        return follower.exit_code or 0
    try:
        _store(layout, workload, request, options.get("--python"))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return follower.fail("disk_full", f"the job could not be stored: {error}", "free space")
    message = {"op": "submit", "id": request["id"], "secrets": request.get("secrets") or {}}
    return follower.follow({**message, "idle_s": idle_s})


def attach(layout: Layout, words: list[str], options: dict[str, str]) -> int:
    """Replays what came after --from, then follows. Exit 3 when there is no such job."""
    workload, job_id = _take(words, 2)
    seq = _number(options, "--from")
    follower = Follower(layout, workload, job_id, int(seq or 0))
    known = is_id(job_id) and os.path.exists(layout.events(job_id))
    if not known or not _is_of(layout, workload, job_id):
        return follower.fail("not_found", f"no such job here: {job_id}")
    if follower.replay():
        return follower.exit_code or 0
    return follower.follow({"op": "attach", "id": job_id})


def cancel(layout: Layout, words: list[str], _options: dict[str, str]) -> int:
    """Prints {"cancelled": bool}: false when the job is over, or unknown."""
    workload, job_id = _take(words, 2)
    answer: dict[str, Any] = {}
    link = connect(layout, workload)
    if not link and is_id(job_id) and os.path.exists(f"{layout.pending(workload)}/{job_id}"):
        # It waits for the next daemon: without one the cancellation would be forgotten.
        link = connect_or_start(layout, workload)
    if link:
        with link:
            answer, _ = ask(link, {"op": "cancel", "id": job_id})
    sys.stdout.write(json.dumps({"cancelled": bool(answer.get("cancelled"))}) + "\n")
    return 0


def stop(layout: Layout, words: list[str], _options: dict[str, str]) -> int:
    """Ends the daemon and its engine now. Prints {"stopped": bool}: false when none ran."""
    (workload,) = _take(words, 1)
    answer: dict[str, Any] = {}
    link = connect(layout, workload)
    if link:
        with link:
            answer, _ = ask(link, {"op": "stop"})
            while link.recv(1):  # open until the daemon has gone
                pass
    sys.stdout.write(json.dumps({"stopped": bool(answer)}) + "\n")
    return 0


def _take(words: list[str], count: int) -> list[str]:
    if len(words) != count:
        raise WrongUsage(f"{count} words expected, got {len(words)}")
    if not is_id(words[0]):
        raise WrongUsage(f"not a workload: {words[0]!r}")
    return words


def _number(options: dict[str, str], name: str) -> float | None:
    try:
        return float(options[name]) if name in options else None
    except ValueError:
        raise WrongUsage(f"{name} takes a number, not {options[name]!r}") from None


def _problem(request: object) -> str:
    if not isinstance(request, dict):
        return "the request is not a JSON object"
    if not is_id(request.get("id")):
        return "`id` must be 1 to 64 letters, digits, - or _"
    if not isinstance(request.get("input"), dict):
        return "`input` must be an object"
    secrets = request.get("secrets") or {}
    if not isinstance(secrets, dict) or not all(isinstance(v, str) for v in secrets.values()):
        return "`secrets` must be an object of strings"
    return ""


def _is_of(layout: Layout, workload: str, job_id: str) -> bool:
    try:
        with open(layout.request(job_id), "rb") as file:
            return bool(json.load(file).get("workload") == workload)
    except FileNotFoundError:
        return True


def _store(layout: Layout, workload: str, request: dict[str, Any], python: str | None) -> None:
    """Writes request.json once, without secrets. Raises OSError."""
    path = layout.request(request["id"])
    if os.path.exists(path):
        return
    if os.environ.get("GPUCTL_SIM_DISK_FULL") == "1":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.makedirs(layout.job(request["id"]), exist_ok=True)
    record = {"id": request["id"], "workload": workload, "input": request["input"]}
    write_whole(path, json.dumps({**record, "python": python}).encode())
