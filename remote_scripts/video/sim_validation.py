"""What ComfyUI says of a graph before it runs it: every error by its type (workloads.md §4.1)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Known = Callable[[], Mapping[str, Json]]
SHOWN_CHOICES = 20


class Verdict:
    """`outputs` are the nodes to run; without any, `error` says why. `node_errors` may stand
    beside either."""

    def __init__(self, outputs: list[str], error: Json | None, node_errors: Json) -> None:
        self.outputs, self.error, self.node_errors = outputs, error, node_errors


def validate(graph: Any, classes: Mapping[str, Json], *, is_new: bool) -> Verdict:
    """`classes` as `/object_info` shows them, `is_new`: the words of servers from 0.36 on."""
    errors = (_class_error(key, node, classes, is_new) for key, node in graph.items())
    if error := next(filter(None, errors), None):
        return Verdict([], error, {})
    outputs = [n for n, node in graph.items() if classes[node["class_type"]]["output_node"]]
    if not outputs:
        return Verdict([], _error("prompt_no_outputs", "Prompt has no outputs", ""), {})
    check = _Check(graph, classes, is_new)
    good, details = [], []
    for output in outputs:
        before = set(check.node_errors)
        if check.is_valid(output):
            good.append(output)
            continue
        details += check.reasons(set(check.node_errors) - before or {output})
        for node_errors in check.node_errors.values():
            if output not in node_errors["dependent_outputs"]:
                node_errors["dependent_outputs"].append(output)
    if good:
        return Verdict(good, None, check.node_errors)
    kind, message = "prompt_outputs_failed_validation", "Prompt outputs failed validation"
    # Old builds left `details` empty in most cases; the node errors are what counts.
    return Verdict(
        [], _error(kind, message, "\n".join(details) if is_new else ""), check.node_errors
    )


def prompt_id_problem(prompt_id: object, *, is_new: bool) -> Json | None:
    """New servers compare ids letter by letter, so they take the canonical form alone."""
    if prompt_id is None or not is_new:
        return None
    try:
        if isinstance(prompt_id, str) and str(uuid.UUID(prompt_id)) == prompt_id:
            return None
    except ValueError:
        pass
    return _error(
        "invalid_prompt_id",
        "prompt_id must be a valid UUID",
        "prompt_id must be a UUID string in canonical lowercase hyphenated form",
    )


def no_prompt() -> Json:
    return _error("no_prompt", "No prompt provided", "No prompt provided")


def is_link(value: object) -> bool:
    return isinstance(value, list)


class _Check:
    def __init__(self, graph: Json, classes: Mapping[str, Json], is_new: bool) -> None:
        self._graph, self._classes, self._is_new = graph, classes, is_new
        self._seen: dict[str, bool] = {}
        self._path: list[str] = []
        self.node_errors: Json = {}

    def is_valid(self, node_id: str) -> bool:
        if node_id in self._seen:
            return self._seen[node_id]
        if node_id in self._path:
            kind = "dependency_cycle" if self._is_new else "exception_during_validation"
            cycle = " -> ".join([*self._path, node_id])
            self._add(node_id, _error(kind, "Dependency cycle detected", cycle))
            return False
        self._path.append(node_id)
        found = all([self._is_input_valid(node_id, *spec) for spec in self._inputs(node_id)])
        self._path.pop()
        self._seen[node_id] = found
        return found

    def reasons(self, node_ids: set[str]) -> list[str]:
        return [
            f"{error['message']}: {error['details']}"
            for node_id in sorted(node_ids & set(self.node_errors))
            for error in self.node_errors[node_id]["errors"]
        ]

    def _inputs(self, node_id: str) -> list[tuple[str, list[Any], bool]]:
        info = self._classes[self._graph[node_id]["class_type"]]["input"]
        required = [(name, spec, True) for name, spec in info["required"].items()]
        return required + [(name, spec, False) for name, spec in info["optional"].items()]

    def _is_input_valid(self, node_id: str, name: str, spec: list[Any], required: bool) -> bool:
        given = self._graph[node_id].get("inputs", {})
        if name not in given:
            if required:
                error = _error("required_input_missing", "Required input is missing", name)
                self._add(node_id, {**error, "extra_info": {"input_name": name}})
            return not required
        value = given[name]
        if is_link(value):
            return self._is_link_valid(node_id, name, spec, value)
        problem = _value_problem(name, spec, value, self._is_new)
        if problem:
            kind, message, details = problem
            extra = {"input_name": name, "input_config": _config(spec), "received_value": value}
            self._add(node_id, {**_error(kind, message, details), "extra_info": extra})
        return problem is None

    def _is_link_valid(self, node_id: str, name: str, spec: list[Any], value: list[Any]) -> bool:
        extra = {"input_name": name, "input_config": spec, "received_value": value}
        if len(value) != 2 or not isinstance(value[1], int):
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            error = _error("bad_linked_input", message, name)
            self._add(node_id, {**error, "extra_info": extra})
            return False
        try:
            kind = self._classes[self._graph[str(value[0])]["class_type"]]["output"][value[1]]
        except (KeyError, IndexError) as problem:
            error = _error(
                "exception_during_inner_validation",
                "Exception when validating inner node",
                str(problem) if isinstance(problem, KeyError) else "tuple index out of range",
            )
            self._add(node_id, {**error, "extra_info": {**extra, "linked_node": value}})
            return False
        wanted = "COMBO" if isinstance(spec[0], list) else spec[0]
        if kind != wanted and not {kind, wanted} <= {"INT", "FLOAT"}:
            details = f"{name}, received_type({kind}) mismatch input_type({wanted})"
            error = _error(
                "return_type_mismatch", "Return type mismatch between linked nodes", details
            )
            self._add(node_id, {**error, "extra_info": {**extra, "received_type": kind}})
            return False
        return self.is_valid(str(value[0]))

    def _add(self, node_id: str, error: Json) -> None:
        entry = self.node_errors.setdefault(
            node_id,
            {
                "errors": [],
                "dependent_outputs": [],
                "class_type": self._graph[node_id]["class_type"],
            },
        )
        entry["errors"].append(error)


def _class_error(node_id: str, node: Any, classes: Mapping[str, Json], is_new: bool) -> Json | None:
    name = node.get("class_type")
    if name in classes:
        return None
    details = f"Node ID '#{node_id}'"
    if is_new:
        message = f"Node '{name}' not found. The custom node may not be installed."
        extra = {"node_id": node_id, "class_type": name, "node_title": name}
        return {**_error("missing_node_type", message, details), "extra_info": extra}
    message = f"Cannot execute because node {name} does not exist."
    if name is None:
        message = "Cannot execute because a node is missing the class_type property."
    return _error("invalid_prompt", message, details)


def _value_problem(
    name: str, spec: list[Any], value: Any, is_new: bool
) -> tuple[str, str, str] | None:
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    if options.get("image_upload"):
        if value in kind:
            return None
        message = "Custom validation failed for node"
        return "custom_validation_failed", message, f"{name} - Invalid image file: {value}"
    if kind == "COMBO" and options.get("dynamic"):
        is_bad = is_new and value not in options["options"]
        return ("invalid_dynamic_input", "Invalid dynamic input", name) if is_bad else None
    if isinstance(kind, list):
        if value in kind:
            return None
        shown = kind if len(kind) <= SHOWN_CHOICES else f"(list of length {len(kind)})"
        return "value_not_in_list", "Value not in list", f"{name}: '{value}' not in {shown}"
    return _number_problem(name, kind, options, value)


def _number_problem(name: str, kind: str, options: Json, value: Any) -> tuple[str, str, str] | None:
    if kind not in ("INT", "FLOAT"):
        return None
    try:
        number = int(value) if kind == "INT" else float(value)
    except (ValueError, TypeError) as problem:
        message = f"Failed to convert an input value to a {kind} value"
        return "invalid_input_type", message, f"{name}, {value}, {problem}"
    if number < options.get("min", number):
        message = f"Value {number} smaller than min of {options['min']}"
        return "value_smaller_than_min", message, name
    if number > options.get("max", number):
        return "value_bigger_than_max", f"Value {number} bigger than max of {options['max']}", name
    return None


def _config(spec: list[Any]) -> list[Any] | None:
    is_long = isinstance(spec[0], list) and len(spec[0]) > SHOWN_CHOICES
    return None if is_long else spec


def _error(kind: str, message: str, details: str) -> Json:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}
