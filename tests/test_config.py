"""Layers, origins and refusals of the configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpuctl import config, resources
from gpuctl.config_files import defaults, set_in_yaml, yaml_entries
from gpuctl.errors import ConfigError
from gpuctl.models import Secret

SCHEMA = resources.bundled("config_defaults.yaml")


def load(folder: Path, environ: dict[str, str] | None = None) -> config.Settings:
    return config.load(
        schema=SCHEMA,
        cache_folder=folder / "cache",
        environ=environ or {},
        project_folder=folder,
        user_config=folder / "user" / "config.yaml",
    )


def test_each_layer_wins_over_the_one_below_and_names_its_origin(tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    user = tmp_path / "user" / "config.yaml"
    layers = [
        (None, None, "default"),
        (user, "ssh:\n  key: /user\n", f"{user}:2"),
        (tmp_path / "gpuctl.yaml", "# mine\nssh:\n  key: /project\n", f"{tmp_path}/gpuctl.yaml:3"),
        (tmp_path / "config.env", "A=1\nexport SSH_KEY='/seed'\n", f"{tmp_path}/config.env:2"),
        (tmp_path / ".env", "SSH_KEY=/dotenv\n", f"{tmp_path}/.env:1"),
    ]
    for path, text, origin in layers:
        if path is not None and text is not None:
            path.write_text(text)
        assert load(tmp_path).value("ssh.key").origin == origin
    found = load(tmp_path, {"SSH_KEY": "/environment"}).value("ssh.key")
    assert (found.value, found.origin) == ("/environment", "environment SSH_KEY")
    by_rule = load(tmp_path, {"GPUCTL_SSH__KEY": "/rule"}).value("ssh.key")
    assert (by_rule.value, by_rule.origin) == ("/rule", "environment GPUCTL_SSH__KEY")


def test_the_config_env_of_the_old_scripts_works_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.env").write_text(
        "# RunPod\nRUNPOD_API_KEY=rpa_ABCDEFGH12345678\nRUNPOD_POD_ID=abc123\n"
        "RUNPOD_HOST=203.0.113.7\nRUNPOD_PORT=22114\nSSH_KEY=~/.ssh/id_rsa\n"
        "ANTHROPIC_API_KEY=sk-ant-something\nSTEPS_QUALITY=60\nSTEPS_ULTRA=100\n"
        'WORKSPACE_PATH="/workspace"\nSSH_CONNECT_TIMEOUT=30\nWINDOWS_PICTURES=/mnt/c/x\n'
    )
    settings = load(tmp_path)
    assert settings.secret("runpod.api_key") == Secret("rpa_ABCDEFGH12345678")
    assert settings.text("runpod.host") == "203.0.113.7"
    assert settings.integer("runpod.port") == 22114
    assert settings.number("ssh.connect_timeout_s") == 30.0
    assert settings.table("presets")["quality"] == {"steps": 60}
    assert settings.table("presets")["ultra"] == {"steps": 100}
    assert settings.table("presets")["fast"]["model"] == "flux-schnell"


def test_a_wrong_key_is_refused_with_the_nearest_right_one(tmp_path: Path) -> None:
    (tmp_path / "gpuctl.yaml").write_text("flux:\n  guidnce: 4\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert caught.value.message == f"{tmp_path}/gpuctl.yaml:2: unknown key flux.guidnce"
    assert caught.value.hint == "did you mean flux.guidance?"
    with pytest.raises(ConfigError, match="GPUCTL_FLUX__GUIDNCE"):
        load(tmp_path / "elsewhere", {"GPUCTL_FLUX__GUIDNCE": "4"})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GPUCTL_FLUX__GUIDANCE", "much", "flux.guidance must be a number, not 'much'"),
        ("RUNPOD_PORT", "ssh", "runpod.port must be a whole number, not 'ssh'"),
        ("GPUCTL_FLUX__ENHANCE", "perhaps", "flux.enhance must be true or false, not 'perhaps'"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_origin(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {name: value})
    assert caught.value.message == f"environment {name}: {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flux: [1\n", ":2 is not valid YAML"),
        ("- a\n", "must hold sections"),
        ("flux: 3\n", ":1: the section 'flux' holds no keys"),
        ("runpod:\n  api_key: rpa_x\n", ":2: runpod.api_key is a secret"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "gpuctl.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert f"{tmp_path}/gpuctl.yaml" in caught.value.message
    assert said in caught.value.message


def test_a_broken_env_line_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nthis is not a line\n")
    with pytest.raises(ConfigError, match=r"\.env:2 is not NAME=value"):
        load(tmp_path)


def test_tables_take_new_rows_and_merge_changed_ones(tmp_path: Path) -> None:
    (tmp_path / "gpuctl.yaml").write_text(
        "models:\n  mine: {repo: me/mine, pipeline: FluxPipeline}\n  flux-dev: {guidance: 4.2}\n"
        "generation:\n  steps_ultra: 100\nsizes:\n  wide: 2048x512\n"
    )
    settings = load(tmp_path)
    assert settings.table("models")["mine"]["repo"] == "me/mine"
    assert settings.table("models")["flux-dev"]["guidance"] == 4.2
    assert settings.table("models")["flux-dev"]["repo"] == "black-forest-labs/FLUX.1-dev"
    assert settings.table("presets")["ultra"]["steps"] == 100
    assert settings.table("sizes")["wide"] == "2048x512"


def test_the_cache_of_the_defaults_follows_the_file(tmp_path: Path) -> None:
    schema = tmp_path / "schema.yaml"
    schema.write_text("a:\n  b: 1\n")
    assert defaults(schema, tmp_path / "cache") == {"a": {"b": 1}}
    cached = json.loads((tmp_path / "cache" / "defaults.json").read_text())
    assert cached["sections"] == {"a": {"b": 1}}
    schema.write_text("a:\n  b: 22\n")
    assert defaults(schema, tmp_path / "cache") == {"a": {"b": 22}}
    (tmp_path / "cache" / "defaults.json").write_text("{ half a fi")
    assert defaults(schema, tmp_path / "cache") == {"a": {"b": 22}}


def test_setting_a_key_keeps_every_other_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    set_in_yaml(path, "flux.guidance", "4.5")
    path.write_text(path.read_text() + "  # a thought\nssh:\n  key: /k  # mine\n")
    set_in_yaml(path, "flux.guidance", "2.0")
    set_in_yaml(path, "flux.format", "jpg")
    set_in_yaml(path, "claude.model", "claude-sonnet-5-5")
    assert path.read_text() == (
        "flux:\n  format: jpg\n  guidance: 2.0\n  # a thought\nssh:\n  key: /k  # mine\n"
        "\nclaude:\n  model: claude-sonnet-5-5\n"
    )
    assert {key: entry.value for key, entry in yaml_entries(path).items()} == {
        "flux.format": "jpg",
        "flux.guidance": 2.0,
        "ssh.key": "/k",
        "claude.model": "claude-sonnet-5-5",
    }


def test_every_default_loads_and_every_secret_is_marked(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert {
        key for key, _ in settings.items() if key.endswith(("api_key", "access_key", "token"))
    } == set(config.SECRET_KEYS)
    assert set(config.OTHER_NAMES.values()) <= {key for key, _ in settings.items()}
    assert all(value.origin == "default" for _, value in settings.items())
