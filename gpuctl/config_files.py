"""Reads configuration files into flat keys, each with the line it came from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuctl import __version__
from gpuctl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Entry:
    """One value as it stands in a file. `line` counts from 1."""

    value: Any
    line: int


def defaults(path: Path, cache_folder: Path | None) -> dict[str, dict[str, Any]]:
    """The schema file as sections of values. Parsed YAML is kept as JSON in `cache_folder`,
    because importing a YAML parser costs more than everything else a dry run does.

    A cache that cannot be read or written is only slower.
    """
    stat = path.stat()
    stamp = [__version__, str(path), stat.st_mtime_ns, stat.st_size]
    cache = cache_folder / "defaults.json" if cache_folder else None
    if cache is not None:
        try:
            stored = json.loads(cache.read_text(encoding="utf-8"))
            if stored["stamp"] == stamp:
                sections: dict[str, dict[str, Any]] = stored["sections"]
                return sections
        except (OSError, ValueError, KeyError, TypeError):
            pass
    sections = _plain_yaml(path)
    if cache is not None:
        _write_cache(cache, {"stamp": stamp, "sections": sections})
    return sections


def _write_cache(cache: Path, content: Mapping[str, Any]) -> None:
    temporary = cache.with_suffix(f".{os.getpid()}.tmp")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(cache)
    except OSError:
        return


def _plain_yaml(path: Path) -> dict[str, dict[str, Any]]:
    import yaml  # noqa: PLC0415  30 ms, and only without the cache

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return {str(section): dict(rows or {}) for section, rows in (content or {}).items()}


def yaml_entries(path: Path) -> dict[str, Entry]:
    """`section.key` → Entry for a user's YAML file. Raises ConfigError naming file and line."""
    import yaml  # noqa: PLC0415  30 ms, and only when such a file exists

    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "not a text file"
        raise ConfigError(f"{where} is not valid YAML: {problem}") from error
    if root is None or values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold sections with keys, like config_defaults.yaml")
    entries: dict[str, Entry] = {}
    for section_node, rows_node in root.value:
        rows = values.get(section_node.value)
        line = section_node.start_mark.line + 1
        if not isinstance(rows, dict):
            raise ConfigError(f"{path}:{line}: the section '{section_node.value}' holds no keys")
        for key_node, _ in rows_node.value:
            entries[f"{section_node.value}.{key_node.value}"] = Entry(
                rows.get(key_node.value, rows.get(_as_scalar(key_node.value))),
                key_node.start_mark.line + 1,
            )
    return entries


def _as_scalar(text: str) -> object:
    return int(text) if text.isdigit() else text


def dotenv_entries(path: Path) -> dict[str, Entry]:
    """NAME → Entry of a `.env` file (also with `export`). Raises ConfigError on a broken line."""
    from dotenv.parser import parse_stream  # noqa: PLC0415  only when such a file exists

    entries: dict[str, Entry] = {}
    try:
        with path.open(encoding="utf-8") as stream:
            for binding in parse_stream(stream):
                if binding.error:
                    raise ConfigError(
                        f"{path}:{binding.original.line} is not NAME=value",
                        hint="quote values that hold spaces or quotes",
                    )
                if binding.key and binding.value is not None:
                    entries[binding.key] = Entry(binding.value, binding.original.line)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return entries


def set_in_yaml(path: Path, dotted: str, value: str) -> None:
    """Sets one key in a YAML file and leaves every other line, comments included, as it is."""
    section, _, key = dotted.partition(".")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    start = next(
        (n for n, line in enumerate(lines) if line.split("#")[0].rstrip() == f"{section}:"), None
    )
    new_line = f"  {key}: {value}"
    if start is None:
        lines += [*([""] if lines else []), f"{section}:", new_line]
    else:
        end = start + 1
        while end < len(lines) and (not lines[end].strip() or lines[end][0] in " \t#"):
            if lines[end].strip().startswith(f"{key}:"):
                lines[end] = new_line
                break
            end += 1
        else:
            lines.insert(start + 1, new_line)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)
