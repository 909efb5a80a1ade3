"""Makes an OCI image out of a Dockerfile without an engine: for the simulator. Pure but for reads.

What RUN would do is not done: its files are missing, its line stands in the history. Everything
else – files of the context, environment, ports, user, commands, labels – is as an engine has it,
and the same context gives the same digest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shlex
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gpuctl.images import dockerfiles, manifests
from gpuctl.images.dockerfiles import Instruction, expanded
from gpuctl.models import Json

LABEL = "gpuctl.simulated"
_EPOCH = "1970-01-01T00:00:00Z"
_LEFT_OUT = frozenset({"__pycache__", ".git"})
# What the bases say of CUDA themselves: nvidia/cuda:12.8.1-…, …-cu1281-… (see their ENV).
_CUDA_BASE = re.compile(r"nvidia/cuda:(\d+)\.(\d+)\.(\d+)|[-.]cu(\d\d)(\d)(\d)-")


@dataclass(frozen=True, slots=True)
class SimulatedImage:
    """The blobs of an image: bytes as a registry keeps them."""

    config: bytes
    layer: bytes
    manifest: bytes


@dataclass
class _Draft:
    """The runtime configuration as it grows, instruction by instruction."""

    values: dict[str, str]
    env: dict[str, str] = field(default_factory=dict)
    runtime: Json = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    history: list[Json] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return str(self.runtime.get("WorkingDir", "/"))


def made(
    content: str,
    context: Path,
    *,
    arguments: Mapping[str, str],
    labels: Mapping[str, str],
    platform: str | None,
) -> SimulatedImage:
    """The image of the last stage."""
    draft = _Draft(values=_global_values(content, arguments))
    image = dockerfiles.last_image(content)
    base = expanded(image.base, draft.values)
    draft.env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    draft.env |= _base_environment(base)
    draft.labels["gpuctl.base"] = base
    for instruction in image.instructions:
        _apply(draft, instruction, arguments, context)
    draft.labels |= {**labels, LABEL: "true"}
    return _packed(draft, platform or manifests.DEFAULT_PLATFORM)


def _global_values(content: str, arguments: Mapping[str, str]) -> dict[str, str]:
    before, _ = dockerfiles.stages(content)
    known = dockerfiles.arguments("\n".join(map(str, before)))
    return {name: arguments.get(name, default or "") for name, default in known.items()}


def _base_environment(base: str) -> dict[str, str]:
    found = _CUDA_BASE.search(base)
    if found is None:
        return {}
    major, minor, patch = [part for part in found.groups() if part is not None]
    return {
        "CUDA_VERSION": f"{major}.{minor}.{patch}",
        "NVIDIA_REQUIRE_CUDA": f"cuda>={major}.{minor}",
    }


def _apply(
    draft: _Draft, instruction: Instruction, arguments: Mapping[str, str], context: Path
) -> None:
    word, text = instruction.word, instruction.text
    is_file = word in ("COPY", "ADD")
    if word == "ARG":
        _argument(draft, text, arguments)
    elif word in ("ENV", "LABEL"):
        target = draft.env if word == "ENV" else draft.labels
        target |= _pairs(expanded(text, {**draft.values, **draft.env}))
    elif is_file:
        _copy(draft, expanded(text, {**draft.values, **draft.env}), context)
    else:
        _runtime(draft, word, text)
    shown = text if word == "RUN" else expanded(text, {**draft.values, **draft.env})
    draft.history.append(
        {
            "created": _EPOCH,
            "created_by": f"{word} {shown} # simulated",
            **({} if is_file else {"empty_layer": True}),
        }
    )


def _argument(draft: _Draft, text: str, arguments: Mapping[str, str]) -> None:
    for name, default in dockerfiles.arguments(f"ARG {text}").items():
        known = draft.values.get(name, "")
        value = expanded(default, {**draft.values, **draft.env}) if default is not None else known
        draft.values[name] = arguments.get(name, value)


def _pairs(text: str) -> dict[str, str]:
    words = dockerfiles.split(text)
    if words and "=" not in words[0]:  # the old form: ENV NAME the rest
        name, _, rest = text.partition(" ")
        return {name: rest.strip()}
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _runtime(draft: _Draft, word: str, text: str) -> None:
    text = expanded(text, {**draft.values, **draft.env}) if word != "RUN" else text
    runtime = draft.runtime
    if word == "EXPOSE":
        ports: Json = {port if "/" in port else f"{port}/tcp": {} for port in text.split()}
        runtime["ExposedPorts"] = {**runtime.get("ExposedPorts", {}), **ports}
    elif word == "USER":
        runtime["User"] = text
    elif word == "WORKDIR":
        runtime["WorkingDir"] = str(PurePosixPath(draft.folder) / text)
    elif word in ("CMD", "ENTRYPOINT"):
        runtime[word.capitalize()] = _command(text)
    elif word == "HEALTHCHECK":
        runtime["Healthcheck"] = _healthcheck(text)


def _command(text: str) -> list[str]:
    try:
        words = json.loads(text)
    except ValueError:
        return ["/bin/sh", "-c", text]
    return [str(word) for word in words]


def _healthcheck(text: str) -> Json:
    command = re.split(r"\bCMD\s+", text, maxsplit=1)
    if len(command) == 1:
        return {"Test": ["NONE"]}
    words = _command(command[1])
    is_shell = words[:2] == ["/bin/sh", "-c"]
    return {"Test": ["CMD-SHELL", words[2]] if is_shell else ["CMD", *words]}


def _copy(draft: _Draft, text: str, context: Path) -> None:
    words = _command(text) if text.startswith("[") else shlex.split(text)
    options = [word for word in words if word.startswith("--")]
    *sources, target = [word for word in words if not word.startswith("--")] or [""]
    if any(option.startswith("--from") for option in options):
        return  # from another stage or image: nothing of it is here
    is_folder = target.endswith("/") or len(sources) > 1
    place = PurePosixPath(draft.folder) / target
    for source in sources:
        for path in _matching(context, source):
            if path.is_dir():
                draft.files |= {str(place / name): file for name, file in _below(path)}
            else:
                draft.files[str(place / path.name if is_folder else place)] = path


def _matching(context: Path, source: str) -> list[Path]:
    """Nothing outside the context can be copied."""
    relative = source.lstrip("/") or "."
    if ".." in PurePosixPath(relative).parts:
        return []
    return [context] if relative in (".", "./") else sorted(context.glob(relative.rstrip("/")))


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if path.is_file() and not _LEFT_OUT.intersection(inner.parts) and path.suffix != ".pyc":
            yield inner.as_posix(), path


def _packed(draft: _Draft, platform: str) -> SimulatedImage:
    archive = _archive(draft.files)
    layer = gzip.compress(archive, 6, mtime=0)
    system, _, architecture = platform.partition("/")
    runtime = {
        **draft.runtime,
        "Env": [f"{name}={value}" for name, value in draft.env.items()],
        "Labels": draft.labels,
    }
    document: Json = {
        "created": _EPOCH,
        "os": system,
        "architecture": architecture.partition("/")[0],
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": [_digest(archive)]},
        "history": draft.history,
    }
    config = _json(document)
    described = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_MANIFEST,
        "config": _described(manifests.OCI_CONFIG, config),
        "layers": [_described(manifests.OCI_LAYER, layer)],
        "annotations": {LABEL: "true"},
    }
    return SimulatedImage(config, layer, _json(described))


def _archive(files: Mapping[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, path in sorted(files.items()):
            body = path.read_bytes()
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode = len(body), 0o755 if path.stat().st_mode & 0o100 else 0o644
            archive.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def _described(media_type: str, body: bytes) -> Json:
    return {"mediaType": media_type, "digest": _digest(body), "size": len(body)}


def _json(document: Json) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
