"""What gpuctl relies on of RunPod's REST v2, held against the description that is live now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpuctl import resources
from gpuctl.models import Json

METHODS = ("get", "put", "post", "patch", "delete")
DEPTH = 4


@dataclass
class Drift:
    """`broken` stops us, `gone` is read but not described any more, `added` is news."""

    broken: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    undescribed: int = 0

    def as_json(self) -> Json:
        return {"broken": self.broken, "gone": self.gone, "added": self.added}


def built_on() -> dict[str, Json]:
    """`METHOD /path` → `fields` and `required` of its body as they were described when gpuctl was
    built, `sends` and `reads`: what gpuctl uses of them."""
    found: dict[str, Json] = json.loads(
        resources.data("runpod_contract.json").read_text(encoding="utf-8")
    )
    return found


def compare(live: Json, wanted: Mapping[str, Json] | None = None) -> Drift:
    """A description without schemas can only be held to its paths: `undescribed` counts those."""
    drift = Drift()
    described = dict(_operations(live))
    for operation, uses in (wanted or built_on()).items():
        if operation not in described:
            drift.broken.append(f"{operation} is gone")
            continue
        _compare_body(drift, operation, uses, described[operation], live)
        _compare_answer(drift, operation, uses, described[operation], live)
    return drift


def body_facts(document: Json, operation: str) -> Json:
    """`fields` (dotted) and `required` of an operation's JSON body. Empty without one."""
    schema = _body(dict(_operations(document))[operation])
    if schema is None:
        return {"fields": [], "required": []}
    return {
        "fields": sorted(_fields(schema, document)),
        "required": sorted(_required(schema, document)),
    }


def answer_fields(document: Json, operation: str) -> set[str]:
    """The dotted fields of an operation's success answer. Empty where none is described."""
    schema = _answer(dict(_operations(document))[operation])
    return set(_fields(schema, document)) if schema else set()


def _compare_body(drift: Drift, operation: str, uses: Json, found: Json, live: Json) -> None:
    schema = _body(found)
    if schema is None:
        drift.undescribed += bool(uses.get("sends"))
        return
    fields, required = set(_fields(schema, live)), _required(schema, live)
    sends = set(uses.get("sends", ()))
    drift.broken += [f"{operation} no longer takes {name}" for name in sorted(sends - fields)]
    new = sorted(required - set(uses.get("required", ())) - sends)
    drift.broken += [f"{operation} now demands {name}" for name in new]
    known = set(uses.get("fields", ()))
    top = {name for name in fields - known if name.rpartition(".")[0] in (known | {""})}
    drift.added += [f"{operation} also takes {name}" for name in sorted(top - set(new))]


def _compare_answer(drift: Drift, operation: str, uses: Json, found: Json, live: Json) -> None:
    schema = _answer(found)
    if schema is None:
        return
    missing = set(uses.get("reads", ())) - set(_fields(schema, live))
    drift.gone += [f"{operation} no longer tells {name}" for name in sorted(missing)]


def _operations(document: Json) -> Iterator[tuple[str, Json]]:
    paths = document.get("paths")
    for path, methods in paths.items() if isinstance(paths, dict) else ():
        for method, operation in methods.items() if isinstance(methods, dict) else ():
            if method in METHODS and isinstance(operation, dict):
                yield f"{method.upper()} {path}", operation


def _body(operation: Json) -> Json | None:
    return _schema(operation.get("requestBody"))


def _answer(operation: Json) -> Json | None:
    answers = operation.get("responses")
    for status in ("200", "201"):
        if isinstance(answers, dict) and (schema := _schema(answers.get(status))) is not None:
            return schema
    return None


def _schema(part: Any) -> Json | None:
    content = part.get("content") if isinstance(part, dict) else None
    media = content.get("application/json") if isinstance(content, dict) else None
    schema = media.get("schema") if isinstance(media, dict) else None
    return schema if isinstance(schema, dict) else None


def _resolved(schema: Any, document: Json) -> Json:
    """Follows `$ref`; what leads nowhere is an empty schema."""
    for _ in range(DEPTH):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str):
            break
        schema = document
        for step in reference.removeprefix("#/").split("/"):
            schema = schema.get(step, {}) if isinstance(schema, dict) else {}
    return schema if isinstance(schema, dict) else {}


def _parts(schema: Any, document: Json, depth: int = 2 * DEPTH) -> Iterator[Json]:
    """The schema and everything it is put together from."""
    whole = _resolved(schema, document)
    yield whole
    for keyword in ("allOf", "oneOf", "anyOf") if depth else ():
        for part in _items(whole.get(keyword)):
            yield from _parts(part, document, depth - 1)


def _fields(schema: Any, document: Json, prefix: str = "", depth: int = DEPTH) -> Iterator[str]:
    for part in _parts(schema, document):
        if depth and isinstance(part.get("items"), dict):
            yield from _fields(part["items"], document, prefix, depth - 1)
        properties = part.get("properties")
        for name, inner in properties.items() if isinstance(properties, dict) else ():
            yield prefix + name
            if depth:
                yield from _fields(inner, document, f"{prefix}{name}.", depth - 1)


def _required(schema: Any, document: Json, depth: int = 2 * DEPTH) -> set[str]:
    """Names that every body must have: those of alternatives do not count."""
    whole = _resolved(schema, document)
    found = {str(name) for name in _items(whole.get("required"))}
    for part in _items(whole.get("allOf")) if depth else ():
        found |= _required(part, document, depth - 1)
    return found


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
