"""REST v2 as values: paging, keys, lists that are missing, logs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gpuctl.clients.http import Http
from gpuctl.clients.runpod_api import RunpodApi
from gpuctl.errors import ApiError
from gpuctl.models import Json, Secret
from tests.support.pod_api import Answer, PodApi, pod_api

KEYS = "/v2/account/ssh-keys"


@pytest.fixture
def server() -> Iterator[PodApi]:
    with pod_api() as found:
        yield found


@pytest.fixture
def api(server: PodApi) -> Iterator[RunpodApi]:
    http = Http(server.url, key=Secret("rpa_0123456789"), timeout_s=5, sleep=lambda _: None)
    yield RunpodApi(http)
    http.close()


def _page(ids: list[str], pagination: Json | None = None) -> Answer:
    page: Json = {"pods": [{"id": pod_id} for pod_id in ids]}
    return Answer(200, json.dumps({**page, **({"pagination": pagination} if pagination else {})}))


def test_every_page_is_read_until_there_is_no_cursor(server: PodApi, api: RunpodApi) -> None:
    server.script(
        "GET /v2/pods",
        _page(["a", "b"], {"nextCursor": "c1", "hasNextPage": True}),
        _page(["c"], {"nextCursor": None, "hasNextPage": False}),
    )
    assert [pod["id"] for pod in api.list_pods()] == ["a", "b", "c"]
    asked = [path for _, path, _ in server.requests]
    assert asked == ["/v2/pods?limit=1000", "/v2/pods?limit=1000&cursor=c1"]


def test_a_cursor_that_repeats_ends_the_list(server: PodApi, api: RunpodApi) -> None:
    server.script("GET /v2/pods", *[_page(["a"], {"nextCursor": "same"})] * 5)
    assert len(api.list_pods()) == 2


def test_a_missing_list_is_an_error_and_not_an_empty_one(server: PodApi, api: RunpodApi) -> None:
    server.script("GET /v2/pods", Answer(200, "{}"))
    with pytest.raises(ApiError, match="without the list of pods"):
        api.list_pods()


def test_a_pod_without_an_id_is_an_unknown_outcome(server: PodApi, api: RunpodApi) -> None:
    server.script("POST /v2/pods", Answer(201, '{"name": "x"}'))
    with pytest.raises(ApiError) as caught:
        api.create_pod({"name": "x"})
    assert caught.value.status is None


def test_a_key_is_added_beside_the_others(server: PodApi, api: RunpodApi) -> None:
    server.script(f"GET {KEYS}", Answer(200, '{"keys": ["ssh-rsa AAAA me@home"]}'))
    server.script(f"PUT {KEYS}", Answer(200, "{}"))
    assert api.add_ssh_key("ssh-ed25519 BBBB gpuctl\n")
    assert server.calls("PUT", KEYS) == [
        {"keys": ["ssh-rsa AAAA me@home", "ssh-ed25519 BBBB gpuctl"]}
    ]


def test_a_key_that_is_there_under_another_comment_is_left(server: PodApi, api: RunpodApi) -> None:
    server.script(f"GET {KEYS}", Answer(200, '{"keys": ["ssh-ed25519 BBBB me@home"]}'))
    assert not api.add_ssh_key("ssh-ed25519 BBBB gpuctl")
    assert server.calls("PUT", KEYS) == []


def test_ids_are_quoted_into_the_address(server: PodApi, api: RunpodApi) -> None:
    api.http.get("/pods")
    with pytest.raises(Exception, match="404"):
        api.get_pod("../network-volumes?x")
    assert server.requests[-1][1] == "/v2/pods/..%2Fnetwork-volumes%3Fx"


def test_log_lines_come_with_their_ids_and_comments_are_left_out(
    server: PodApi, api: RunpodApi
) -> None:
    server.pods["p"] = {"id": "p"}
    lines = list(api.pod_logs("p", source="system", tail=5, quiet_s=1))
    assert lines == [{"source": "system", "line": "pulling image layer 3/9", "ts": "t", "id": "t1"}]
    assert server.requests[-1][1] == "/v2/pods/p/logs?tail=5&source=system"
