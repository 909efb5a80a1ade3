"""An endpoint's queue as a link: made again after a lost connection, like one over ssh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gpuctl.closing import Closing
from gpuctl.errors import ApiError, ConnectionFailed
from gpuctl.models import Endpoint, Machine, Report, Secret
from gpuctl.services.endpoint_diagnosis import diagnose
from gpuctl.services.endpoint_memory import as_machine
from gpuctl.services.waiting import Clock

if TYPE_CHECKING:
    from gpuctl.clients.s3 import BucketAccess
    from gpuctl.providers.runpod_endpoints import RunpodEndpoints
    from gpuctl.remote.queue_runner import Memory, QueueRunner, Terms

# RunPod's own limits for `policy` (facts: runpod.md §4).
SHORTEST_TTL_S = 10.0


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """`jobs_url` is that of the endpoint's queue; `results` where answers are kept here; times in
    seconds. `bucket` carries what is too large for the queue."""

    jobs_url: str
    key: Secret | None
    results: Path
    timeout_s: float
    job_ttl_s: float
    diagnose_after_s: float
    bucket: BucketAccess | None = None


@dataclass(slots=True)
class QueueLink(Closing):
    """Nothing is opened before use. The runner stays: what it told is told again."""

    endpoint: Endpoint
    options: QueueOptions
    memory: Memory
    endpoints: Callable[[], RunpodEndpoints]
    clock: Clock
    report: Report
    _runner: QueueRunner | None = field(default=None, init=False)

    @property
    def machine(self) -> Machine:
        return as_machine(self.endpoint)

    def open(self) -> None:
        """There is none to wait for either."""

    def dial(self, workload: str) -> None:
        """There is no connection to begin ahead: a job is one request."""

    @property
    def runner(self) -> QueueRunner:
        if self._runner is None:
            self._runner = self._made()
        return self._runner

    def reopen(self) -> None:
        """Raises ConnectionFailed while RunPod's job API cannot be reached."""
        try:
            self.runner.jobs_api.health()
        except ApiError as error:
            raise ConnectionFailed(error.message, hint=error.hint) from error

    def close(self) -> None:
        if self._runner is not None:
            self._runner.jobs_api.http.close()

    def _made(self) -> QueueRunner:
        from gpuctl.clients.downloads import download  # noqa: PLC0415  only where jobs are queued
        from gpuctl.clients.http import Http  # noqa: PLC0415  likewise
        from gpuctl.clients.runpod_jobs import RunpodJobs  # noqa: PLC0415  likewise
        from gpuctl.clients.s3 import Bucket  # noqa: PLC0415  likewise
        from gpuctl.remote.queue_results import Results  # noqa: PLC0415  likewise
        from gpuctl.remote.queue_runner import QueueRunner  # noqa: PLC0415  likewise

        options, sleep = self.options, self.clock.sleep
        http = Http(
            options.jobs_url,
            key=options.key,
            timeout_s=options.timeout_s,
            sleep=sleep,
            service="RunPod's job API",
        )
        bucket = Bucket(options.bucket) if options.bucket else None
        results = Results(options.results, download=download, bucket=bucket)
        results.forget_old()
        return QueueRunner(
            jobs_api=RunpodJobs(http),
            terms=self._terms(is_near=http.is_loopback),
            memory=self.memory,
            results=results,
            bucket=bucket,
            report=self.report,
            now=self.clock.now,
            sleep=sleep,
            diagnose=self._diagnosis,
        )

    def _terms(self, *, is_near: bool) -> Terms:
        from gpuctl.remote.queue_feed import Pace  # noqa: PLC0415  only where jobs are queued
        from gpuctl.remote.queue_runner import Terms  # noqa: PLC0415  likewise

        late_s = self.options.diagnose_after_s
        # The simulator has no rate to save.
        pace = Pace(0.05, 0.3, late_s) if is_near else Pace(diagnose_after_s=late_s)
        policy = {"ttl": round(max(self.options.job_ttl_s, SHORTEST_TTL_S) * 1000)}
        return Terms(self.endpoint.id, policy, self.endpoint.volume_ids, pace)

    def _diagnosis(self) -> str:
        """One line on why a job waits; empty when nobody can say."""
        try:
            endpoint = self.endpoints().get(self.endpoint.id)
            return diagnose(endpoint, self.endpoints().workers(self.endpoint.id)).line()
        except ApiError as error:
            return f"why the job waits could not be read: {error.message}"


def bucket_access(
    bucket: str | None,
    endpoint_url: str | None,
    access_key_id: str | None,
    secret_access_key: Secret | None,
    region: str | None,
) -> BucketAccess | None:
    """None without a bucket's name."""
    if not bucket:
        return None
    from gpuctl.clients.s3 import BucketAccess  # noqa: PLC0415  only with a bucket

    return BucketAccess(bucket, endpoint_url, access_key_id, secret_access_key, region)


def worker_secrets(
    bucket: BucketAccess | None, hugging_face: Secret | None
) -> Mapping[str, Secret]:
    """What workers need to know and nobody else: for an endpoint's environment."""
    found = {"HF_TOKEN": hugging_face} if hugging_face else {}
    if bucket is not None and bucket.secret_access_key is not None:
        found["S3_SECRET_ACCESS_KEY"] = bucket.secret_access_key
    return found


def worker_environment(bucket: BucketAccess | None) -> dict[str, str]:
    """The rest of what a worker needs to put large results into the bucket."""
    if bucket is None:
        return {}
    named = {
        "S3_BUCKET_NAME": bucket.bucket,
        "S3_ENDPOINT_URL": bucket.endpoint_url,
        "S3_ACCESS_KEY_ID": bucket.access_key_id,
        "S3_REGION": bucket.region,
    }
    return {name: value for name, value in named.items() if value}
