"""Finished speech in a bucket: real uploads over HTTP, read back through the presigned URL."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.remote_scripts.tts.conftest import Desk, bucket_environment, probe

pytestmark = pytest.mark.ffmpeg


@pytest.fixture
def uploading(desk: Desk, bucket_server: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name, value in bucket_environment(bucket_server).items():
        monkeypatch.setenv(name, value)
    return desk


def test_the_answer_is_the_seeds_and_its_url_gives_the_very_file(uploading: Desk) -> None:
    done = uploading.run(session_id="session-1", text="Hello from the bucket.")
    response = done.metrics["response"]
    assert list(response) == ["status", "url", "filename", "s3_key", "metadata"]
    assert (response["status"], response["filename"], response["s3_key"]) == (
        "completed",
        "session-1.ogg",
        "session-1.ogg",
    )
    with urllib.request.urlopen(response["url"]) as answer:
        content = answer.read()
        assert answer.headers["Content-Type"] == "audio/ogg"
    assert content == done.path.read_bytes()
    assert probe(done.path)["seconds"] == pytest.approx(response["metadata"]["duration"], abs=0.05)
    assert done.artifact["url"] == response["url"]
    assert "secret" not in str(done.events)


def test_the_url_expires_when_it_was_told_to(
    uploading: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_URL_EXPIRES_S", "900")
    url = urlsplit(uploading.run().metrics["response"]["url"])
    asked = parse_qs(url.query)
    assert asked.get("X-Amz-Expires") == ["900"] or "Expires" in asked
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{url.scheme}://{url.netloc}{url.path}")


def test_a_bucket_that_is_not_there_fails_by_name_and_loses_nothing(
    uploading: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_BUCKET_NAME", "nowhere")
    done = uploading.run(text="Spoken once.")
    assert "upload" in done.failure["message"]
    assert "S3_BUCKET_NAME" in done.failure["remedy"]
    assert done.path.stat().st_size > 1000, "the file is announced all the same"
    monkeypatch.setenv("S3_BUCKET_NAME", "speech")
    again = uploading.run(text="Spoken once.")
    assert [part["is_kept"] for part in again.metrics["chunks"]] == [True]
    assert again.metrics["response"]["url"]


class Cutter:
    """Between worker and bucket: cuts the first `cuts` connections in the middle of the upload."""

    def __init__(self, target: str, cuts: int) -> None:
        self._target = (urlsplit(target).hostname, urlsplit(target).port)
        self._cuts = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.seen = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.seen += 1
            if self.seen <= self._cuts:
                client.recv(4096)
                client.close()
                continue
            server = socket.create_connection(self._target)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pipe, args=pair, daemon=True).start()

    def _pipe(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            target.close()


@pytest.fixture
def cutter(bucket_server: str, request: pytest.FixtureRequest) -> Iterator[Cutter]:
    made = Cutter(bucket_server, request.param)
    yield made
    made.close()


@pytest.mark.parametrize("cutter", [1], indirect=True)
def test_an_upload_that_is_cut_once_is_tried_again(
    uploading: Desk, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_ENDPOINT_URL", cutter.url)
    done = uploading.run(text="Through thick and thin.")
    with urllib.request.urlopen(done.metrics["response"]["url"]) as answer:
        assert answer.read() == done.path.read_bytes()
    assert cutter.seen >= 2


@pytest.mark.parametrize("cutter", [99], indirect=True)
def test_a_bucket_that_stays_away_ends_the_job_by_name_with_the_speech_kept(
    uploading: Desk, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.s3.ATTEMPTS", 2)
    monkeypatch.setenv("S3_ENDPOINT_URL", cutter.url)
    done = uploading.run()
    assert done.failure["code"] == "failed"
    assert "upload of J1.ogg to S3 failed" in done.failure["message"]
    assert done.path.is_file()
    assert list(uploading.home.glob("output_audio/takes/*/*.wav"))
