"""Asks several services at once, each with the same time; who does not answer is named."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from gpuctl.errors import ApiError, GpuctlError

T = TypeVar("T")


class Answers(Generic[T]):
    """`found` by question, and `failed`, the error of each that could not be asked."""

    def __init__(self) -> None:
        self.found: dict[str, T] = {}
        self.failed: dict[str, GpuctlError] = {}


def ask_all(questions: Mapping[str, Callable[[], T]], *, limit_s: float) -> Answers[T]:
    """Every question on a thread of its own; never waits longer than `limit_s` for all of them.

    A question that hangs is left behind: its thread cannot be ended, but holds up nothing.
    """
    queue: SimpleQueue[tuple[str, T | GpuctlError]] = SimpleQueue()

    def ask(name: str) -> None:
        try:
            queue.put((name, questions[name]()))
        except GpuctlError as error:
            queue.put((name, error))

    for name in questions:
        threading.Thread(target=ask, args=(name,), daemon=True).start()
    answers, deadline = Answers[T](), time.monotonic() + limit_s
    for _ in questions:
        try:
            name, answer = queue.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        if isinstance(answer, GpuctlError):
            answers.failed[name] = answer
        else:
            answers.found[name] = answer
    for name in questions.keys() - answers.found.keys() - answers.failed.keys():
        answers.failed[name] = ApiError(f"no answer within {limit_s:g} s")
    return answers
