"""Whisper: speech in, words out. A service on a machine; its audio never becomes a job there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gpuctl.models import Json, Need
from gpuctl.workloads import base

NAME = "whisper"
TITLE = "speech to text"
COMMAND = "transcribe"
EXAMPLE = "transcribe talk.wav"
PLACE: base.Place = "service"
FORMATS = {
    "txt": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "json": "application/json",
    "tsv": "text/tab-separated-values",
}
WHISPER_PORT, HEALTH_PORT, REST_PORT = 9090, 9999, 8000
PORTS = ("22/tcp", f"{WHISPER_PORT}/http", f"{HEALTH_PORT}/http")


def need(section: Mapping[str, Any]) -> Need:
    """No image by default: it is our own, named after the account that it was pushed to."""
    found = base.need({**section, "image": section["image"] or ""})
    return replace(found, ports=PORTS)


def environment(section: Mapping[str, Any]) -> dict[str, str]:
    """What the container is told: the names of remote_scripts/whisper/configuration.py."""
    told = {
        "WHISPER_MODEL": section["model"],
        "WHISPER_COMPUTE_TYPE": section["compute_type"],
        "MAX_CLIENTS": section["max_clients"],
        "MAX_CONNECTION_TIME": section["max_connection_s"],
        "ENABLE_REST": "1" if section["rest"] else None,
        "WHISPER_TOKEN": section["token"],
    }
    return {name: str(value) for name, value in told.items() if value}


def socket_url(machine_id: str) -> str:
    """Where RunPod's proxy offers a pod's WebSocket (workloads.md §2; only with a token)."""
    return f"wss://{machine_id}-{WHISPER_PORT}.proxy.runpod.net"


def health_url(machine_id: str) -> str:
    return f"https://{machine_id}-{HEALTH_PORT}.proxy.runpod.net"


def file_name(order: Json, told: Json, artifact: Json) -> tuple[str, str]:  # noqa: ARG001
    return str(told.get("prompt") or "transcript"), str(order.get("format", "txt"))


def summary(order: Json, metrics: Json, files: int) -> list[str]:  # noqa: ARG001  the protocol's
    audio_s, elapsed_s = float(metrics.get("audio_s") or 0), float(metrics.get("elapsed_s") or 0)
    parts = [f"{audio_s:.0f} s of audio", f"model {order.get('model')}"]
    if audio_s and elapsed_s:
        parts.append(f"{audio_s / elapsed_s:.1f}× real time")
    return parts


def canary_input(section: Mapping[str, Any]) -> Json | None:  # noqa: ARG001  the protocol's
    """None: it is tried by a recording that it must hear right (services/whisper_checks.py)."""
    return None
