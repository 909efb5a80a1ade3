"""bootstrap.sh in a scratch folder, with stand-ins for git, uv and hf that note what they did."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.remote_scripts.flux.hub import Hub

TTS = Path(__file__).resolve().parents[3] / "remote_scripts/tts"
SCRIPT = TTS / "bootstrap.sh"
LARGE = ("gpt.pth", "s2mel.pth", "wav2vec2bert_stats.pt", "feat1.pt", "feat2.pt", "bpe.model")

NOTE = 'echo "$(basename "$0") $*" >>"$CALLS"\n'
GIT = f"""#!/bin/bash
if [ "$1" = hash-object ]; then exec /usr/bin/git "$@"; fi
{NOTE}
[ "$3" = init ] && mkdir -p "$2/.git"
[ "$3" = fetch ] && [ -e "$FAIL_AT/git" ] && {{ echo "could not resolve host" >&2; exit 128; }}
exit 0
"""
UV = f"""#!/bin/bash
{NOTE}
if [ "$2" = freeze ]; then printf '%s\\n' click==8.2.1 numpy==2.2.6 protobuf==3.19.6; fi
[ "$1" = sync ] && [ -e "$FAIL_AT/uv" ] && {{ echo "No space left on device" >&2; exit 1; }}
[ "$1" = sync ] && mkdir -p "$UV_PROJECT_ENVIRONMENT/bin" &&
    ln -sf "$(command -v python3)" "$UV_PROJECT_ENVIRONMENT/bin/python"
exit 0
"""
# Like the real client: what is there is not fetched again, and every file has a note of its hash.
HF = f"""#!/bin/bash
{NOTE}
while [ $# -gt 0 ]; do [ "$1" = --local-dir ] && to=$2; shift; done
[ -e "$FAIL_AT/hf" ] && {{ echo "connection reset" >&2; exit 1; }}
notes=$to/.cache/huggingface/download; mkdir -p "$notes"
cd "$HUB"
for name in *; do
    if [ ! -e "$to/$name" ]; then
        cp "$name" "$to/$name"
        echo "fetched $name" >>"$CALLS"
        if [ -e "$FAIL_AT/damage-$name" ]; then
            printf x >>"$to/$name"
            [ -e "$FAIL_AT/damage-$name.always" ] || rm -f "$FAIL_AT/damage-$name"
        fi
    fi
    case $name in
        config.yaml) hash=$(/usr/bin/git hash-object --no-filters "$name") ;;
        *) hash=$(sha256sum <"$name" | cut -d' ' -f1) ;;
    esac
    printf 'c0ffee\\n%s\\n1.0\\n' "$hash" >"$notes/$name.metadata"
done
"""


@dataclass
class Volume:
    """A volume and the programs around it."""

    home: Path
    root: Path
    env: dict[str, str]

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def forget_calls(self) -> None:
        (self.root / "calls").unlink(missing_ok=True)

    def break_(self, what: str) -> Path:
        path = self.root / "fail" / what
        path.touch()
        return path

    @property
    def log(self) -> str:
        return (self.home / "bootstrap.log").read_text()


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    programs, hub, home = tmp_path / "bin", tmp_path / "hub", tmp_path / "volume/indextts"
    for folder in (programs, hub, tmp_path / "fail"):
        folder.mkdir()
    for name, text in (("git", GIT), ("uv", UV), ("hf", HF)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (hub / "config.yaml").write_text("version: 2\n")
    for name in LARGE:
        (hub / name).write_bytes(hashlib.sha256(name.encode()).digest() * 1000)
    env = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "CALLS": str(tmp_path / "calls"),
        "HUB": str(hub),
        "FAIL_AT": str(tmp_path / "fail"),
        "INDEXTTS_HOME": str(home),
    }
    return Volume(home, tmp_path, env)


def test_the_first_start_makes_everything_and_names_the_python_on_its_only_line(
    volume: Volume,
) -> None:
    done = volume.run()
    assert done.stdout == f"python={volume.home}/venv/bin/python\n", done.stderr
    calls = "\n".join(volume.calls())
    assert "fetch -q --depth 1 https://github.com/index-tts/index-tts.git v2.5.0" in calls
    assert "uv sync --frozen --no-dev" in calls
    venv = volume.home / "venv"
    assert (
        f"pip install --python {venv}/bin/python --override {venv}/.gpuctl-kept -r {TTS}" in calls
    )
    # What the model stands on is not lifted by what the SDK would like (bootstrap.sh says why).
    assert (venv / ".gpuctl-kept").read_text() == "numpy==2.2.6\nprotobuf==3.19.6\n"
    assert "hf download IndexTeam/IndexTTS-2 --revision main" in calls
    for folder in ("audio_voices", "output_audio", "checkpoints", "src", "venv"):
        assert (volume.home / folder).is_dir()
    assert "ready" in volume.log
    manifest = (volume.home / "checkpoints/.gpuctl-verified").read_text().split()
    assert {"config.yaml", *LARGE} <= set(manifest)


def test_the_second_start_does_nothing_at_all(volume: Volume) -> None:
    volume.run()
    volume.forget_calls()
    assert volume.run().stdout.startswith("python=")
    assert volume.calls() == []


def test_a_program_behind_the_dashes_takes_over_in_the_new_python(volume: Volume) -> None:
    script = volume.root / "say.py"
    script.write_text("import sys; print(sys.argv[1:])")
    done = volume.run("--", str(script), "--warmup", "a b")
    assert done.stdout.splitlines()[1:] == ["['--warmup', 'a b']"]


@pytest.mark.parametrize("part", ["git", "uv", "hf"])
def test_a_set_up_that_broke_off_goes_on_where_it_stopped(volume: Volume, part: str) -> None:
    broken = volume.break_(part)
    failed = volume.run()
    assert failed.returncode != 0
    assert failed.stdout == ""
    assert not (volume.home / ".bootstrap.lock").exists()
    before = [call.split()[0] for call in volume.calls()]
    broken.unlink()
    volume.forget_calls()
    assert volume.run().stdout.startswith("python=")
    again = " ".join(volume.calls())
    # What had succeeded is not done again.
    assert ("git -C" not in again) == (part != "git")
    assert ("uv sync" not in again) == (part == "hf")
    assert before[0] == "git"


def test_a_damaged_download_is_fetched_again_alone(volume: Volume) -> None:
    volume.break_("damage-gpt.pth")
    done = volume.run()
    assert done.returncode == 0, done.stderr
    assert "damaged: gpt.pth" in volume.log
    fetched = [call for call in volume.calls() if call.startswith("fetched")]
    assert fetched.count("fetched gpt.pth") == 2
    assert fetched.count("fetched s2mel.pth") == 1


def test_a_file_that_stays_damaged_ends_the_set_up_by_name(volume: Volume) -> None:
    volume.break_("damage-gpt.pth")
    volume.break_("damage-gpt.pth.always")
    done = volume.run()
    assert done.returncode == 1
    assert "still damaged after three attempts: gpt.pth" in done.stderr
    assert not (volume.home / "checkpoints/.gpuctl-verified").exists()


def test_a_model_file_that_shrank_is_noticed_at_the_next_start(volume: Volume) -> None:
    volume.run()
    (volume.home / "checkpoints/s2mel.pth").write_bytes(b"half")
    volume.forget_calls()
    assert volume.run().returncode == 0
    assert "fetched s2mel.pth" in volume.calls()
    assert (volume.home / "checkpoints/s2mel.pth").read_bytes() != b"half"


def test_a_bit_that_flipped_is_found_by_check(volume: Volume) -> None:
    volume.run()
    path = volume.home / "checkpoints/gpt.pth"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    volume.forget_calls()
    assert volume.run("--check").returncode == 0
    assert "fetched gpt.pth" in volume.calls()
    assert path.read_bytes() == (volume.root / "hub/gpt.pth").read_bytes()


def test_the_hubs_own_client_fetches_the_model_and_its_notes_prove_it(volume: Volume) -> None:
    """The real `hf`, against a hub on loopback: where its notes lie and what stands in them."""
    client = Path(sys.executable).with_name("hf")
    (volume.root / "bin/hf").unlink()
    (volume.root / "bin/hf").symlink_to(client)
    with Hub(volume.root / "hub") as hub:
        env = {"HF_ENDPOINT": hub.url, "INDEXTTS_MODEL": "tiny/flux", "HF_HUB_DISABLE_XET": "1"}
        done = volume.run(**env)
        assert done.returncode == 0, done.stderr
        path = volume.home / "checkpoints/gpt.pth"
        written = path.stat().st_mtime
        data = bytearray(path.read_bytes())
        data[7] ^= 1
        path.write_bytes(data)
        # As a bit flips on a disk: the client looks at the time of the last change alone.
        os.utime(path, (written, written))
        hub.requests.clear()
        assert volume.run("--check", **env).returncode == 0
        assert "damaged: gpt.pth" in volume.log
        assert path.read_bytes() == (volume.root / "hub/gpt.pth").read_bytes()
        fetched = {Path(each).name for each in hub.requests if "/resolve/" in each}
        assert "gpt.pth" in fetched
    manifest = (volume.home / "checkpoints/.gpuctl-verified").read_text()
    assert manifest.count("\n") == len(LARGE) + 1


def test_another_tag_changes_the_source_and_the_venv_but_not_the_model(volume: Volume) -> None:
    volume.run()
    volume.forget_calls()
    assert volume.run(INDEXTTS_REF="v2.0.0").returncode == 0
    calls = " ".join(volume.calls())
    assert "index-tts.git v2.0.0" in calls
    assert "uv sync" in calls
    assert "hf download" not in calls


def test_version_two_and_a_half_has_its_own_model_and_folder(volume: Volume) -> None:
    (volume.root / "hub/codec.pth").write_bytes(b"codec" * 100)
    assert volume.run(INDEXTTS_VERSION="2.5").returncode == 0
    assert "hf download IndexTeam/IndexTTS-2.5" in " ".join(volume.calls())
    assert (volume.home / "checkpoints_2_5/codec.pth").is_file()
    assert volume.run(INDEXTTS_VERSION="3").returncode == 2


def test_a_model_that_lacks_a_file_is_not_taken_for_ready(volume: Volume) -> None:
    (volume.root / "hub/feat2.pt").unlink()
    done = volume.run()
    assert done.returncode == 1
    assert "feat2.pt" in done.stderr


def test_two_workers_on_one_volume_set_it_up_once(volume: Volume) -> None:
    both = [
        subprocess.Popen(
            ["bash", str(SCRIPT)], env=volume.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum(call.startswith("uv sync") for call in volume.calls()) == 1


def test_a_lock_whose_owner_is_gone_does_not_block_for_ever(volume: Volume) -> None:
    lock = volume.home / ".bootstrap.lock"
    lock.mkdir(parents=True)
    old = time.time() - 1000
    os.utime(lock, (old, old))
    assert volume.run().returncode == 0
    assert "taking over" in volume.log


def test_the_simulation_sets_up_nothing(volume: Volume) -> None:
    assert volume.run(GPUCTL_ENGINE="sim").stdout == "python=python3\n"
    assert volume.calls() == []
    assert not volume.home.exists()


def start(volume: Volume, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(TTS / "start.sh"), *arguments],
        env={**volume.env, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_on_a_pod_the_container_is_an_ssh_server_for_that_key_and_passes_its_settings_on(
    volume: Volume,
) -> None:
    for name in ("sshd", "ssh-keygen"):
        program = volume.root / "bin" / name
        program.write_text(f"#!/bin/bash\n{NOTE}")
        program.chmod(0o755)
    done = start(
        volume,
        PUBLIC_KEY="ssh-ed25519 AAAA me",
        GPUCTL_SSHD=str(volume.root / "bin/sshd"),
        INDEXTTS_VERSION="2.5",
        S3_BUCKET_NAME="speech",
        UNRELATED="x",
    )
    assert done.returncode == 0, done.stderr
    keys, passed = (volume.root / ".ssh" / name for name in ("authorized_keys", "environment"))
    assert keys.read_text() == "ssh-ed25519 AAAA me\n"
    assert (keys.stat().st_mode & 0o777, passed.stat().st_mode & 0o777) == (0o600, 0o600)
    told = passed.read_text().splitlines()
    assert {"INDEXTTS_VERSION=2.5", "S3_BUCKET_NAME=speech"} <= set(told)
    assert "UNRELATED=x" not in told
    assert "PasswordAuthentication=no" in " ".join(volume.calls())


def test_a_container_that_nothing_can_bring_a_job_to_says_so(volume: Volume) -> None:
    done = start(volume)
    assert (done.returncode, "PUBLIC_KEY" in done.stderr) == (2, True)


def test_on_an_endpoint_the_container_sets_up_the_volume_and_then_serves(volume: Volume) -> None:
    """The stand-in for Python knows no worker: what it is started with is all that counts."""
    (volume.root / "bin/python3").write_text(f"#!/bin/bash\n{NOTE}")
    (volume.root / "bin/python3").chmod(0o755)
    assert start(volume, RUNPOD_WEBHOOK_GET_JOB="http://127.0.0.1/take").returncode == 0
    assert volume.calls()[-1].endswith(f"-B {TTS}/handler.py")
    assert start(volume, "--warmup").returncode == 0
    assert volume.calls()[-1].endswith(f"-B {TTS}/handler.py --warmup")


@pytest.mark.parametrize("name", ["bootstrap.sh", "start.sh"])
def test_the_scripts_pass_shellcheck(name: str) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(TTS / name)], capture_output=True, text=True)
    assert done.stdout == ""


def test_the_dockerfile_passes_hadolint_and_installs_what_the_scripts_pin() -> None:
    path = TTS / "Dockerfile"
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(path)], capture_output=True, text=True)
    assert done.stdout == ""
    script, image = SCRIPT.read_text(), path.read_text()
    for package, name in (("uv", "uv_pin"), ("huggingface_hub", "hub_pin")):
        (pin,) = [line.split("=")[1] for line in script.splitlines() if line.startswith(f"{name}=")]
        assert f"{package}=={pin}" in image
    assert "INDEXTTS_REF=v2.5.0" in image
    assert "INDEXTTS_REF:-v2.5.0" in script
