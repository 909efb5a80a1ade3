"""Setup asks only for what is missing, keeps only what works, and can be run again."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gpuctl import config, resources
from gpuctl.errors import ConfigError, NotFound, UsageError
from gpuctl.services import key_files, setup
from gpuctl.services.setup_steps import Outcome, Place, Wishes
from gpuctl.services.ssh_identity import own_key
from tests.support.accounts_stub import (
    AWS_KEY_ID,
    AWS_SECRET,
    DOCKER_TOKEN,
    HF_TOKEN,
    RUNPOD_KEY,
    Accounts,
    accounts_stub,
)
from tests.support.clock import JumpingClock
from tests.support.recorder import Recorder


class Answers:
    """A person with prepared answers by flag; every question is remembered."""

    def __init__(self, can_ask: bool = True, **answers: list[Any]) -> None:
        self.can_ask = can_ask
        self.left = answers
        self.asked: list[str] = []

    def _next(self, flag: str, otherwise: Any) -> Any:
        self.asked.append(flag)
        left = self.left.get(flag.strip("-").replace("-", "_"))
        return left.pop(0) if left else otherwise

    def text(self, question: str, *, flag: str) -> str:
        return str(self._next(flag, ""))

    def secret(self, question: str, *, flag: str) -> str:
        return str(self._next(flag, ""))

    def yes(self, question: str, *, flag: str) -> bool:
        return bool(self._next(flag, False))

    def pick(self, question: str, choices: Sequence[str], *, flag: str) -> int:
        self.choices = list(choices)
        return int(self._next(flag, 0))


NOBODY = Answers(can_ask=False)


@pytest.fixture
def stub() -> Iterator[Accounts]:
    with accounts_stub() as found:
        yield found


class Home:
    def __init__(self, home: Path, stub: Accounts) -> None:
        self.path = home
        self.folder = home / "project"
        self.environ = dict(stub.environ)
        self.report = Recorder()

    @property
    def env(self) -> str:
        return (self.folder / ".env").read_text()

    def run(self, questions: Answers = NOBODY, **wishes: Any) -> Outcome:
        settings = config.load(
            schema=resources.bundled("config_defaults.yaml"),
            cache_folder=None,
            environ=self.environ,
            project_folder=self.folder,
            user_config=self.path / "none.yaml",
        )
        place = Place(
            settings=settings,
            folder=self.folder,
            home=self.path,
            ssh_key=settings.path("ssh.key"),
            api_url=settings.text("runpod.api_url"),
            report=self.report,
            clock=JumpingClock(),
            timeout_s=5.0,
        )
        return setup.run(place, Wishes(**wishes), questions)


@pytest.fixture
def home(private_home: Path, stub: Accounts, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Home(private_home, stub)


def statuses(outcome: Outcome) -> dict[str, str]:
    return {finding.name: finding.status for finding in outcome.findings}


def found(outcome: Outcome, name: str) -> str:
    return next(one.found for one in outcome.findings if one.name == name)


def test_without_anybody_to_ask_every_missing_flag_is_named_at_once(home: Home) -> None:
    with pytest.raises(UsageError, match="--runpod-key-file, --ssh-key") as refused:
        home.run()
    assert refused.value.exit_code == 2
    assert not (home.folder / ".env").exists()


def test_unattended_it_makes_the_key_and_writes_what_was_accepted(home: Home) -> None:
    key = home.path / ".ssh/id_ed25519"
    outcome = home.run(values={"runpod.api_key": RUNPOD_KEY}, ssh_key=key)
    assert outcome.is_complete
    assert (outcome.written, outcome.next_command) == (("RUNPOD_API_KEY",), "gpuctl deploy flux")
    assert home.env == f"RUNPOD_API_KEY={RUNPOD_KEY}\n"
    assert stat.S_IMODE((home.folder / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


def test_a_second_run_asks_nothing_and_changes_nothing(home: Home) -> None:
    home.run(values={"runpod.api_key": RUNPOD_KEY}, ssh_key=home.path / ".ssh/id_ed25519")
    before = home.env
    person = Answers()
    outcome = home.run(person, skip=frozenset({"huggingface", "anthropic", "dockerhub", "aws"}))
    assert (outcome.is_complete, outcome.has_changed, outcome.written) == (True, False, ())
    assert home.env == before
    assert person.asked == ["--register-key"]


def test_a_person_is_asked_again_when_the_key_is_refused(home: Home) -> None:
    person = Answers(
        runpod_key_file=["rpa_wrong0000", RUNPOD_KEY],
        hf_token_file=[HF_TOKEN],
        dockerhub_user=["op"],
        dockerhub_token_file=[DOCKER_TOKEN],
        register_key=[True],
    )
    outcome = home.run(person)
    assert outcome.is_complete
    assert home.env == (
        f"RUNPOD_API_KEY={RUNPOD_KEY}\nHF_TOKEN={HF_TOKEN}\n"
        f"DOCKER_HUB_USERNAME=op\nDOCKER_PASSWORD={DOCKER_TOKEN}\n"
    )
    assert "refused the key" in home.report.said("warn")[0]
    assert statuses(outcome)["anthropic"] == "skipped"


def test_what_is_refused_is_never_written(home: Home) -> None:
    values = {
        "runpod.api_key": RUNPOD_KEY,
        "huggingface.token": "hf_wrongwrongwrong0000",
        "aws.access_key_id": AWS_KEY_ID,
        "aws.secret_access_key": AWS_SECRET,
    }
    outcome = home.run(values=values, ssh_key=home.path / "k")
    assert not outcome.is_complete
    assert outcome.next_command == "gpuctl setup"
    assert "HF_TOKEN" not in home.env
    assert f"AWS_ACCESS_KEY_ID={AWS_KEY_ID}\n" in home.env
    assert "SSH_KEY='~/k'" in home.env.replace("SSH_KEY=~/k", "SSH_KEY='~/k'")


def test_what_could_not_be_checked_is_saved_only_on_request(home: Home, stub: Accounts) -> None:
    stub.answers = {"GET /v2/pods": (503, "")}
    values = {"runpod.api_key": RUNPOD_KEY}
    assert not home.run(values=values, ssh_key=home.path / "k").is_complete
    assert "RUNPOD_API_KEY" not in home.env
    outcome = home.run(values=values, ssh_key=home.path / "k", save_unchecked=True)
    assert (outcome.is_complete, statuses(outcome)["runpod"]) == (True, "warn")
    assert f"RUNPOD_API_KEY={RUNPOD_KEY}\n" in home.env


def test_keys_that_are_there_are_offered_and_the_picked_one_is_written(home: Home) -> None:
    ssh = home.path / ".ssh"
    ssh.mkdir(mode=0o700)
    own_key(ssh / "work")
    (ssh / "config").write_text("Host *\n")
    person = Answers(ssh_key=[0])
    outcome = home.run(person, values={"runpod.api_key": RUNPOD_KEY})
    assert person.choices == [
        "~/.ssh/work (ssh-ed25519)",
        "make a new one: ~/.ssh/id_ed25519 (ssh-ed25519)",
    ]
    assert outcome.written == ("RUNPOD_API_KEY", "SSH_KEY")
    assert "SSH_KEY=~/.ssh/work\n" in home.env


def test_a_key_that_others_may_read_is_closed_and_that_is_said(home: Home) -> None:
    key = own_key(home.path / ".ssh/id_ed25519")
    key.chmod(0o644)
    outcome = home.run(values={"runpod.api_key": RUNPOD_KEY})
    [finding] = [one for one in outcome.findings if one.name == "ssh-key"]
    assert (finding.status, finding.fixed) == ("ok", "was 0644, is 0600 now")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_the_public_key_joins_the_others_only_on_consent(home: Home, stub: Accounts) -> None:
    before = list(stub.keys)
    values = {"runpod.api_key": RUNPOD_KEY}
    key = home.path / ".ssh/id_ed25519"
    assert statuses(home.run(values=values, ssh_key=key))["ssh-key-account"] == "skipped"
    assert stub.keys == before
    assert home.run(register=True).has_changed
    public = (key.parent / "id_ed25519.pub").read_text().strip()
    assert stub.keys == [*before, public]
    again = home.run(register=True)
    assert (again.has_changed, stub.asked("PUT")) == (False, 1)


def test_a_check_asks_nothing_and_writes_nothing(home: Home, stub: Accounts) -> None:
    home.environ["RUNPOD_API_KEY"] = RUNPOD_KEY
    own_key(home.path / ".ssh/id_ed25519").chmod(0o644)
    person = Answers()
    outcome = home.run(person, only_check=True, register=True)
    assert (person.asked, outcome.has_changed, stub.asked("PUT")) == ([], False, 0)
    assert statuses(outcome)["ssh-key"] == "fail"
    assert found(outcome, "runpod") == "accepted, 0 pods (environment RUNPOD_API_KEY)"
    assert not (home.folder / ".env").exists()


def test_a_dry_run_names_what_it_would_write(home: Home) -> None:
    own_key(home.path / ".ssh/id_ed25519")
    outcome = home.run(values={"runpod.api_key": RUNPOD_KEY}, is_dry_run=True)
    assert found(outcome, "env-file") == f"would set RUNPOD_API_KEY in {home.folder}/.env"
    assert not (home.folder / ".env").exists()


def test_a_variable_that_will_win_over_the_file_is_named(home: Home) -> None:
    home.environ["RUNPOD_API_KEY"] = "rpa_older0000"
    outcome = home.run(values={"runpod.api_key": RUNPOD_KEY}, ssh_key=home.path / "k")
    assert found(outcome, "environment") == "RUNPOD_API_KEY wins over .env"


def test_git_is_told_to_ignore_the_file_before_it_is_there(home: Home) -> None:
    subprocess.run(["git", "init", "-q", str(home.folder)], check=True)
    values, key = {"runpod.api_key": RUNPOD_KEY}, home.path / "k"
    assert statuses(home.run(values=values, ssh_key=key))["gitignore"] == "warn"
    assert home.run(gitignore=True, ssh_key=key).is_complete
    assert (home.folder / ".gitignore").read_text() == "/.env\n"
    assert found(home.run(ssh_key=key), "gitignore") == "git ignores .env"
    subprocess.run(["git", "add", "-f", ".env"], cwd=home.folder, check=True)
    assert "git tracks .env" in found(home.run(ssh_key=key), "gitignore")


SEED = """\
# RunPod connection
RUNPOD_HOST=1.2.3.4
RUNPOD_PORT=22022
RUNPOD_POD_ID="abc123"
RUNPOD_GPU_TYPE="NVIDIA GeForce RTX 3090"
RUNPOD_CLOUD_TYPE=COMMUNITY
SSH_KEY="$HOME/.ssh/id_ed25519"
WORKSPACE_PATH=/workspace
HUGGINGFACE_TOKEN=%s
STEPS_QUALITY=60
GUIDANCE_SCALE=much
MYSTERY=1
if [ -z "$X" ]
"""


def test_the_file_of_the_older_scripts_is_taken_and_the_rest_is_named(home: Home) -> None:
    own_key(home.path / ".ssh/id_ed25519")
    seed = home.folder / "old.env"
    seed.write_text(SEED % HF_TOKEN)
    outcome = home.run(values={"runpod.api_key": RUNPOD_KEY}, imports=(seed,))
    [finding] = [one for one in outcome.findings if one.name == "import old.env"]
    assert finding.details["taken"] == [
        "RUNPOD_HOST", "RUNPOD_PORT", "RUNPOD_POD_ID", "RUNPOD_GPU_TYPE", "RUNPOD_CLOUD_TYPE",
        "SSH_KEY", "WORKSPACE_PATH", "HUGGINGFACE_TOKEN", "STEPS_QUALITY",
    ]  # fmt: skip
    assert finding.details["unknown"] == ["MYSTERY"]
    assert "GUIDANCE_SCALE: flux.guidance must be a number" in str(finding.details["refused"])
    assert outcome.is_complete
    assert seed.read_text() == SEED % HF_TOKEN
    assert "GPUCTL_RUNPOD__CLOUD=community\n" in home.env
    assert "GPUCTL_RUNPOD__GPU='NVIDIA GeForce RTX 3090'\n" in home.env
    assert f"HF_TOKEN={HF_TOKEN}\n" in home.env
    assert home.run().is_complete  # and it loads again


def test_an_import_does_not_destroy_what_is_configured(home: Home) -> None:
    own_key(home.path / ".ssh/id_ed25519")
    (home.folder / ".env").write_text(f"RUNPOD_API_KEY={RUNPOD_KEY}\nRUNPOD_PORT=1\n")
    seed = home.folder / "old.env"
    seed.write_text("RUNPOD_PORT=2\n")
    outcome = home.run(imports=(seed,))
    assert "kept as configured: RUNPOD_PORT" in found(outcome, "import old.env")
    assert "RUNPOD_PORT=1\n" in home.env
    home.run(imports=(seed,), overwrite=True)
    assert "RUNPOD_PORT=2\n" in home.env


def test_a_file_that_is_not_there_or_no_text_ends_setup_before_it_begins(home: Home) -> None:
    with pytest.raises(NotFound):
        home.run(imports=(home.folder / "none",))
    (home.folder / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="binary"):
        home.run(imports=(home.folder / "binary",))


@pytest.mark.parametrize(
    ("options", "kind", "is_encrypted"),
    [
        (["-t", "ed25519", "-N", ""], "ssh-ed25519", False),
        (["-t", "ed25519", "-N", "secret"], "ssh-ed25519", True),
        (["-t", "rsa", "-b", "2048", "-N", ""], "ssh-rsa", False),
        (["-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"], "ssh-rsa", False),
        (["-t", "rsa", "-b", "2048", "-N", "secret", "-m", "PEM"], "ssh-rsa", True),
        (["-t", "ecdsa", "-N", ""], "ecdsa-sha2-nistp256", False),
    ],
)
def test_a_key_file_tells_what_it_is(
    tmp_path: Path, options: list[str], kind: str, is_encrypted: bool
) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-f", str(path), *options], check=True)
    key = key_files.inspect(path)
    assert key is not None
    assert (key.kind, key.is_encrypted, key.is_private) == (kind, is_encrypted, True)
    if key.public:
        assert key.public == (tmp_path / "key.pub").read_text().split()[1]


def test_a_public_key_or_half_a_private_one_is_no_private_key(tmp_path: Path) -> None:
    key = own_key(tmp_path / "key")
    half = tmp_path / "half"
    half.write_text(key.read_text()[:60] + "\n-----END OPENSSH PRIVATE KEY-----\n")
    assert key_files.inspect(tmp_path / "key.pub") is None
    assert key_files.inspect(half) is None
    assert [found.path for found in key_files.candidates(tmp_path)] == [key]


def test_an_older_name_of_a_key_does_not_shadow_the_new_value(home: Home) -> None:
    env = home.folder / ".env"
    env.write_text(f"HUGGINGFACE_TOKEN=hf_expired00000000000\nRUNPOD_API_KEY={RUNPOD_KEY}\n")
    own_key(home.path / ".ssh/id_ed25519")
    home.run(values={"huggingface.token": HF_TOKEN})
    assert home.env == f"HUGGINGFACE_TOKEN={HF_TOKEN}\nRUNPOD_API_KEY={RUNPOD_KEY}\n"
    assert found(home.run(), "huggingface").startswith("op (read token)")


def test_half_an_answer_is_not_kept(home: Home) -> None:
    own_key(home.path / ".ssh/id_ed25519")
    person = Answers(dockerhub_user=["op"], dockerhub_token_file=[""])
    outcome = home.run(person, values={"runpod.api_key": RUNPOD_KEY})
    assert (outcome.is_complete, outcome.written) == (True, ("RUNPOD_API_KEY",))


def test_the_copy_of_the_old_file_is_ignored_by_git_too(home: Home) -> None:
    subprocess.run(["git", "init", "-q", str(home.folder)], check=True)
    (home.folder / ".env").write_text("OLD=1\n")
    values, key = {"runpod.api_key": RUNPOD_KEY}, home.path / "k"
    outcome = home.run(values=values, ssh_key=key, backup=True, gitignore=True)
    assert outcome.backup == home.folder / ".env.bak"
    assert (home.folder / ".gitignore").read_text() == "/.env\n/.env.bak\n"
