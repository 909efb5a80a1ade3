"""The doctor names the programs that only some commands need, and how to get them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuctl.services import doctor, doctor_programs
from tests.services.test_doctor import a_bench, stub
from tests.support.accounts_stub import Accounts

__all__ = ["stub"]


def test_a_program_that_only_some_need_is_a_warning_with_its_remedy(
    private_home: Path, stub: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(private_home))
    found = doctor.run(a_bench(private_home, stub), doctor_programs.CHECKS)
    assert [(one.name, one.status) for one in found] == [("ffmpeg", "warn"), ("images", "warn")]
    assert "transcribe" in found[0].found
    assert all("install" in (one.remedy or "") for one in found)


def test_a_program_that_is_there_is_said_to_be(
    private_home: Path, stub: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = private_home / "bin"
    programs.mkdir()
    for name in ("ffmpeg", "ffprobe"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    found = doctor.run(a_bench(private_home, stub), doctor_programs.CHECKS[:1])
    assert [one.status for one in found] == ["ok"]
