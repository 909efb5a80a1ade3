"""The HTTP client: named errors, retries that cannot bill twice, and where the key may go."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from gpuctl.clients.http import Http
from gpuctl.clients.http_errors import retry_after_s
from gpuctl.errors import (
    ApiError,
    BudgetRefused,
    ConfigError,
    CredentialsError,
    GpuctlError,
    NotFound,
    UsageError,
)
from gpuctl.models import Secret
from tests.support.pod_api import Answer, PodApi, pod_api, problem

KEY = "rpa_0123456789abcdef"
HTML = "<html><head><style>b{}</style><title>502</title></head><body><h1>Bad  Gateway</h1></body>"


@pytest.fixture
def api() -> Iterator[PodApi]:
    with pod_api() as found:
        yield found


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def http(api: PodApi, pauses: list[float]) -> Iterator[Http]:
    client = Http(api.url, key=Secret(KEY), timeout_s=5, sleep=pauses.append)
    yield client
    client.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ApiError),
        (401, CredentialsError),
        (402, BudgetRefused),
        (403, CredentialsError),
        (404, NotFound),
        (409, ApiError),
        (422, UsageError),
        (500, ApiError),
    ],
)
def test_each_status_is_the_error_it_stands_for(
    api: PodApi, http: Http, status: int, error: type[GpuctlError]
) -> None:
    api.script("POST /v2/pods", Answer(status, problem(status, "because of that")))
    with pytest.raises(error) as caught:
        http.send("POST", "/pods", {"name": "a"})
    assert type(caught.value) is error
    assert caught.value.message == f"RunPod answered {status}: because of that"
    assert caught.value.details["request_id"] == "req-7"
    assert caught.value.details["status"] == status
    assert len(api.requests) == 1


def test_every_violation_of_a_422_is_told(api: PodApi, http: Http) -> None:
    body = {"title": "x", "status": 422, "detail": "invalid", "errors": ["$: no 'bogus'", "$.a: b"]}
    api.script("POST /v2/pods", Answer(422, json.dumps(body)))
    with pytest.raises(UsageError, match=r"invalid \(\$: no 'bogus'; \$\.a: b\)"):
        http.send("POST", "/pods", {})


@pytest.mark.parametrize("body", ['{"error": "older words"}', '{"message": "older words"}'])
def test_older_services_are_understood(api: PodApi, http: Http, body: str) -> None:
    api.script("POST /v2/pods", Answer(400, body))
    with pytest.raises(ApiError, match="older words"):
        http.send("POST", "/pods", {})


def test_a_proxys_page_is_told_in_its_readable_words(api: PodApi, http: Http) -> None:
    api.script("POST /v2/pods", Answer(502, HTML, {"content-type": "text/html"}))
    with pytest.raises(ApiError) as caught:
        http.send("POST", "/pods", {})
    assert caught.value.message == "RunPod answered 502: 502 Bad Gateway"
    assert caught.value.status == 502


def test_a_read_is_tried_again_after_a_passing_failure(
    api: PodApi, http: Http, pauses: list[float]
) -> None:
    api.script("GET /v2/pods", Answer(502, HTML), Answer(200, '{"pods": ['))
    assert http.get("/pods") == {"pods": []}
    assert pauses == [0.5, 1.0]


def test_a_read_gives_up_after_three_attempts(api: PodApi, http: Http) -> None:
    api.script("GET /v2/pods", *[Answer(503, "")] * 9)
    with pytest.raises(ApiError, match="503"):
        http.get("/pods")
    assert len(api.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [Answer(500, HTML), Answer(201, '{"id": "p'), Answer(201, happens=True, cut=True)],
    ids=["500", "truncated JSON", "cut connection"],
)
def test_a_change_is_never_sent_twice_when_its_outcome_is_unknown(
    api: PodApi, http: Http, answer: Answer
) -> None:
    api.script("POST /v2/pods", answer)
    body = {"name": "n", "image": "i", "cloud": "SECURE", "gpu": {"id": "NVIDIA L4", "count": 1}}
    with pytest.raises(ApiError) as caught:
        http.send("POST", "/pods", body)
    assert caught.value.status in (None, 500)
    assert len(api.requests) == 1


def test_a_rate_limit_is_waited_out_even_for_a_change(
    api: PodApi, http: Http, pauses: list[float]
) -> None:
    limit = Answer(429, problem(429, "slow down"), {"Retry-After": "7"})
    api.script("PATCH /v2/pods", limit)
    with pytest.raises(NotFound):
        http.send("PATCH", "/pods/p", {})
    assert pauses == [7.0]
    assert len(api.requests) == 2


def test_a_long_rate_limit_is_left_to_the_caller(
    api: PodApi, http: Http, pauses: list[float]
) -> None:
    api.script("GET /v2/pods", Answer(429, "", {"Retry-After": "3000"}))
    with pytest.raises(ApiError) as caught:
        http.get("/pods")
    assert caught.value.retry_after_s == 3000
    assert pauses == []


def test_the_longest_exhausted_window_counts() -> None:
    headers = {
        "retry-after": "5",
        "ratelimit": '"minute";r=0;t=12, "hour";r=4;t=900, "day";r=0;t=30',
    }
    assert retry_after_s(headers) == 30


def test_retry_after_may_be_a_date() -> None:
    headers = {"retry-after": "Sat, 21 Nov 2026 10:00:09 GMT"}
    assert retry_after_s(headers, lambda: datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)) == 9


@pytest.mark.parametrize("value", ["soon", ""])
def test_an_unreadable_retry_after_is_no_wait(value: str) -> None:
    assert retry_after_s({"retry-after": value}) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://abc-8000.proxy.runpod.net/v2",
        "https://api.runpod.io.evil.example/v2",
        "http://api.runpod.io/v2",
        "https://api.runpod.io@evil.example/v2",
        "http://127.0.0.1.evil.example/v2",
    ],
)
def test_the_key_goes_to_no_other_host(url: str) -> None:
    http = Http(url, key=Secret(KEY), timeout_s=5, sleep=lambda _: None)
    with pytest.raises(ConfigError) as caught:
        http.get("/pods")
    assert KEY not in str(caught.value.details) + caught.value.message
    http.close()


@pytest.mark.parametrize("url", ["", "api.runpod.io/v2", "https://[::1", "https://"])
def test_what_is_no_address_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match="is not the address of an API"):
        Http(url, key=Secret(KEY), timeout_s=5, sleep=lambda _: None)


def test_a_redirect_is_not_followed(api: PodApi, http: Http) -> None:
    with pod_api() as elsewhere:
        api.script("GET /v2/pods", Answer(307, "", {"location": f"{elsewhere.url}/pods"}))
        with pytest.raises(ApiError, match="redirected to"):
            http.get("/pods")
        assert elsewhere.requests == []


def test_without_a_key_nothing_is_asked(api: PodApi) -> None:
    http = Http(api.url, key=None, timeout_s=5, sleep=lambda _: None)
    with pytest.raises(CredentialsError) as caught:
        http.get("/pods")
    assert "RUNPOD_API_KEY" in (caught.value.hint or "")
    assert api.requests == []
    http.close()


def test_an_answer_that_repeats_the_key_does_not_show_it(api: PodApi, http: Http) -> None:
    api.script("POST /v2/pods", Answer(400, problem(400, f"bad key {KEY}")))
    with pytest.raises(ApiError) as caught:
        http.send("POST", "/pods", {})
    assert caught.value.message == "RunPod answered 400: bad key ***"


def test_a_server_that_is_not_there_is_known_not_to_have_acted() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    http = Http(f"http://127.0.0.1:{port}/v2", key=Secret(KEY), timeout_s=5, sleep=lambda _: None)
    with pytest.raises(ApiError, match="cannot be reached") as caught:
        http.send("POST", "/pods", {})
    assert caught.value.status is None
    assert caught.value.details["sent"] is False
    http.close()


def test_a_server_that_never_answers_is_given_up(api: PodApi) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v2"
        http = Http(url, key=Secret(KEY), timeout_s=0.1, sleep=lambda _: None)
        with pytest.raises(ApiError, match=r"did not answer within 0\.1 s") as caught:
            http.send("POST", "/pods", {})
        assert "sent" not in caught.value.details
        http.close()
