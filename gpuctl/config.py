"""Resolves the layers of configuration into one immutable Settings, each value with its origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuctl.config_files import Entry, defaults, dotenv_entries, yaml_entries
from gpuctl.config_names import OTHER_NAMES as OTHER_NAMES
from gpuctl.config_names import SECRET_KEYS as SECRET_KEYS
from gpuctl.errors import ConfigError
from gpuctl.models import Secret

OPEN_TABLES = ("presets", "sizes", "guidances", "models")
# Keys whose default is null and which are not text.
_NULL_TYPES: dict[str, type] = {"runpod.port": int}


@dataclass(frozen=True, slots=True)
class Value:
    """A resolved value and where it came from (default, environment NAME, file:line)."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One source, values by dotted key."""

    values: Mapping[str, Value]


class Settings:
    """Every key with its winning value. Asking for a key that is not in the schema is a bug."""

    def __init__(
        self, values: Mapping[str, Value], tables: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._values = dict(values)
        self._tables = {name: dict(rows) for name, rows in tables.items()}

    def without(self, keys: Sequence[str], origin: str) -> Settings:
        """The same settings with these keys unset, and `origin` to say why."""
        return Settings(self._values | {key: Value(None, origin) for key in keys}, self._tables)

    def with_default(self, key: str, value: Any, origin: str) -> Settings:
        """The same settings, with `value` where nobody has set `key`."""
        if self._values[key].value is not None:
            return self
        return Settings(self._values | {key: Value(value, origin)}, self._tables)

    def items(self) -> list[tuple[str, Value]]:
        return list(self._values.items())

    def value(self, key: str) -> Value:
        """Raises ConfigError with the nearest key when there is no such key."""
        try:
            return self._values[key]
        except KeyError:
            raise unknown_key(key, self._values, "no such key") from None

    def text(self, key: str) -> str:
        found = self._values[key].value
        if found is None:
            raise ConfigError(f"{key} is not set", hint=f"gpuctl config set {key} VALUE")
        return str(found)

    def text_or_none(self, key: str) -> str | None:
        found = self._values[key].value
        return None if found is None else str(found)

    def integer(self, key: str) -> int:
        return int(self._values[key].value)

    def integer_or_none(self, key: str) -> int | None:
        found = self._values[key].value
        return None if found is None else int(found)

    def number(self, key: str) -> float:
        return float(self._values[key].value)

    def flag(self, key: str) -> bool:
        return bool(self._values[key].value)

    def strings(self, key: str) -> tuple[str, ...]:
        return tuple(str(item) for item in self._values[key].value or ())

    def path(self, key: str) -> Path:
        return Path(self.text(key)).expanduser()

    def secret(self, key: str) -> Secret | None:
        found = self._values[key].value
        return Secret(str(found)) if found else None

    def table(self, name: str) -> Mapping[str, Any]:
        return self._tables[name]


def environment_name(key: str) -> str:
    section, _, name = key.partition(".")
    return f"GPUCTL_{section.upper()}__{name.upper()}"


def load(
    *,
    schema: Path,
    cache_folder: Path | None,
    environ: Mapping[str, str],
    project_folder: Path,
    user_config: Path,
) -> Settings:
    """Resolves: environment > .env > config.env > gpuctl.yaml > user config > `schema`.

    Raises ConfigError for an unknown key, a value of the wrong type or an unreadable file.
    """
    sections = defaults(schema, cache_folder)
    known = _flatten(sections)
    layers = [
        _from_names({n: Entry(v, 0) for n, v in environ.items()}, known, None),
        *(
            _from_names(dotenv_entries(path), known, path)
            for name in (".env", "config.env")
            if (path := project_folder / name).is_file()
        ),
        *(
            _from_yaml(yaml_entries(path), known, path)
            for path in (project_folder / "gpuctl.yaml", user_config)
            if path.is_file()
        ),
    ]
    values = {key: _resolve(key, value, layers) for key, value in known.items()}
    tables = {name: _table(name, sections.get(name, {}), layers) for name in OPEN_TABLES}
    return Settings(values, tables)


def _flatten(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section, rows in sections.items()
        if section not in OPEN_TABLES
        for key, value in rows.items()
    }


def _resolve(key: str, default: Any, layers: Sequence[Layer]) -> Value:
    for layer in layers:
        if key in layer.values:
            found = layer.values[key]
            return Value(_typed(key, found.value, default, found.origin), found.origin)
    return Value(default, "default")


def _table(name: str, rows: Mapping[str, Any], layers: Sequence[Layer]) -> dict[str, Any]:
    merged = {row: dict(value) if isinstance(value, dict) else value for row, value in rows.items()}
    for layer in reversed(layers):
        for key, found in layer.values.items():
            section, _, row = key.partition(".")
            if section != name:
                continue
            old = merged.get(row)
            if isinstance(old, dict) and isinstance(found.value, dict):
                merged[row] = {**old, **found.value}
            else:
                merged[row] = found.value
    return merged


def _from_names(entries: Mapping[str, Entry], known: Mapping[str, Any], path: Path | None) -> Layer:
    by_rule = {environment_name(key): key for key in known}
    values: dict[str, Value] = {}
    for name, entry in entries.items():
        key = by_rule.get(name) or OTHER_NAMES.get(name)
        origin = f"environment {name}" if path is None else f"{path}:{entry.line}"
        if key is not None:
            if entry.value != "":
                values.setdefault(key, Value(entry.value, origin))
        elif name.startswith("STEPS_") and entry.value.isdigit():
            row = name.removeprefix("STEPS_").lower()
            values[f"presets.{row}"] = Value({"steps": int(entry.value)}, origin)
        elif name.startswith("GPUCTL_") and "__" in name:
            raise unknown_key(name, by_rule, origin)
    return Layer(values)


def _from_yaml(entries: Mapping[str, Entry], known: Mapping[str, Any], path: Path) -> Layer:
    values: dict[str, Value] = {}
    for key, entry in entries.items():
        section, _, name = key.partition(".")
        origin = f"{path}:{entry.line}"
        if section == "generation" and name.startswith("steps_"):
            values[f"presets.{name[6:]}"] = Value({"steps": entry.value}, origin)
        elif key in known or section in OPEN_TABLES:
            if key in SECRET_KEYS and entry.value:
                raise ConfigError(
                    f"{origin}: {key} is a secret and does not belong in YAML",
                    hint=f"move it to .env, or type: gpuctl config set {key}",
                )
            values[key] = Value(entry.value, origin)
        else:
            raise unknown_key(key, known, origin)
    return Layer(values)


def unknown_key(key: str, known: Mapping[str, Any], origin: str) -> ConfigError:
    """The error for a key that the schema lacks, with the nearest one that it has."""
    from difflib import get_close_matches  # noqa: PLC0415  only on the way out

    near = get_close_matches(key, list(known), n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "gpuctl config show lists every key"
    return ConfigError(f"{origin}: unknown key {key}", hint=hint)


def typed(key: str, text: str, default: Any) -> Any:
    """`text` in the type of the key's default. Raises ConfigError."""
    return _typed(key, text, default, "command line")


def _typed(key: str, value: Any, default: Any, origin: str) -> Any:
    kind = _NULL_TYPES.get(key, str) if default is None else type(default)
    if value is None or (isinstance(value, str) and value.lower() in ("null", "none")):
        return None
    try:
        return _convert(value, kind)
    except (TypeError, ValueError):
        shown = "***" if key in SECRET_KEYS else repr(value)
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
        raise ConfigError(f"{origin}: {key} must be {wanted}, not {shown}") from None


_WORDS = dict.fromkeys(("true", "yes", "1", "on"), True) | dict.fromkeys(
    ("false", "no", "0", "off"), False
)


def _convert(value: Any, kind: type) -> Any:
    if kind is bool:
        if str(value).lower() not in _WORDS:
            raise ValueError(value)
        return _WORDS[str(value).lower()]
    if kind is list:
        parts = value.split(",") if isinstance(value, str) else value
        return [str(part).strip() for part in parts if str(part).strip()]
    if kind in (int, float) and isinstance(value, bool):
        raise ValueError(value)
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    return kind(value)
