"""The Runner over a queue: real workers of the real SDK, real S3 by moto, every hop over HTTP."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gpuctl.clients.downloads import download
from gpuctl.clients.http import Http
from gpuctl.clients.runpod_jobs import RunpodJobs
from gpuctl.clients.s3 import Bucket, BucketAccess
from gpuctl.errors import ConnectionFailed, NotFound, UsageError
from gpuctl.models import Event, Job, Json, Secret
from gpuctl.remote.queue_feed import Pace
from gpuctl.remote.queue_results import Results
from gpuctl.remote.queue_runner import KIND, QueueRunner, Terms
from gpuctl.services import jobs
from gpuctl.services.inputs import content_name
from gpuctl.services.ulids import new_ulid
from gpuctl.sim.launcher import add_fault
from gpuctl.state import State
from tests.support.queue_house import House, serving
from tests.support.recorder import Recorder

LARGE_BYTES = 8_000_000
JOBS, WORKERS, KILLS = 200, 4, 8
CROWD_LIMIT_S = 110.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("queue")) as found:
        yield found


@pytest.fixture(scope="module")
def toy(house: House) -> Json:
    return house.endpoint(workers={"min": 1, "max": 1, "idleTimeout": 600})


@pytest.fixture(scope="module")
def s3() -> Iterator[BucketAccess]:
    """A bucket of moto's, over HTTP."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    access = BucketAccess(
        "results", f"http://{host}:{port}", "AKIATEST", Secret("a-secret"), "us-east-1"
    )
    bucket = Bucket(access)
    bucket._client.create_bucket(Bucket="results")
    yield access
    server.stop()


@pytest.fixture(scope="module")
def reader(house: House, s3: BucketAccess) -> Json:
    """Reads files, makes large ones; knows the bucket from its environment, as real workers do."""
    env = {
        "GPUCTL_WORKLOAD": "reader",
        "S3_BUCKET_NAME": s3.bucket,
        "S3_ENDPOINT_URL": str(s3.endpoint_url),
        "S3_ACCESS_KEY_ID": str(s3.access_key_id),
        "S3_SECRET_ACCESS_KEY": "a-secret",
    }
    return house.endpoint("reader", env=env)


class Client:
    """One computer: its state folder, and runners as its commands make them."""

    def __init__(self, house: House, folder: Path, s3: BucketAccess | None = None) -> None:
        self.house, self.folder = house, folder
        self.state = State(folder / "state.db")
        self.bucket = Bucket(s3) if s3 else None
        self.report = Recorder()
        self.results = Results(folder / "queue", download=download, bucket=self.bucket)

    def runner(
        self,
        endpoint: Json,
        *,
        diagnose: Callable[[], str] = lambda: "",
        late_s: float = 30.0,
        volumes: tuple[str, ...] = (),
    ) -> QueueRunner:
        http = Http(
            str(endpoint["requestUrls"]["run"]).removesuffix("/run"),
            key=self.house.simulator.api_key,
            timeout_s=30,
            sleep=time.sleep,
        )
        terms = Terms(endpoint["id"], {"ttl": 600_000}, volumes, Pace(0.02, 0.1, late_s))
        return QueueRunner(
            jobs_api=RunpodJobs(http),
            terms=terms,
            memory=self.state,
            results=self.results,
            bucket=self.bucket,
            report=self.report,
            now=time.time,
            sleep=time.sleep,
            diagnose=diagnose,
        )


class Crowd:
    """Many jobs on few workers, some of which are killed in the middle of one. It goes on beside
    the other tests: the SDK asks for a job once a second at most."""

    def __init__(self, house: House, folder: Path) -> None:
        self._house, self.killed = house, 0
        rule = {"type": "REQUEST_COUNT", "requestCount": 1}
        self.endpoint = house.endpoint(
            "slow", workers={"min": WORKERS, "max": WORKERS}, scaling=rule
        )
        self.runner = Client(house, folder).runner(self.endpoint)
        self.orders = [an_order("slow", prompt=f"job {index}") for index in range(JOBS)]
        self.feeds = {order.id: self.runner.submit(order) for order in self.orders}
        for feed in self.feeds.values():  # all are queued before any is followed
            assert next(feed).kind == "accepted"
        self._thread = threading.Thread(target=self._trouble, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(CROWD_LIMIT_S)
        assert not self._thread.is_alive(), "the jobs did not all end"

    def _trouble(self) -> None:
        # The simulator ends first where the test that waits for the crowd was not asked for.
        with contextlib.suppress(httpx.TransportError, RuntimeError):
            self._kill_some()

    def _kill_some(self) -> None:
        chance = random.Random(5)
        while (counts := self._counts())["completed"] + counts["failed"] < JOBS:
            busy = _busy_workers(self._house, self.endpoint)
            is_due = counts["completed"] >= self.killed * JOBS // (KILLS + 1)
            if busy and is_due and self.killed < KILLS:
                os.killpg(chance.choice(busy), signal.SIGKILL)
                self.killed += 1
            time.sleep(0.05)

    def _counts(self) -> Json:
        """Another test's rate limit may strike here: then nothing is known for now."""
        answer = self._house.ask(self.endpoint, "health")
        found: Json = answer.json()["jobs"] if answer.is_success else {"completed": 0, "failed": 0}
        return found


def _busy_workers(house: House, endpoint: Json) -> list[int]:
    """Process groups of the workers that have a job now."""
    rows = house.client.get(f"/serverless/{endpoint['id']}/workers").json()["workers"]
    running = [row["id"] for row in rows if row["status"] == "RUNNING"]
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            environ = path.read_bytes().split(b"\0")
            if any(f"RUNPOD_POD_ID={worker}".encode() in environ for worker in running):
                found.add(os.getpgid(int(path.parent.name)))
        except OSError:  # it has ended
            continue
    return sorted(found)


@pytest.fixture(scope="module", autouse=True)
def crowd(house: House, tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    return Crowd(house, tmp_path_factory.mktemp("crowd"))


@pytest.fixture
def here(house: House, tmp_path: Path) -> Client:
    return Client(house, tmp_path / "here")


def an_order(workload: str = "toy", inputs: dict[str, Path] | None = None, **given: object) -> Job:
    return Job(new_ulid(), workload, dict(given), inputs or {})


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_a_job_is_told_and_brought_home_as_over_ssh(
    here: Client, toy: Json, tmp_path: Path
) -> None:
    runner, order = here.runner(toy), an_order(prompt="a fox", seed=7)
    events = list(runner.submit(order))
    assert kinds(events)[0] == "accepted"
    assert kinds(events)[-2:] == ["artifact", "done"]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].data["metrics"]["engine_pid"]
    assert events[-1].data["metrics"]["elapsed_s"] >= 0
    artifact = jobs.artifact_of(events[-2])
    assert events[-2].data["seed"] == 7
    assert "data" not in events[-2].data  # the bytes are in no event and no record
    runner.fetch(artifact, tmp_path / "said.txt")
    assert (tmp_path / "said.txt").read_text() == "a fox"
    assert not (tmp_path / "said.txt.part").exists()


def test_submitting_again_attaches_and_another_process_sees_the_same(
    here: Client, toy: Json, house: House
) -> None:
    order = an_order(prompt="once")
    first = list(here.runner(toy).submit(order))
    again = list(here.runner(toy).submit(order))
    attached = list(here.runner(toy).attach("toy", order.id))
    assert kinds(again)[-2:] == kinds(attached)[-2:] == kinds(first)[-2:]
    assert house.runs(toy).count(order.id) == 1
    (row,) = [each for each in here.runner(toy).jobs("toy") if each["id"] == order.id]
    assert row["status"] == "done"


def test_a_result_is_safe_before_anybody_looks_at_it_and_outlives_runpods_memory(
    here: Client, toy: Json, house: House, tmp_path: Path
) -> None:
    order = an_order(prompt="kept")
    events = here.runner(toy).submit(order)
    for event in events:
        if event.kind == "artifact":
            break  # as if killed here: nothing was fetched, nothing was recorded
    house.order(toy, "purgeQueue")
    offline = here.runner({**toy, "requestUrls": {"run": "http://127.0.0.1:9/run"}})
    replayed = list(offline.attach("toy", order.id))
    offline.fetch(jobs.artifact_of(replayed[-2]), tmp_path / "kept.txt")
    assert (tmp_path / "kept.txt").read_text() == "kept"
    saved = here.folder / "queue" / order.id / "result.json"
    assert saved.stat().st_mode & 0o777 == 0o600


def test_a_job_that_was_queued_although_the_answer_was_lost_runs_once(
    here: Client, toy: Json, house: House
) -> None:
    add_fault(house.simulator, "run-500")
    runner, order = here.runner(toy), an_order(prompt="twice?")
    with pytest.raises(ConnectionFailed, match="unknown"):
        list(runner.submit(order))
    assert here.state.kept(KIND, order.id)["queue_id"] is None
    house.ended(toy, house.run(toy))  # what came before it is done
    events = list(runner.submit(order))
    assert kinds(events)[-1] == "done"
    assert house.runs(toy).count(order.id) == 1


def test_a_lost_connection_is_told_apart_from_a_failed_job(here: Client, toy: Json) -> None:
    order = an_order(prompt="x")
    list(here.runner(toy).submit(order))
    (here.folder / "queue" / order.id / "result.json").unlink()
    nowhere = here.runner({**toy, "requestUrls": {"run": "http://127.0.0.1:9/run"}})
    with pytest.raises(ConnectionFailed):
        list(nowhere.attach("toy", order.id))


def test_a_rate_limit_is_waited_out(here: Client, toy: Json, house: House) -> None:
    add_fault(house.simulator, "job-rate-limit", times=2)
    assert kinds(list(here.runner(toy).submit(an_order())))[-1] == "done"


def test_failures_keep_their_code_and_remedy(here: Client, toy: Json) -> None:
    *_, error = here.runner(toy).submit(an_order(do="refuse"))
    assert (error.kind, error.data["code"]) == ("error", "gated")
    assert error.data["remedy"] == "accept it on the model's page"


def test_progress_is_told_and_a_cancellation_ends_the_job(here: Client, toy: Json) -> None:
    runner, order = here.runner(toy), an_order(do="wait_for_file", until="never")
    events = runner.submit(order)
    for event in events:
        if event.kind == "progress":
            assert (event.data["stage"], event.data["total"]) == ("waiting", 1)
            assert runner.cancel("toy", order.id) is True
            break
    *_, last = events
    assert (last.kind, last.data["code"]) == ("error", "cancelled")
    assert runner.cancel("toy", order.id) is False


def test_a_job_that_runpod_forgot_has_expired_and_not_failed(
    here: Client, toy: Json, house: House
) -> None:
    record = {"id": "01GONE", "workload": "toy", "endpoint": toy["id"], "queue_id": "gone-u1"}
    here.state.keep(KIND, "01GONE", {**record, "submitted_at": time.time(), "status": "queued"})
    *_, last = here.runner(toy).attach("toy", "01GONE")
    assert last.data["code"] == "expired"
    assert "not known" in last.data["message"]
    assert [row["status"] for row in here.runner(toy).jobs("toy")] == ["expired"]
    with pytest.raises(NotFound):
        list(here.runner(toy).attach("toy", "01NEVER"))


def test_a_stream_is_followed_and_its_result_is_the_last_piece(
    here: Client, house: House, tmp_path: Path
) -> None:
    talker, order = house.endpoint("talker"), an_order("talker")
    runner = here.runner(talker)
    events = list(runner.submit(order))
    stages = [event.data["stage"] for event in events if event.kind == "progress"]
    assert stages == ["word-0", "word-1", "word-2"]
    assert events[-1].data["metrics"]["words"] == 3
    runner.fetch(jobs.artifact_of(events[-2]), tmp_path / "said.txt")
    assert (tmp_path / "said.txt").read_text() == "three words"


def test_small_files_travel_inside_the_job_and_a_workloads_own_answer_comes_back(
    here: Client, reader: Json, tmp_path: Path
) -> None:
    source = tmp_path / "voice.wav"
    source.write_bytes(b"RIFF")
    name = content_name(source)
    runner = here.runner(reader)
    events = list(runner.submit(an_order("reader", {name: source}, file=name)))
    assert events[-1].data["response"] == {"status": "success", "url": "here"}
    assert [e.data["message"] for e in events if e.kind == "log"] == ["read it"]
    runner.fetch(jobs.artifact_of(events[-2]), tmp_path / "copy.bin")
    assert (tmp_path / "copy.bin").read_bytes() == b"RIFF"


def test_large_files_go_through_the_bucket_both_ways(
    house: House, reader: Json, s3: BucketAccess, tmp_path: Path
) -> None:
    source = tmp_path / "long.wav"
    source.write_bytes(random.randbytes(LARGE_BYTES))
    name, here = content_name(source), Client(house, tmp_path / "here", s3)
    runner = here.runner(reader)
    events = list(runner.submit(an_order("reader", {name: source}, file=name)))
    assert kinds(events)[-2:] == ["artifact", "done"], events[-1].data
    artifact = events[-2].data
    assert "url" not in artifact  # a signed address is in no event and no record
    runner.fetch(jobs.artifact_of(events[-2]), tmp_path / "copy.bin")
    assert hashlib.sha256((tmp_path / "copy.bin").read_bytes()).hexdigest() == artifact["sha256"]
    sent = [text for text in here.report.said("step") if "sending" in text]
    list(runner.submit(an_order("reader", {name: source}, file=name)))
    assert [text for text in here.report.said("step") if "sending" in text] == sent  # sent once


def test_large_files_without_a_bucket_are_refused_before_anything_is_sent(
    here: Client, reader: Json, tmp_path: Path
) -> None:
    source = tmp_path / "long.wav"
    source.write_bytes(bytes(LARGE_BYTES))
    order = an_order("reader", {content_name(source): source})
    with pytest.raises(UsageError, match=r"8\.0 MB"):
        list(here.runner(reader).submit(order))
    assert here.state.kept(KIND, order.id) is None
    with pytest.raises(UsageError, match="10 MB"):
        list(here.runner(reader).submit(an_order("reader", prompt="x" * 11_000_000)))


def test_a_file_on_the_endpoints_volume_is_found_there(
    here: Client, house: House, tmp_path: Path
) -> None:
    volume: Json = {"name": "v", "size": 10, "dataCenter": "EU-RO-1"}
    volume_id = house.client.post("/network-volumes", json=volume).json()["id"]
    endpoint = house.endpoint("reader", networkVolumes=[volume_id])
    content = b"on the volume"
    digest = hashlib.sha256(content).hexdigest()
    path = house.folder / "volumes" / volume_id / "inputs" / digest
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    envelope = {"id": new_ulid(), "files": [{"path": f"inputs/{digest}", "sha256": digest}]}
    job = house.run(endpoint, file=f"inputs/{digest}", gpuctl=envelope)
    assert house.ended(endpoint, job)["output"]["metrics"]["read"] == len(content)
    envelope["files"] = [{"path": "inputs/other", "sha256": digest}]
    lost = house.run(endpoint, file="inputs/other", gpuctl={**envelope, "id": new_ulid()})
    assert "not on this worker" in house.ended(endpoint, lost)["error"]


def test_a_job_that_waits_is_looked_into_once_per_finding(here: Client, house: House) -> None:
    endpoint = house.endpoint(None)
    told = iter(["no GPU is free", "no GPU is free", "a worker crashes"])
    runner = here.runner(endpoint, diagnose=lambda: next(told, "a worker crashes"), late_s=0.05)
    warnings = []
    for event in runner.submit(an_order()):
        if event.kind == "log":
            warnings.append(event.data["message"])
        if len(warnings) == 2:
            break
    assert warnings == ["no GPU is free", "a worker crashes"]


def test_two_hundred_jobs_over_four_workers_lose_and_double_nothing_while_workers_die(
    crowd: Crowd, house: House, tmp_path: Path
) -> None:
    crowd.wait()
    said = []
    for order in crowd.orders:
        *_, artifact, done = crowd.feeds[order.id]
        assert (artifact.kind, done.kind) == ("artifact", "done")
        target = tmp_path / f"{order.id}.txt"
        crowd.runner.fetch(jobs.artifact_of(artifact), target)
        said.append(target.read_text())
    assert said == [order.input["prompt"] for order in crowd.orders]
    assert crowd.killed == KILLS
    counts = house.ask(crowd.endpoint, "health").json()["jobs"]
    assert (counts["completed"], counts["failed"], counts["inQueue"]) == (JOBS, 0, 0)
