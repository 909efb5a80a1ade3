"""What is fetched by URL comes from the open internet alone, in bounds, whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.comfyui_site import PUBLIC, File, Site, site


@pytest.fixture(scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def web_site(_site: Site) -> Site:
    for known in (_site.files, _site.addresses, _site.looked_up, _site.connected, _site.asked):
        known.clear()
    return _site


HIDDEN = {
    "loopback": "https://127.0.0.1/x",
    "loopback, decimal": "https://2130706433/x",
    "loopback, short": "https://127.1/x",
    "loopback, hexadecimal": "https://0x7f000001/x",
    "loopback, octal": "https://0177.0.0.1/x",
    "loopback, v6": "https://[::1]/x",
    "loopback, mapped": "https://[::ffff:127.0.0.1]/x",
    "loopback, 6to4": "https://[2002:7f00:1::]/x",
    "loopback, nat64": "https://[64:ff9b::7f00:1]/x",
    "nothing": "https://0.0.0.0/x",
    "metadata": "https://169.254.169.254/latest/meta-data",
    "metadata, decimal": "https://2852039166/latest",
    "private": "https://10.0.0.8/x",
    "private, 192": "https://192.168.1.1/x",
    "carrier": "https://100.64.0.1/x",
    "local v6": "https://[fd00::1]/x",
    "link v6": "https://[fe80::1]/x",
    "many": "https://224.0.0.1/x",
}


@pytest.mark.parametrize("url", HIDDEN.values(), ids=HIDDEN)
def test_an_address_that_is_not_on_the_open_internet_is_not_connected_to(
    url: str, web_site: Site
) -> None:
    from video import web

    with pytest.raises(web.Refused, match="not on the open internet"):
        web.fetch(url, limit_bytes=100, door=web_site.door())
    assert web_site.connected == []


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example/x",
        "file:///etc/passwd",
        "ftp://files.example/x",
        "gopher://files.example:70/x",
        "https://user:secret@files.example/x",
        "https:///x",
        "https://[nonsense/x",
        "//files.example/x",
    ],
)
def test_anything_but_plain_https_is_refused(url: str, web_site: Site) -> None:
    from video import web

    with pytest.raises(web.Refused):
        web.fetch(url, limit_bytes=100, door=web_site.door())
    assert web_site.connected == []


def test_one_hidden_address_among_public_ones_is_enough_to_refuse(web_site: Site) -> None:
    from video import web

    web_site.addresses["files.example"] = [PUBLIC, "10.1.2.3"]
    with pytest.raises(web.Refused, match=r"10\.1\.2\.3"):
        web.fetch("https://files.example/x", limit_bytes=100, door=web_site.door())
    assert web_site.connected == []


def test_a_name_that_turns_hidden_after_the_check_gains_nothing(web_site: Site) -> None:
    """What was checked is connected to: the name is looked up once for each hop."""
    from video import web

    web_site.files["/x"] = File(b"fine")
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    door = web.Door(lambda host, port: next(answers), web_site.connect, web_site.context)
    assert web.fetch("https://files.example/x", limit_bytes=100, door=door) == b"fine"
    assert web_site.connected == [PUBLIC]
    with pytest.raises(web.Refused):
        web.fetch("https://files.example/x", limit_bytes=100, door=door)


@pytest.mark.parametrize(
    "target", ["https://169.254.169.254/x", "http://files.example/x", "https://2130706433/"]
)
def test_a_redirect_is_checked_like_the_first_address(target: str, web_site: Site) -> None:
    from video import web

    web_site.files["/x"] = File(b"", location=target)
    with pytest.raises(web.Refused):
        web.fetch("https://files.example/x", limit_bytes=100, door=web_site.door())
    assert web_site.connected == [PUBLIC]


def test_redirects_end(web_site: Site) -> None:
    from video import web

    web_site.files["/x"] = File(b"", location="/x")
    with pytest.raises(web.Refused, match="redirects"):
        web.fetch("https://files.example/x", limit_bytes=100, door=web_site.door())


def test_a_wrong_certificate_is_refused(web_site: Site) -> None:
    from video import web

    with pytest.raises(web.Refused, match="certificate"):
        web.fetch("https://elsewhere.example/x", limit_bytes=100, door=web_site.door())


@pytest.mark.parametrize("is_unmeasured", [False, True])
def test_more_than_allowed_is_not_taken(is_unmeasured: bool, web_site: Site) -> None:
    from video import web

    web_site.files["/x"] = File(b"y" * 200, is_unmeasured=is_unmeasured)
    with pytest.raises(web.Refused, match="larger than"):
        web.fetch("https://files.example/x", limit_bytes=100, door=web_site.door())


def test_an_image_by_url_has_to_be_an_image(web_site: Site, workspace: Path) -> None:
    from video import images
    from worker.report import Failure

    web_site.files["/page.png"] = File(b"<html>not a picture</html>")
    web_site.files["/ok"] = File((Path(__file__).parent / "pixel.png").read_bytes())
    with pytest.raises(Failure, match="not a picture that can be read"):
        images.load(
            images.Source(url="https://files.example/page.png"), "the image", web_site.door()
        )
    found = images.load(images.Source(url="https://files.example/ok"), "it", web_site.door())
    assert (found.suffix, found.width, found.height) == (".png", 8, 8)


def safetensors(size: int) -> bytes:
    """A whole file with one tensor of `size` bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    return struct.pack("<Q", len(header)) + header.encode() + b"\7" * size


def _bring(site: Site, target: Path, path: str = "/m.safetensors", **more: Any) -> None:
    from video import downloads

    url = f"https://files.example{path}"
    wanted = downloads.Wanted(url, target, **more)
    downloads.bring(wanted, lambda done, total: None, door=site.door(), sleep=lambda seconds: None)


def test_a_model_comes_whole_though_the_connection_broke_three_times(
    web_site: Site, tmp_path: Path
) -> None:
    content = safetensors(3_000_000)
    web_site.files["/m.safetensors"] = File(content, cut=3)
    target = tmp_path / "loras/m.safetensors"
    _bring(web_site, target)
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["m.safetensors"]
    ranges = [headers.get("Range") for _, headers in web_site.asked]
    assert ranges[0] is None
    assert all(ranges[1:]), "it goes on where it stopped"


def test_a_server_that_cannot_go_on_is_begun_again(web_site: Site, tmp_path: Path) -> None:
    content = safetensors(500_000)
    web_site.files["/m.safetensors"] = File(content, cut=1, has_ranges=False)
    _bring(web_site, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == content


def test_a_part_of_another_file_is_not_gone_on_with(web_site: Site, tmp_path: Path) -> None:
    content = safetensors(400_000)
    (tmp_path / "m.safetensors.part").write_bytes(b"x" * 1000)
    (tmp_path / "m.safetensors.part.etag").write_text('"older"')
    web_site.files["/m.safetensors"] = File(content)
    _bring(web_site, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == content


def test_what_is_damaged_never_gets_its_name(web_site: Site, tmp_path: Path) -> None:
    from worker.report import Failure

    web_site.files["/m.safetensors"] = File(safetensors(5000)[:-100])
    with pytest.raises(Failure, match="of 50") as cut:
        _bring(web_site, tmp_path / "m.safetensors")
    assert cut.value.code == "model_missing"
    web_site.files["/m.safetensors"] = File(safetensors(5000))
    with pytest.raises(Failure, match="sha256"):
        _bring(web_site, tmp_path / "m.safetensors", sha256="0" * 64)
    assert not (tmp_path / "m.safetensors").exists()


def test_size_and_hash_that_the_hub_names_before_it_redirects_are_checked(
    web_site: Site, tmp_path: Path
) -> None:
    from worker.report import Failure

    content = safetensors(2000)
    digest = hashlib.sha256(content).hexdigest()
    web_site.files["/m.safetensors"] = File(
        b"",
        {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'},
        location="https://other.example/store",
    )
    web_site.files["/store"] = File(safetensors(1999) + b"!")
    with pytest.raises(Failure, match="sha256"):
        _bring(web_site, tmp_path / "m.safetensors")
    web_site.files["/store"] = File(content)
    _bring(web_site, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").exists()


def test_the_hubs_token_goes_to_the_hub_and_no_further(
    web_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from video import downloads

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    web_site.files["/m.safetensors"] = File(b"", location="https://other.example/store")
    web_site.files["/store"] = File(safetensors(100))
    wanted = downloads.Wanted("https://huggingface.co/m.safetensors", tmp_path / "m.safetensors")
    downloads.bring(wanted, lambda done, total: None, door=web_site.door())
    sent = {path: headers.get("Authorization") for path, headers in web_site.asked}
    assert sent == {"/m.safetensors": "Bearer hf_secret", "/store": None}


def test_a_model_that_does_not_fit_is_refused_before_it_fills_the_disk(
    web_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from worker.report import Failure

    web_site.files["/m.safetensors"] = File(safetensors(1000))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(Failure) as full:
        _bring(web_site, tmp_path / "m.safetensors")
    assert full.value.code == "disk_full"
    assert "are free" in full.value.message


@pytest.mark.parametrize("name", ["m.ckpt", "m.pt", "evil.py", "..%2f..%2fx.safetensors", ""])
def test_only_files_that_cannot_run_code_are_taken_and_only_into_their_folder(
    name: str, web_site: Site, workspace: Path
) -> None:
    from video import models
    from worker.report import Failure

    web_site.files[f"/{name}"] = File(safetensors(100))
    url = f"https://files.example/{name}"
    if name.endswith("x.safetensors"):
        assert models.from_url("loras", url, web_site.door()) == "x.safetensors"
        assert (workspace / "loras/x.safetensors").exists()
    else:
        with pytest.raises(Failure, match="not a model file"):
            models.from_url("loras", url, web_site.door())


def test_damaged_defaults_are_fetched_again_and_whole_ones_are_left_alone(
    web_site: Site, workspace: Path
) -> None:
    from urllib.parse import urlsplit

    from video import models

    for model in models.catalogue().values():
        web_site.files[urlsplit(model.url).path] = File(safetensors(300))
    good, bad = "wan_2.1_vae.safetensors", "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    for name, content in ((good, safetensors(200)), (bad, safetensors(200)[:150])):
        path = models.path_of(models.catalogue()[name].folder, name)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    said: list[str] = []
    models.ensure_defaults(None, web_site.door(), lambda text, done, total: said.append(text))
    assert f"{bad} has 150 of" in said[2] or any(text.startswith(bad) for text in said)
    assert models.path_of("vae", good).read_bytes() == safetensors(200)
    for model in models.catalogue().values():
        is_there = models.path_of(model.folder, model.name).exists()
        assert is_there == model.is_default
