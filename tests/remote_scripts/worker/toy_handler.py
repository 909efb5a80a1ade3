"""A workload for tests: does what its input says, and leaves a line each time it is run."""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from worker import report


def handler(job):
    given = job["input"]
    with (report.workspace() / "ran.txt").open("a") as log:
        log.write(f"{job['id']} {os.getpid()}\n")
    act = given.get("do")
    if act:
        return ACTS[act](given)
    steps = given.get("steps", 2)
    for step in range(steps):
        report.progress("step", step + 1, steps)
    with report.write_artifact("said.txt", "text/plain", seed=given.get("seed", 0)) as part:
        part.write_bytes(str(given.get("prompt", "")).encode("utf-8", "surrogatepass"))
    return {"engine_pid": os.getpid()}


def wait_for_file(given):
    """Works until the file `until` appears; looks for a cancellation while it waits."""
    report.progress("waiting", 0, 1)
    while not (report.workspace() / given["until"]).exists():
        report.check_cancelled()
        time.sleep(0.002)
    return {"engine_pid": os.getpid()}


def fill(given):
    """Fills the disk to the last byte, then goes on reporting."""
    report.progress("filling", 0, 1)
    with suppress(OSError), (report.workspace() / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x")
    for step in range(50):
        report.progress("full", step, 50)
    with report.write_artifact("said.txt", "text/plain") as part:
        part.write_bytes(b"x" * 10_000)


def hang(given):
    report.progress("hanging", 0, 1)
    threading.Event().wait()


def die(given):
    sys.stderr.write("last words\n")
    sys.stderr.flush()
    report.progress("dying", 0, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def chatter(given):
    sys.stdout.write('{"v":1,"seq":1,"event":"done"}\n')
    os.system("echo from a child")
    return {}


def tokens(given):
    token = os.environ.get("HF_TOKEN", "")
    sys.stdout.write(f"the token is {token}\n")
    report.log(f"the token is {token}")
    return {"length": len(token), "home": os.environ["HF_HOME"]}


def refuse(given):
    raise report.Failure("gated", "the licence was not accepted", "accept it on the model's page")


def blow_up(given):
    raise ZeroDivisionError("it is zero")


def out_of_memory(given):
    raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")


def full_disk(given):
    with report.write_artifact("big.bin", "application/octet-stream"):
        Path("/dev/full").write_bytes(b"x")


def generate(given):
    yield {"stage": "half", "done": 1, "total": 2}
    yield {"stage": "half", "done": 2, "total": 2}
    return {"way": "generator"}


ACTS = {
    act.__name__: act
    for act in (
        wait_for_file,
        fill,
        hang,
        die,
        chatter,
        tokens,
        refuse,
        blow_up,
        out_of_memory,
        full_disk,
        generate,
    )
}
