"""Registries over the wire: the real one, the simulator's, and hosts that mean ill."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gpuctl.clients.registry_api import Content, Credentials, Registry, sha256
from gpuctl.errors import ApiError, CredentialsError, NotFound, TransferFailed
from gpuctl.images import manifests
from gpuctl.models import Json, Secret
from gpuctl.services.image_access import Access
from gpuctl.services.image_inspection import facts
from gpuctl.sim.launcher import Simulator
from tests.support.docker_engine import PASSWORD, USER, DockerEngine, run

pytest_plugins = ["tests.support.simulator"]

ANYBODY = Access(None, 20.0)


def put_image(registry: Registry, tag: str, architecture: str = "amd64") -> Content:
    """A small image of one layer, put there by our own client."""
    config = json.dumps(
        {"os": "linux", "architecture": architecture, "config": {"User": "worker"}}
    ).encode()
    layer = f"layer of {architecture}".encode()
    for body in (config, layer):
        registry.put_blob(sha256(body), body)
        assert registry.has_blob(sha256(body))
    document = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_MANIFEST,
        "config": described(manifests.OCI_CONFIG, config),
        "layers": [described(manifests.OCI_LAYER, layer)],
    }
    body = json.dumps(document).encode()
    assert registry.put_manifest(tag, manifests.OCI_MANIFEST, body) == sha256(body)
    return Content(sha256(body), manifests.OCI_MANIFEST, body)


def put_index(registry: Registry, tag: str) -> str:
    """Two platforms and an attestation under one tag."""
    entries = []
    for architecture in ("arm64", "amd64"):
        one = put_image(registry, f"{tag}-{architecture}", architecture)
        platform = {"os": "linux", "architecture": architecture}
        entries.append({**described(one.media_type, one.body), "platform": platform})
    nowhere = {"os": "unknown", "architecture": "unknown"}
    entries.append({**entries[0], "platform": nowhere})
    body = json.dumps(
        {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": entries}
    ).encode()
    return registry.put_manifest(tag, manifests.OCI_INDEX, body)


def described(media_type: str, body: bytes) -> Json:
    return {"mediaType": media_type, "digest": sha256(body), "size": len(body)}


@pytest.mark.docker
def test_an_index_is_read_for_the_platform_that_is_wanted(engine: DockerEngine) -> None:
    name = f"{engine.registry}/me/multi:1"
    with closing(Registry(f"http://{engine.registry}", "me/multi", name=name)) as registry:
        digest = put_index(registry, "1")
        assert registry.digest_of("1", manifests.MANIFEST_TYPES) == digest
    found = facts(name, ANYBODY)
    assert (found.digest, found.platform) == (digest, "linux/amd64")
    assert found.platforms == ("linux/arm64", "linux/amd64")
    assert found.manifest_digest != digest
    assert facts(name, ANYBODY, platform="linux/arm64").platform == "linux/arm64"
    assert facts(f"{engine.registry}/me/multi@{digest}", ANYBODY).digest == digest
    with pytest.raises(NotFound, match="linux/s390x"):
        facts(name, ANYBODY, platform="linux/s390x")


@pytest.mark.docker
def test_an_image_that_is_not_there_is_not_found(engine: DockerEngine) -> None:
    with pytest.raises(NotFound, match="has no"):
        facts(f"{engine.registry}/me/nothing:1", ANYBODY)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("account", "said"),
    [
        (None, "private, or does not exist"),
        (Credentials(USER, Secret("wrong")), "wrong name, password or token"),
    ],
)
def test_a_guarded_registry_says_who_may_not(
    engine: DockerEngine, account: Credentials | None, said: str
) -> None:
    with (
        closing(
            Registry(f"http://{engine.guarded}", "me/x", name="me/x", credentials=account)
        ) as registry,
        pytest.raises(CredentialsError, match=said),
    ):
        registry.manifest("1", manifests.MANIFEST_TYPES)


@pytest.mark.docker
def test_the_right_password_opens_it(engine: DockerEngine) -> None:
    account = Credentials(USER, Secret(PASSWORD))
    base = f"http://{engine.guarded}"
    with closing(Registry(base, "me/own", name="me/own", credentials=account)) as registry:
        put_image(registry, "1")
        document = registry.manifest("1", manifests.MANIFEST_TYPES).document()
        config = registry.blob(manifests.manifest(document).config.digest)
        assert config.document()["config"]["User"] == "worker"


def test_the_simulator_s_registry_gives_tokens_to_read_and_to_its_own_account_to_write(
    simulator: Simulator,
) -> None:
    stranger = Registry(simulator.registry_url, "me/x", name="me/x")
    with closing(stranger), pytest.raises(CredentialsError):
        put_image(stranger, "1")
    wrong = Credentials("simulator", Secret("guess"))
    other = Registry(simulator.registry_url, "me/x", name="me/x", credentials=wrong)
    with closing(other), pytest.raises(CredentialsError, match="wrong name"):
        put_image(other, "1")
    # The account's key opens nothing here.
    keyed = Credentials("simulator", simulator.api_key)
    third = Registry(simulator.registry_url, "me/x", name="me/x", credentials=keyed)
    with closing(third), pytest.raises(CredentialsError):
        put_image(third, "1")
    right = Credentials("simulator", simulator.registry_password)
    own = Registry(simulator.registry_url, "me/x", name="me/x", credentials=right)
    with closing(own):
        digest = put_image(own, "1").digest
    with closing(stranger):
        assert stranger.manifest("1", manifests.MANIFEST_TYPES).digest == digest
        assert not stranger.has_blob(f"sha256:{'0' * 64}")


def test_the_simulator_s_registry_takes_nothing_that_is_not_what_it_is_called(
    simulator: Simulator,
) -> None:
    right = Credentials("simulator", simulator.registry_password)
    with closing(
        Registry(simulator.registry_url, "me/x", name="me/x", credentials=right)
    ) as registry:
        with pytest.raises(ApiError, match="the content is sha256"):
            registry.put_blob(sha256(b"one"), b"another")
        body = json.dumps(
            {"config": described("c", b"never uploaded"), "layers": [], "schemaVersion": 2}
        ).encode()
        with pytest.raises(ApiError, match="unknown blobs"):
            registry.put_manifest("1", manifests.OCI_MANIFEST, body)


@pytest.mark.docker
def test_docker_itself_pushes_to_the_simulator_s_registry_and_pulls_from_it(
    simulator: Simulator, engine: DockerEngine, tmp_path: object
) -> None:
    host = simulator.registry_url.removeprefix("http://")
    name = f"{host}/me/real:1"
    environ = {**engine.environ, "DOCKER_CONFIG": f"{tmp_path}/config"}
    engine.docker("tag", engine.base, name)
    login = ["docker", "login", "-u", "simulator", "--password-stdin", host]
    done = run_with_input(login, simulator.registry_password.reveal(), environ)
    assert done == 0
    pushed = run("docker", "push", name, environ=environ).stdout
    found = facts(name, ANYBODY)
    assert found.digest in pushed
    engine.docker("rmi", name)
    run("docker", "pull", f"{host}/me/real@{found.digest}", environ=environ)


def run_with_input(words: list[str], text: str, environ: dict[str, str]) -> int:
    import os
    import subprocess

    done = subprocess.run(
        words, input=text, text=True, env={**os.environ, **environ}, capture_output=True
    )
    return done.returncode


@contextmanager
def answering(reply: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """A host on the loopback, and each Authorization it was shown."""
    shown: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(f"{self.path.partition('?')[0]} {self.headers.get('Authorization', '')}")
            reply(self)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", shown
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for key, value in {**headers, "Content-Length": str(len(body))}.items():
        handler.send_header(key.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def test_a_password_goes_to_no_token_service_of_somebody_else() -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        realm = 'Bearer realm="http://203.0.113.9/token",service="x"'
        answer(handler, 401, WWW_Authenticate=realm)

    from gpuctl.clients.registry_wire import Wire

    wire = Wire("https://registry.example.com", credentials=Credentials("me", Secret("pw")))
    assert not wire._trusts("https://token.example.net/token")
    assert not wire._trusts("http://registry.example.com/token")
    assert wire._trusts("https://auth.example.com/token")


def test_a_blob_on_another_host_is_fetched_without_our_credentials() -> None:
    body = b'{"os": "linux"}'

    def store(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, 200, body)

    with answering(store) as (elsewhere, seen_there):

        def front(handler: BaseHTTPRequestHandler) -> None:
            if not handler.headers.get("Authorization"):
                answer(handler, 401, WWW_Authenticate='Basic realm="x"')
            else:
                answer(handler, 307, Location=f"http://{elsewhere}/there")

        with answering(front) as (host, seen):
            account = Credentials("me", Secret("pw"))
            with closing(
                Registry(f"http://{host}", "me/x", name="me/x", credentials=account)
            ) as registry:
                assert registry.blob(sha256(body)).body == body
    assert seen[-1].endswith("Basic bWU6cHc=")
    assert seen_there == ["/there "]


def test_content_that_is_not_what_its_digest_says_is_refused() -> None:
    with answering(lambda handler: answer(handler, 200, b"{}")) as (host, _):  # noqa: SIM117
        with closing(Registry(f"http://{host}", "me/x", name="me/x")) as registry:
            with pytest.raises(TransferFailed, match="damaged"):
                registry.blob(f"sha256:{'1' * 64}")
            with pytest.raises(TransferFailed, match="is not sha256"):
                registry.manifest(f"sha256:{'1' * 64}", manifests.MANIFEST_TYPES)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (429, ApiError, "too many requests"),
        (503, ApiError, "answered 503"),
        (403, CredentialsError, "private, or does not exist"),
        (404, NotFound, "has no me/x"),
    ],
)
def test_every_refusal_has_its_kind_and_a_hint(
    status: int, kind: type[ApiError], said: str
) -> None:
    with (
        answering(lambda handler: answer(handler, status, b"{}")) as (host, _),
        closing(Registry(f"http://{host}", "me/x", name="me/x")) as registry,
    ):
        with pytest.raises(kind, match=said) as caught:
            registry.manifest("1", manifests.MANIFEST_TYPES)
        assert caught.value.hint


def test_a_registry_that_cannot_be_reached_is_named() -> None:
    with closing(Registry("http://127.0.0.1:1", "me/x", name="me/x")) as registry:  # noqa: SIM117
        with pytest.raises(ApiError, match=r"127\.0\.0\.1:1 cannot be reached"):
            registry.manifest("1", manifests.MANIFEST_TYPES)
