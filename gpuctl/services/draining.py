"""Before a machine ends: what it has finished, and is not at home yet, is brought home."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpuctl.errors import ConnectionFailed, GpuctlError, JobFailed, NotFound, UsageError
from gpuctl.models import Artifact, JobRecord, Json, Machine
from gpuctl.remote.base import LOST, Runner, Shell
from gpuctl.remote.quoting import with_workspace
from gpuctl.services.delivery import Watch
from gpuctl.services.jobs import fetch
from gpuctl.services.links import MachineLink
from gpuctl.services.session import Session
from gpuctl.workloads import WORKLOADS

OVER = ("done", "failed", "cancelled")
# The workload of each job that ever was there, once; "" for a request that cannot be read.
_WORKLOADS = """\
for d in "$W"/jobs/*/; do
  [ -d "$d" ] || continue
  w=$(grep -o '"workload": *"[a-z0-9_]*"' "$d/request.json" 2>/dev/null | head -n 1)
  w=${w%'"'}; echo "${w##*'"'}"
done | sort -u
"""


@dataclass(frozen=True, slots=True)
class Unfetched:
    """A job that is over, with artifacts that lie on the machine alone. `record` is what this
    computer knows of it, None for a job that another one sent."""

    id: str
    workload: str
    artifacts: tuple[Artifact, ...]
    record: JobRecord | None = None


@dataclass(frozen=True, slots=True)
class Drained:
    """`saved` came home now, `left` did not; `running` jobs would be lost with the machine.

    `is_used`: it was sent jobs at some time. `why_unknown` says why the machine could not be
    asked; then the rest says nothing.
    """

    saved: tuple[str, ...] = ()
    left: tuple[Unfetched, ...] = ()
    running: tuple[str, ...] = ()
    is_used: bool = False
    why_unknown: str | None = None

    @property
    def losses(self) -> str | None:
        """What an end would destroy, in words; None when it is known to be nothing."""
        if self.why_unknown:
            return f"what lies on it is unknown: {self.why_unknown}"
        parts = []
        if self.running:
            parts.append(f"{len(self.running)} job(s) still run")
        if self.left:
            parts.append(f"the results of {len(self.left)} job(s) are not here")
        return "; ".join(parts) or None


@dataclass(frozen=True, slots=True)
class Drain:
    """How it is done. `limit_s` is for all of it; `folder` takes what nobody here asked for."""

    session: Session
    link: Callable[[Machine], MachineLink]
    workloads: Sequence[str]
    folder: Path
    limit_s: float
    workspace: str | None = None

    def __call__(self, machine: Machine) -> Drained:
        """Raises nothing that the machine does: it is about to end, whatever it answers."""
        if machine.status != "RUNNING" or machine.address is None:
            return self._asleep(machine)
        try:
            with self.link(machine) as link:
                return self._drained(link)
        except GpuctlError as error:
            return Drained(why_unknown=error.message)

    def _asleep(self, machine: Machine) -> Drained:
        """Nobody answers: what this computer sent there, and never got back."""
        waiting = [
            Unfetched(record.id, record.workload, record.artifacts, record)
            for record in self.session.state.jobs(limit=1000)
            if record.machine_id == machine.id and record.status in ("submitted", "running", "done")
        ]
        return Drained(left=tuple(waiting))

    def _drained(self, link: MachineLink) -> Drained:
        until = self.session.clock.now() + self.limit_s
        found = workloads_with_jobs(link.open(), self.workspace)
        if not found:
            return Drained()
        # Asking sends a workload's scripts there: those that have no job are not asked.
        is_clear = found <= set(self.workloads)
        asked = sorted(found) if is_clear else self.workloads
        over, running = survey(link.runner, asked, self._record)
        saved: list[str] = []
        left = []
        for job in over:
            try:
                if self.session.clock.now() > until:
                    raise ConnectionFailed("no time is left")
                saved += self._fetched(link, job)
            except (GpuctlError, OSError) as error:
                self.session.report.warn(f"job {job.id} stays on the machine: {error}")
                left.append(job)
        return Drained(tuple(saved), tuple(left), tuple(running), is_used=True)

    def _fetched(self, link: MachineLink, job: Unfetched) -> list[str]:
        """Raises TransferFailed, ConnectionFailed, OSError."""
        self.session.report.step(f"bringing the results of job {job.id} home")
        if job.record is not None and job.workload in WORKLOADS:
            found = self._watched(link, job.record)
            if found:
                return found
        files = []
        for artifact in job.artifacts:
            target = self.folder / job.id / Path(artifact.path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(link, artifact, target)
            files.append(str(target))
        if job.record is not None:
            kept = replace(
                job.record, artifacts=job.artifacts, files=tuple(files), status="fetched"
            )
            self.session.state.save_job(kept)
        return files

    def _watched(self, link: MachineLink, record: JobRecord) -> list[str]:
        """As the operator would have got them, receipts included; [] for a job that failed."""
        session = self.session
        watch = Watch(
            record,
            link,
            session.state,
            clock=session.clock,
            limit_s=self.limit_s,
            report=session.report,
        )
        try:
            return list(watch.attach().record.files)
        except JobFailed:
            return []

    def _fetch(self, link: MachineLink, artifact: Artifact, target: Path) -> None:
        session = self.session
        fetch(
            link,
            artifact,
            target,
            clock=session.clock,
            limit_s=self.limit_s,
            report=session.report,
        )

    def _record(self, job_id: str) -> JobRecord | None:
        try:
            found = self.session.state.job(job_id)
        except (NotFound, UsageError):
            return None
        return found if found.id == job_id else None


def workloads_with_jobs(shell: Shell, workspace: str | None) -> set[str]:
    """Whose jobs were ever sent there; "" stands for one that cannot be told.

    Raises ConnectionFailed, GpuctlError: no answer must not pass for "nothing".
    """
    completed = shell.run(with_workspace(workspace, _WORKLOADS))
    if completed.exit_code == LOST:
        raise ConnectionFailed("the connection was lost before the machine answered")
    if completed.exit_code != 0:
        said = completed.stderr.strip() or f"exit code {completed.exit_code}"
        raise GpuctlError(f"its jobs cannot be listed: {said}")
    return set(completed.stdout.splitlines())


def survey(
    runner: Runner, workloads: Sequence[str], record: Callable[[str], JobRecord | None]
) -> tuple[list[Unfetched], list[str]]:
    """The jobs whose results are only there, and the ids of those that have no end yet."""
    over, running = [], []
    for workload in workloads:
        for row in runner.jobs(workload):
            if row.get("status") not in OVER:
                running.append(str(row["id"]))
                continue
            artifacts = tuple(map(_artifact, row.get("artifacts") or ()))
            known = record(str(row["id"]))
            if artifacts and not _is_home(known, artifacts):
                over.append(Unfetched(str(row["id"]), workload, artifacts, known))
    return over, running


def _is_home(record: JobRecord | None, artifacts: Sequence[Artifact]) -> bool:
    """What was fetched once is the operator's, who may have moved it since."""
    if record is None:
        return False
    if record.status == "fetched":
        return True
    here = {
        known.sha256
        for known, file in zip(record.artifacts, record.files, strict=False)
        if Path(file).exists()
    }
    return all(artifact.sha256 in here for artifact in artifacts)


def _artifact(row: Json) -> Artifact:
    return Artifact(
        str(row["path"]), int(row["bytes"]), str(row["sha256"]), str(row.get("media_type", ""))
    )
