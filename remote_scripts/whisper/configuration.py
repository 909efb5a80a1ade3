"""What the service is told by its environment, checked before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"
# What ctranslate2 takes; auto leaves the choice to WhisperLive: float16 on a GPU, int8 on a CPU.
COMPUTE_TYPES = (
    "auto",
    "int8",
    "int8_float16",
    "int8_float32",
    "int8_bfloat16",
    "int16",
    "float16",
    "bfloat16",
    "float32",
)
WHISPER_PORT, HEALTH_PORT, REST_PORT = 9090, 9999, 8000


class BadConfiguration(Exception):
    """A variable says something that cannot be meant."""


@dataclass(frozen=True)
class Configuration:
    """One service. `max_connection_s`: a client that stays longer is sent away. `rest_port` None =
    no REST. `token`: what clients must show; without it only loopback is listened on."""

    model: str = "small"
    compute_type: str = "auto"
    max_clients: int = 4
    max_connection_s: int = 3600
    host: str = LOOPBACK
    port: int = WHISPER_PORT
    health_port: int = HEALTH_PORT
    rest_port: int | None = None
    token: str | None = None
    cache: str = "/workspace/.cache/whisper"
    is_simulated: bool = False

    def shown(self) -> dict[str, object]:
        """For /status and the log: without the token."""
        return {
            "model": self.model,
            "compute_type": self.compute_type,
            "max_clients": self.max_clients,
            "max_connection_s": self.max_connection_s,
            "host": self.host,
            "port": self.port,
            "health_port": self.health_port,
            "rest_port": self.rest_port,
            "token": "demanded" if self.token else "none",
            "engine": "sim" if self.is_simulated else "faster_whisper",
        }


def from_environment(environ: Mapping[str, str] = os.environ) -> Configuration:
    """Raises BadConfiguration, which names the variable."""
    from worker.ports import port

    token = environ.get("WHISPER_TOKEN") or None
    workspace = environ.get("GPUCTL_WORKSPACE") or "/workspace"
    compute_type = environ.get("WHISPER_COMPUTE_TYPE") or "auto"
    if compute_type not in COMPUTE_TYPES:
        raise BadConfiguration(
            f"WHISPER_COMPUTE_TYPE={compute_type} is none of {', '.join(COMPUTE_TYPES)}"
        )
    has_rest = _flag(environ, "ENABLE_REST")
    return Configuration(
        model=environ.get("WHISPER_MODEL") or "small",
        compute_type=compute_type,
        max_clients=_number(environ, "MAX_CLIENTS", 4),
        max_connection_s=_number(environ, "MAX_CONNECTION_TIME", 3600),
        host=environ.get("WHISPER_HOST") or (EVERYWHERE if token else LOOPBACK),
        port=port(_number(environ, "WHISPER_PORT", WHISPER_PORT)),
        health_port=port(_number(environ, "HEALTH_PORT", HEALTH_PORT)),
        rest_port=port(_number(environ, "REST_PORT", REST_PORT)) if has_rest else None,
        token=token,
        cache=environ.get("WHISPER_CACHE") or f"{workspace}/.cache/whisper",
        is_simulated=environ.get("GPUCTL_ENGINE") == "sim",
    )


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise BadConfiguration(f"{name}={text} is not a whole number from 1 up")
    return int(text)


def _flag(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() in ("1", "true", "yes", "on")
