"""Answers of real kinds of machines are understood, those without a GPU included."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuctl.errors import ConnectionFailed, GpuctlError
from gpuctl.remote import probes
from gpuctl.remote.base import LOST, Completed, Shell
from gpuctl.remote.probes import Disk, GpuUse

DATA = Path(__file__).parents[1] / "data" / "probes"


def answered(name: str, exit_code: int = 0) -> Completed:
    text = (DATA / f"{name}.txt").read_text()
    return Completed(exit_code, text, "") if exit_code != 127 else Completed(127, "", text)


def test_cards_are_counted_and_named() -> None:
    two = probes.GPUS.parse(answered("nvidia_smi_l_two"))
    assert two == ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3")


def test_the_slices_of_a_card_are_not_cards() -> None:
    assert probes.GPUS.parse(answered("nvidia_smi_l_mig")) == ("NVIDIA A100-SXM4-40GB",)


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [
        ("not_found_dash", 127),
        ("not_found_bash", 127),
        ("nvidia_smi_no_devices", 6),
        ("nvidia_smi_no_driver", 9),
    ],
)
def test_a_machine_without_a_working_gpu_has_none(name: str, exit_code: int) -> None:
    assert probes.GPUS.parse(answered(name, exit_code)) == ()
    assert probes.GPU_USE.parse(answered(name, exit_code)) == ()


def test_another_failure_is_not_taken_for_no_gpu() -> None:
    with pytest.raises(GpuctlError, match="failed on the machine: Killed"):
        probes.GPUS.parse(Completed(137, "", "Killed"))


def test_memory_and_use_are_read_for_each_card() -> None:
    assert probes.GPU_USE.parse(answered("nvidia_smi_query")) == (
        GpuUse(0, "NVIDIA GeForce RTX 4090", 24564, 18231, 97, "570.124.06"),
        GpuUse(1, "NVIDIA GeForce RTX 4090", 24564, 2, 0, "570.124.06"),
    )


def test_what_the_driver_does_not_say_is_unknown_and_not_zero() -> None:
    (card,) = probes.GPU_USE.parse(answered("nvidia_smi_query_na"))
    assert card.use_percent is None


def test_disks_are_read_in_bytes_whatever_they_are_called() -> None:
    parse = probes.disk("/").parse
    assert parse(answered("df_overlay")) == Disk(31457280 << 10, 26738688 << 10, "/")
    volume = parse(answered("df_network_volume"))
    assert volume == Disk(107374182400 << 10, 46170898432 << 10, "/workspace with space")


@pytest.mark.parametrize(
    ("completed", "version"),
    [
        (Completed(0, "Python 3.11.10\n", ""), (3, 11, 10)),
        (Completed(0, "", "Python 2.7.18\n"), (2, 7, 18)),
        (Completed(127, "", "sh: 1: python3: not found\n"), None),
    ],
)
def test_the_version_of_python_is_read(
    completed: Completed, version: tuple[int, int, int] | None
) -> None:
    assert probes.PYTHON.parse(completed) == version


def test_a_machine_answers_all_of_them(shell: Shell) -> None:
    assert probes.disk("/").ask(shell).total_bytes > 0
    version = probes.PYTHON.ask(shell)
    assert version is not None
    assert version >= (3, 0, 0)
    assert isinstance(probes.GPUS.ask(shell), tuple)
    with pytest.raises(GpuctlError, match="`df` failed on the machine"):
        probes.disk("/no/such/place").ask(shell)


def test_a_lost_connection_is_no_answer() -> None:
    class Lost:
        def run(self, argv: tuple[str, ...]) -> Completed:
            return Completed(LOST, "", "")

    with pytest.raises(ConnectionFailed, match="lost before `nvidia-smi` answered"):
        probes.GPUS.ask(Lost())  # type: ignore[arg-type]
