"""Runs jobs one after the other in an engine that is bootstrapped, started and replaced on need."""

from __future__ import annotations

import errno
import threading
from traceback import format_exc

from worker.bootstrap import Bootstrap, BootstrapFailed
from worker.layout import Layout
from worker.spool import Job
from worker.supervisor import Engine, EngineDied

CANCEL_GRACE_S = 10.0
DIED_REMEDY = "submit it again: a fresh engine starts; if it was killed for memory, use less"


class EngineRunner:
    """Owns the engine. `run` is called by one thread; the rest may come from any."""

    def __init__(self, layout: Layout, workload: str) -> None:
        self._layout, self._workload = layout, workload
        self._engine: Engine | None = None
        self._bootstrap: Bootstrap | None = None
        self._closed = threading.Event()

    def run(self, job: Job) -> None:
        """Takes the job to its final event, whatever happens."""
        try:
            request = job.request()
            engine = self._ready(job, request["input"], request.get("python"))
            given = {"id": job.id, "input": request["input"]}
            job.mark_started()
            engine.run(given, job.directory, job.secrets, job.append)
        except BootstrapFailed as failure:
            code = "cancelled" if job.is_cancelled else "bootstrap_failed"
            job.append_error(code, str(failure), failure.remedy)
        except EngineDied as death:
            self._died(job, str(death))
        except Exception as error:  # noqa: BLE001 -- one job must not take the queue down with it
            self._drop()
            code = "disk_full" if getattr(error, "errno", 0) == errno.ENOSPC else "failed"
            job.append_error(
                code, f"the job cannot be run: {type(error).__name__}: {error}", "", format_exc()
            )

    def cancel(self, job: Job) -> None:
        """Asks the running job to end, and kills the engine when it does not within 10 s."""
        if self._bootstrap:
            self._bootstrap.kill()
        if self._engine:
            self._engine.cancel(job.id)

        def end() -> None:
            if not job.is_over:
                self.kill()

        timer = threading.Timer(CANCEL_GRACE_S, end)
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        if self._bootstrap:
            self._bootstrap.kill()
        if self._engine:
            self._engine.kill()

    def close(self) -> None:
        self._drop()
        self._closed.set()

    def wait_until_closed(self) -> None:
        self._closed.wait(30.0)

    def status(self) -> dict[str, object]:
        engine = self._engine if self._engine and self._engine.is_alive else None
        return {
            "engine_pid": engine.pid if engine else None,
            "engine_alive": bool(engine),
            "engine_python": engine.python if engine else None,
            "model_loaded": bool(engine and engine.has_finished_a_job),
        }

    def _ready(self, job: Job, given: dict[str, object], python: str | None) -> Engine:
        self._bootstrap = Bootstrap(self._layout, self._workload, job.append)
        try:
            wanted = python or self._bootstrap.python_for(given)
        finally:
            self._bootstrap = None
        if self._engine and (not self._engine.is_alive or self._engine.python != wanted):
            self._drop()
        if not self._engine:
            job.append("loading", {"stage": "engine", "message": "starting the engine"})
            self._engine = Engine(self._layout, self._workload, wanted)
        if job.is_cancelled:  # asked for while there was no engine to tell
            self._engine.cancel(job.id)
        return self._engine

    def _died(self, job: Job, message: str) -> None:
        self._drop()
        if job.is_cancelled:
            job.append_error("cancelled", "the job was cancelled; its engine was ended")
        else:
            job.append_error("worker_died", message, DIED_REMEDY)

    def _drop(self) -> None:
        engine, self._engine = self._engine, None
        if engine:
            engine.stop()
            engine.close()
