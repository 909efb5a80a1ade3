"""Closed request bodies: each field's rule, and a 422 that names every violation at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gpuctl.models import Json
from gpuctl.sim.problems import Problem

# A rule gives back what is wrong with a value, or nothing.
Rule = Callable[[Any], str | None]
CUDA = re.compile(r"\d+\.\d+")
KEY = re.compile(r"(ssh|ecdsa|sk)-[^\s]+ [^\s]+([ \t][^\n\r]*)?")


def text(minimum: int = 0) -> Rule:
    def rule(value: Any) -> str | None:
        if not isinstance(value, str):
            return "must be a string"
        return None if len(value) >= minimum else "must not be empty"

    return rule


def whole(minimum: int, maximum: int | None = None) -> Rule:
    def rule(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be an integer"
        if value < minimum or (maximum is not None and value > maximum):
            return f"must be at least {minimum}" + (f", at most {maximum}" if maximum else "")
        return None

    return rule


def boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be a boolean"


def one_of(*names: str) -> Rule:
    return lambda value: None if value in names else f"must be one of {', '.join(names)}"


def matching(pattern: re.Pattern[str]) -> Rule:
    def rule(value: Any) -> str | None:
        fits = isinstance(value, str) and pattern.fullmatch(value)
        return None if fits else f"must match {pattern.pattern}"

    return rule


def nullable(inner: Rule) -> Rule:
    return lambda value: None if value is None else inner(value)


def array(inner: Rule, maximum: int | None = None) -> Rule:
    def rule(value: Any) -> str | None:
        if not isinstance(value, list):
            return "must be an array"
        if maximum is not None and len(value) > maximum:
            return f"must have at most {maximum} items"
        return next((f"[{i}] {bad}" for i, v in enumerate(value) if (bad := inner(v))), None)

    return rule


def mapping(inner: Rule) -> Rule:
    def rule(value: Any) -> str | None:
        if not isinstance(value, dict):
            return "must be an object"
        return next((f"{name} {bad}" for name, v in value.items() if (bad := inner(v))), None)

    return rule


def closed(fields: Mapping[str, Rule], required: tuple[str, ...] = ()) -> Rule:
    def rule(value: Any) -> str | None:
        return "; ".join(violations(value, fields, required)) or None

    return rule


def violations(value: Any, fields: Mapping[str, Rule], required: tuple[str, ...]) -> list[str]:
    if not isinstance(value, dict):
        return ["must be an object"]
    missing = [f"{name}: is required" for name in required if name not in value]
    unknown = [f"{name}: is not allowed" for name in value if name not in fields]
    wrong = [
        f"{name}: {bad}"
        for name, rule in fields.items()
        if name in value and (bad := rule(value[name]))
    ]
    return missing + unknown + wrong


MOUNTS = closed(
    {
        "persistent": closed({"size": whole(10), "path": text()}, ("size", "path")),
        "network": array(closed({"volumeId": text(), "path": text()}, ("volumeId", "path")), 1),
    }
)
CONTAINER: dict[str, Rule] = {
    "args": text(),
    "disk": whole(1),
    "env": mapping(text()),
    "image": text(),
    "ports": array(matching(re.compile(r"\d+/(http|tcp)"))),
    "registry": nullable(text()),
}
GPU = closed(
    {
        "id": text(),
        "count": whole(1),
        "allowedCudaVersions": array(matching(CUDA)),
        "minCudaVersion": matching(CUDA),
    },
    ("id",),
)
CREATE_POD: dict[str, Rule] = {
    **CONTAINER,
    "name": text(1),
    "cloud": one_of("SECURE", "COMMUNITY"),
    "cpu": closed({"id": text(1), "vcpuCount": whole(2)}, ("id", "vcpuCount")),
    "dataCenterIds": array(text()),
    "globalNetworking": boolean,
    "gpu": GPU,
    "mounts": MOUNTS,
    "startJupyter": boolean,
    "startSsh": boolean,
    "templateId": text(1),
}
UPDATE_POD: dict[str, Rule] = {
    **CONTAINER,
    "globalNetworking": boolean,
    "locked": boolean,
    "mounts": MOUNTS,
    "name": text(1),
    "templateId": text(),
}
ACTION: dict[str, Rule] = {"action": one_of("start", "stop", "restart", "terminate")}
KEYS: dict[str, Rule] = {"keys": array(matching(KEY))}
CREATE_VOLUME: dict[str, Rule] = {
    "dataCenter": text(1),
    "name": text(1),
    "size": whole(10, 4096),
    "type": one_of("STANDARD", "HIGH_PERFORMANCE"),
}
UPDATE_VOLUME: dict[str, Rule] = {"name": text(1), "size": whole(10, 4096)}
FAULT: dict[str, Rule] = {
    "kind": text(1),
    "times": nullable(whole(1)),
    "value": nullable(text()),
}


def check(body: Any, fields: Mapping[str, Rule], required: tuple[str, ...] = ()) -> Json:
    """The body when it obeys. Raises Problem 422 with every violation."""
    errors = violations(body, fields, required)
    if errors:
        raise Problem(422, "request body does not match the schema", errors)
    result: Json = body
    return result


def check_create_pod(body: Any) -> Json:
    """Raises Problem 422 for the shape, 400 for the choice between gpu and cpu."""
    has_template = isinstance(body, dict) and "templateId" in body
    checked = check(body, CREATE_POD, ("name",) if has_template else ("name", "image"))
    if ("gpu" in checked) == ("cpu" in checked):
        raise Problem(400, "exactly one of gpu or cpu must be given")
    gpu = checked.get("gpu", {})
    if gpu.get("allowedCudaVersions") and "minCudaVersion" in gpu:
        raise Problem(400, "allowedCudaVersions and minCudaVersion exclude each other")
    mounts = checked.get("mounts", {})
    if len(mounts) > 1:
        raise Problem(400, "persistent and network mounts exclude each other")
    if mounts.get("network") == []:
        raise Problem(400, "mounts.network must not be empty")
    return checked
