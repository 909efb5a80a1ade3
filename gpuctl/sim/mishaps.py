"""Boots that lead nowhere: what the system log says, and where the pod gets stuck (§13)."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.sim.faults import Faults


@dataclass(frozen=True, slots=True)
class Mishap:
    """`status` is where the boot ends; RUNNING pods then cannot be reached."""

    kind: str
    status: str
    system: tuple[str, ...] = ()
    container: tuple[str, ...] = ()


MISHAPS: dict[str, Mishap] = {
    mishap.kind: mishap
    for mishap in (
        Mishap(
            "bad-image",
            "STARTING",
            ("error pulling image: manifest for {image} not found: manifest unknown",) * 3,
        ),
        Mishap(
            "private-image",
            "STARTING",
            (
                "error pulling image: pull access denied for {image}, repository does not exist "
                "or may require authorization: denied",
            )
            * 3,
        ),
        Mishap(
            "image-too-large",
            "STARTING",
            ("image pull: {image}: failed to register layer: no space left on device",) * 3,
        ),
        Mishap(
            "old-driver",
            "ERROR",
            (
                "error creating container: OCI runtime create failed: nvidia-container-cli: "
                "requirement error: unsatisfied condition: cuda>=12.8",
            ),
        ),
        Mishap("no-address", "RUNNING"),
        Mishap(
            "crash-loop",
            "RUNNING",
            ("start container",) * 3,
            ("Traceback (most recent call last):", "ModuleNotFoundError: No module named 'torch'")
            * 3,
        ),
    )
}


def drawn(faults: Faults) -> Mishap | None:
    """The first mishap that waits, counted down."""
    for kind, mishap in MISHAPS.items():
        if faults.take(kind) is not None:
            return mishap
    return None
