"""Takes what the older scripts' `config.env` and `.env` files say into gpuctl's own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from gpuctl.config import OTHER_NAMES, Settings, environment_name, typed
from gpuctl.errors import ConfigError, NotFound

# Names of the older scripts whose values need another spelling, beside config.OTHER_NAMES.
_RENAMED = {
    "RUNPOD_GPU_TYPE": "runpod.gpu",
    "RUNPOD_CLOUD_TYPE": "runpod.cloud",
    "RUNPOD_NETWORK_VOLUME_ID": "runpod.volume_id",
    "RUNPOD_SSH_KEY": "ssh.key",
    "CLAUDE_API_KEY": "claude.api_key",
    "HUGGING_FACE_HUB_TOKEN": "huggingface.token",
    "DOCKER_USERNAME": "dockerhub.username",
    "DOCKER_HUB_TOKEN": "dockerhub.token",
}
_LOWER = frozenset({"runpod.cloud"})
_STEPS = "STEPS_"


@dataclass
class Import:
    """`values` by key and `steps` by name; `taken` says from which name each key came."""

    path: Path
    values: dict[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def read(path: Path, settings: Settings, home: Path) -> Import:
    """Raises NotFound, ConfigError for a file that cannot be read. A line that is not understood
    is reported, never fatal: these files were shell scripts."""
    from dotenv.parser import parse_stream  # noqa: PLC0415  only for --import

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", hint="gpuctl setup --import FILE") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    found = Import(path)
    known = dict(settings.items())
    by_rule = {environment_name(key): key for key in known}
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key and binding.value is None):
            found.refused.append(f"line {binding.original.line} is not NAME=value")
        elif binding.key and binding.value:
            key = by_rule.get(binding.key) or _RENAMED.get(binding.key)
            key = key or OTHER_NAMES.get(binding.key)
            _take(found, binding.key, key, _expanded(binding.value, home), known)
    return found


def _take(
    found: Import, name: str, key: str | None, value: str, known: Mapping[str, object]
) -> None:
    if name.startswith(_STEPS) and value.isdigit():
        found.steps[name] = value
        found.taken[name] = name
    elif key is None or key not in known:
        found.unknown.append(name)
    else:
        value = value.lower() if key in _LOWER else value
        try:
            typed(key, value, getattr(known[key], "value", None))
        except ConfigError as error:
            found.refused.append(f"{name}: {error.message.removeprefix('command line: ')}")
            return
        found.values[key] = value
        found.taken[key] = name


def _expanded(value: str, home: Path) -> str:
    """The shell that used to read the file knew $HOME; nothing else is expanded."""
    for form in ("${HOME}", "$HOME"):
        value = value.replace(form, str(home))
    return value
