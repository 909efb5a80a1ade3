"""The API that gpuctl was built on, against the one that is live."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuctl.services import contract
from tests.support.openapi import description_file


@pytest.fixture
def official() -> Any:
    return json.loads(description_file().read_text(encoding="utf-8"))


def schema_of(document: Any, name: str) -> Any:
    return document["components"]["schemas"][name]


def create_pod(document: Any) -> Any:
    """The part of the create body that has the pod's own fields."""
    return next(part for part in schema_of(document, "CreatePodRequest")["allOf"] if "type" in part)


@pytest.mark.openapi
def test_the_file_says_of_each_operation_what_the_official_description_says(official: Any) -> None:
    for operation, facts in contract.built_on().items():
        described = contract.body_facts(official, operation)
        assert facts.get("fields", []) == described["fields"], operation
        assert facts.get("required", []) == described["required"], operation
        assert set(facts.get("sends", ())) <= set(described["fields"]), operation
        assert set(facts.get("reads", ())) <= contract.answer_fields(official, operation), operation


@pytest.mark.openapi
def test_the_official_description_has_not_drifted_from_itself(official: Any) -> None:
    assert contract.compare(official) == contract.Drift()


@pytest.mark.openapi
def test_an_operation_that_is_gone_breaks_us(official: Any) -> None:
    del official["paths"]["/v2/pods/{id}/action"]
    assert contract.compare(official).broken == ["POST /v2/pods/{id}/action is gone"]


@pytest.mark.openapi
def test_a_field_that_is_not_taken_any_more_breaks_us(official: Any) -> None:
    fields = create_pod(official)["properties"]
    fields["sshEnabled"] = fields.pop("startSsh")
    drift = contract.compare(official)
    assert drift.broken == ["POST /v2/pods no longer takes startSsh"]
    assert drift.added == ["POST /v2/pods also takes sshEnabled"]


@pytest.mark.openapi
def test_a_field_that_is_demanded_and_not_sent_breaks_us(official: Any) -> None:
    body = create_pod(official)
    body["properties"]["projectId"] = {"type": "string"}
    body["required"] = [*body["required"], "projectId"]
    drift = contract.compare(official)
    assert drift.broken == ["POST /v2/pods now demands projectId"]


@pytest.mark.openapi
def test_a_field_that_is_not_told_any_more_is_a_warning(official: Any) -> None:
    pod = next(part for part in schema_of(official, "Pod")["allOf"] if "properties" in part)
    del pod["properties"]["cost"]
    drift = contract.compare(official)
    assert drift.broken == []
    assert "GET /v2/pods/{id} no longer tells cost" in drift.gone


@pytest.mark.openapi
def test_news_is_told_and_breaks_nothing(official: Any) -> None:
    properties = create_pod(official)["properties"]
    properties["cmd"] = {"type": "array", "items": {"type": "string"}}
    drift = contract.compare(official)
    assert (drift.broken, drift.gone) == ([], [])
    assert "POST /v2/pods also takes cmd" in drift.added


@pytest.mark.openapi
def test_a_description_without_schemas_is_held_to_its_paths_alone(official: Any) -> None:
    bare = copy.deepcopy(official)
    for methods in bare["paths"].values():
        for operation in methods.values():
            if isinstance(operation, dict):
                operation.pop("requestBody", None)
                operation["responses"] = {}
    drift = contract.compare(bare)
    assert (drift.broken, drift.gone, drift.added) == ([], [], [])
    assert drift.undescribed > 0


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"paths": []},
        {"paths": {"/v2/pods": None}},
        {"paths": {"/v2/pods": {"post": {"requestBody": {"content": {"application/json": 3}}}}}},
        {"paths": {"/v2/pods": {"post": {"requestBody": {"content": {"application/json": {
            "schema": {"$ref": "#/nowhere/at/all"}}}}}}}},
    ],
)  # fmt: skip
def test_a_mangled_description_never_breaks_the_comparison(document: Any) -> None:
    assert contract.compare(document).broken


_JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.just("#/paths"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["$ref", "allOf", "items", "properties", "required", "schema", "content",
                         "application/json", "requestBody", "responses", "200", "anyOf"]),
        inner, max_size=4),
    max_leaves=25,
)  # fmt: skip


@given(_JSON, _JSON)
def test_nothing_that_is_json_breaks_the_comparison(operation: Any, schema: Any) -> None:
    body = {"content": {"application/json": {"schema": schema}}}
    paths = {"/v2/pods": {"get": operation, "post": {"requestBody": body, "responses": {}}}}
    assert contract.compare({"paths": paths, "components": schema}).broken


def test_a_schema_that_is_made_of_itself_ends() -> None:
    schema = {"$ref": "#/components/schemas/Node"}
    node = {"allOf": [schema, schema], "required": ["a"]}
    body = {"content": {"application/json": {"schema": schema}}}
    document = {
        "paths": {"/x": {"post": {"requestBody": body, "responses": {}}}},
        "components": {"schemas": {"Node": node}},
    }
    assert contract.body_facts(document, "POST /x")["required"] == ["a"]


def test_a_schema_that_holds_itself_ends() -> None:
    node = {"type": "object", "properties": {"child": {"$ref": "#/components/schemas/Node"}}}
    schema = {"$ref": "#/components/schemas/Node"}
    body = {"content": {"application/json": {"schema": schema}}}
    document = {
        "paths": {"/x": {"post": {"requestBody": body, "responses": {}}}},
        "components": {"schemas": {"Node": node}},
    }
    assert "child.child" in contract.body_facts(document, "POST /x")["fields"]
