"""Which way the files of a queued job take, decided before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuctl.clients.s3 import Bucket, BucketAccess
from gpuctl.errors import UsageError
from gpuctl.models import Secret
from gpuctl.remote.queue_inputs import INLINE_LIMIT_BYTES, entries
from tests.support.recorder import Recorder


def volume() -> BucketAccess:
    return BucketAccess("vol1", "https://s3api-eu-ro-1.runpod.io", "user_x", Secret("rps_secret"))


def test_a_network_volume_is_known_by_its_address_and_shows_no_secret() -> None:
    assert volume().is_volume
    assert not BucketAccess("b", "https://s3api-x.example.com").is_volume
    assert not BucketAccess("b").is_volume
    assert "rps_secret" not in repr(volume())


def test_a_volume_that_the_endpoint_does_not_mount_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(INLINE_LIMIT_BYTES + 1))
    with pytest.raises(UsageError, match="vol1, which this endpoint does not mount"):
        entries({"inputs/x.bin": large}, Bucket(volume()), ("vol2",), Recorder())


def test_small_files_need_no_bucket(tmp_path: Path) -> None:
    small = tmp_path / "small.bin"
    small.write_bytes(b"x")
    (entry,) = entries({"inputs/x.bin": small}, Bucket(volume()), (), Recorder())
    assert (entry["path"], entry["data"]) == ("inputs/x.bin", "eA==")
