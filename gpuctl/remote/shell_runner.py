"""The Runner over any Shell: the worker's command line, its events, and the files around a job."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from gpuctl.errors import ConnectionFailed, JobFailed
from gpuctl.models import Artifact, Event, Job, Json, Report, Secret
from gpuctl.remote import scripts
from gpuctl.remote.base import LOST, Completed, OnBytes, Process, Shell
from gpuctl.remote.quoting import with_workspace

# First line: the workspace; then one size per path, -1 for what is not there.
_SIZES = """\
echo "$W"
for f in "$@"; do [ -f "$W/$f" ] && echo $(($(wc -c < "$W/$f"))) || echo -1; done
"""


class ShellRunner:
    """Submits, follows and fetches over one Shell; sends the scripts when they are missing."""

    def __init__(
        self,
        shell: Shell,
        *,
        workspace: str | None,
        python: str,
        idle_s: int,
        secrets: Mapping[str, Secret],
        report: Report,
    ) -> None:
        self._shell = shell
        self._workspace = workspace
        self._python = python
        self._idle_s = idle_s
        self._secrets = secrets
        self._report = report

    def submit(self, job: Job) -> Iterator[Event]:
        """Raises ConnectionFailed (the job goes on), JobFailed when the worker says nothing."""
        self._put_inputs(job)
        secrets = {name: secret.reveal() for name, secret in self._secrets.items()}
        request = {"id": job.id, "input": job.input, "secrets": secrets}
        # Without --python the worker makes a venv of its own.
        python = [] if self._python == "auto" else ["--python", self._python]
        args = [*python, "--idle-s", str(self._idle_s)]
        yield from self._follow(job.workload, "submit", args, json.dumps(request).encode() + b"\n")

    def attach(self, workload: str, job_id: str, *, from_seq: int = 0) -> Iterator[Event]:
        """Events after `from_seq`, old ones first. Raises as `submit` does."""
        yield from self._follow(workload, "attach", [job_id, "--from", str(from_seq)], b"")

    def cancel(self, workload: str, job_id: str) -> bool:
        """Whether a job that had not ended was stopped."""
        answer = self._ask(workload, "cancel", [job_id])
        return isinstance(answer, dict) and answer.get("cancelled") is True

    def stop(self, workload: str) -> bool:
        """Whether a resident worker was running and has been ended."""
        answer = self._ask(workload, "stop", [])
        return isinstance(answer, dict) and answer.get("stopped") is True

    def status(self, workload: str) -> Json:
        """The resident worker's own account of itself."""
        answer = self._ask(workload, "status", [])
        return answer if isinstance(answer, dict) else {}

    def jobs(self, workload: str) -> list[Json]:
        """Every job in the workspace, oldest first."""
        answer = self._ask(workload, "jobs", [])
        return answer if isinstance(answer, list) else []

    def fetch(self, artifact: Artifact, target: Path, *, on_bytes: OnBytes | None = None) -> None:
        """Raises TransferFailed when size or hash are not as announced, NotFound."""
        self._shell.get(
            artifact.path,
            target,
            size=artifact.bytes,
            sha256=artifact.sha256,
            on_bytes=on_bytes,
        )

    def _follow(self, workload: str, verb: str, args: list[str], stdin: bytes) -> Iterator[Event]:
        for is_retry in (False, True):
            process = self._start(workload, verb, args, stdin)
            try:
                for event in self._events(process):
                    yield event
                    if event.is_final:
                        return
                self._no_end(process, workload, is_retry)
            finally:
                process.close()

    def _start(self, workload: str, verb: str, args: list[str], stdin: bytes) -> Process:
        process = self._shell.start(self._command(workload, verb, args))
        process.write(stdin)
        process.close_stdin()
        # The artifact will be fetched over the channel that opens while the worker works.
        self._shell.prepare()
        return process

    def _events(self, process: Process) -> Iterator[Event]:
        for line in process.lines():
            if not line.strip():
                continue
            event = _parse(line)
            if event is None:
                self._report.warn(f"the worker said something that is no event: {line[:200]}")
            else:
                yield event

    def _no_end(self, process: Process, workload: str, is_retry: bool) -> None:
        """The stream ended without done or error: ships and returns, or raises."""
        code, stderr = process.wait(), process.stderr_text()
        if code == LOST:
            raise ConnectionFailed("the connection was lost while the job was running")
        if scripts.is_missing(code, stderr) and not is_retry:
            self._ship(workload)
            return
        raise _broken(Completed(code, "", stderr))

    def _ask(self, workload: str, verb: str, args: list[str]) -> object:
        command = self._command(workload, verb, args)
        completed = self._shell.run(command)
        if scripts.is_missing(completed.exit_code, completed.stderr):
            self._ship(workload)
            completed = self._shell.run(command)
        if completed.exit_code == LOST:
            raise ConnectionFailed("the connection was lost before the worker answered")
        if completed.exit_code != 0:
            raise _broken(completed)
        try:
            answer: object = json.loads(completed.stdout)
        except ValueError as error:
            raise _broken(completed) from error
        return answer

    def _command(self, workload: str, verb: str, args: list[str]) -> list[str]:
        return scripts.remote_command(
            workload, verb, args, workspace=self._workspace, hash=scripts.installed(workload).hash
        )

    def _ship(self, workload: str) -> None:
        self._report.step("sending the scripts to the machine")
        scripts.ship(self._shell, scripts.installed(workload), workspace=self._workspace)

    def _put_inputs(self, job: Job) -> None:
        """Names are content hashes, so that a file of the same size is the same file."""
        if not job.inputs:
            return
        targets = list(job.inputs)
        completed = self._shell.run(with_workspace(self._workspace, _SIZES, *targets))
        if completed.exit_code != 0:
            raise _broken(completed)
        root, *sizes = completed.stdout.splitlines()
        for target, there in zip(targets, sizes, strict=True):
            source = job.inputs[target]
            if int(there) != source.stat().st_size:
                self._report.step(f"sending {source.name}")
                self._shell.put(source, f"{root}/{target}", on_bytes=self._on_bytes)

    def _on_bytes(self, done: int, total: int) -> None:
        self._report.progress("upload", done, total)


def _parse(line: str) -> Event | None:
    try:
        fields = json.loads(line)
        kind, seq, ts = fields.pop("event"), int(fields.pop("seq")), float(fields.pop("ts"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    fields.pop("v", None)
    return Event(seq, ts, str(kind), fields)


def _broken(completed: Completed) -> Exception:
    if completed.exit_code == LOST:
        return ConnectionFailed("the connection was lost before the machine answered")
    reason = completed.stderr.strip().splitlines()[-1:] or [f"exit code {completed.exit_code}"]
    return scripts.failure(completed) or JobFailed(
        f"the worker on the machine ended without a result: {reason[0]}",
        worker_code="worker_broken",
        details={"exit_code": completed.exit_code, "stderr": completed.stderr[-4000:]},
    )
