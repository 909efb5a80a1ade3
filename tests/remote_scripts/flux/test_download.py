"""Fetching a model tells how far it is, in bytes on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_growing_cache_is_told_while_the_model_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flux import download
    from flux.request import Model
    from worker import report

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(download, "_TELL_EVERY_S", 0.005)
    blobs = tmp_path / "hub/models--a--b/blobs"
    blobs.mkdir(parents=True)
    (blobs / "present").write_bytes(b"x" * 4096)
    told: list[dict[str, Any]] = []

    class Pipeline:
        @staticmethod
        def download(repo: str, revision: str | None) -> str:
            assert (repo, revision) == ("a/b", None)
            for size in (40_960, 81_920):
                (blobs / "growing.incomplete").write_bytes(b"x" * size)
                wait_until(lambda size=size: told and told[-1]["done"] >= size)
            return str(tmp_path / "hub/models--a--b/snapshots" / COMMIT)

    def sink(kind: str, fields: dict[str, Any]) -> None:
        assert kind == "loading"
        told.append(fields)

    with report.bind(sink, report.JobContext("j", tmp_path, tmp_path)):
        snapshot = download.fetch(Model("a/b", "P", "m", "M", vram_gb=34), Pipeline)
    assert snapshot.revision == COMMIT
    assert [event["stage"] for event in told] == ["download"] * len(told)
    assert [event["done"] for event in told] == sorted(event["done"] for event in told)
    assert {event["total"] for event in told} == {34_000_000_000}


def wait_until(is_true: Any) -> None:
    import time

    deadline = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.002)
