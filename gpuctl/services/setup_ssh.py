"""Setup's SSH key: found or made, closed to others, registered with the account on consent."""

from __future__ import annotations

from pathlib import Path

from gpuctl.clients.http import Http
from gpuctl.clients.runpod_api import RunpodApi
from gpuctl.errors import GpuctlError
from gpuctl.services import key_files
from gpuctl.services.findings import Finding, fail, ok, skipped, warn
from gpuctl.services.key_files import KeyFile
from gpuctl.services.setup_steps import Place, Progress
from gpuctl.services.ssh_identity import own_key, public_line

NAME = "ssh-key"
ACCOUNT_NAME = "ssh-key-account"
FLAG = "--ssh-key"


def wanted(progress: Progress) -> Path:
    """The key that is asked for: flag, imported file, configuration."""
    asked = progress.wishes.ssh_key
    imported = progress.answers.get("ssh.key")
    path = asked or (Path(imported) if imported else progress.place.ssh_key)
    return path.expanduser().absolute()


def is_missing(progress: Progress) -> bool:
    """Nobody said which key, and there is none where the configuration looks."""
    return progress.wishes.ssh_key is None and not wanted(progress).exists()


def key_step(progress: Progress) -> Path | None:
    """The key to use, or None. What was found is in `progress`."""
    path = wanted(progress)
    if not path.exists() and progress.may_ask and progress.wishes.ssh_key is None:
        path = _offered(progress, path)
    if not path.exists():
        if progress.wishes.changes_nothing:
            make = f"gpuctl setup {FLAG} {path}"
            progress.add(fail(NAME, f"there is no key at {shown(progress.place, path)}", make))
            return None
        _make(path)
        progress.has_changed = True
        made: Finding | None = ok(NAME, f"made {shown(progress.place, path)} (ssh-ed25519, 0600)")
    else:
        made = None
    finding = made or existing(progress, path)
    progress.add(finding)
    if finding.status == "fail":
        return None
    if (
        path != progress.place.settings.path("ssh.key").absolute()
        and progress.place.sim_key is None
    ):
        progress.answers["ssh.key"] = shown(progress.place, path)
    else:
        progress.answers.pop("ssh.key", None)
    return path


def existing(progress: Progress, path: Path) -> Finding:
    """Looks at a key that is there, and closes it to others."""
    told = shown(progress.place, path)
    try:
        key = key_files.inspect(path)
    except OSError as error:
        return fail(NAME, f"{told} cannot be read: {error.strerror}", f"chmod 600 {path}")
    if key is None:
        return fail(NAME, f"{told} is not a private key", f"gpuctl setup {FLAG} OTHER")
    if not key.is_usable:
        return fail(NAME, f"{told} is {key.kind}, which servers refuse", "gpuctl setup --ssh-key …")
    fixed = _closed(progress, key)
    if not key.is_private and fixed is None:
        return fail(NAME, f"{told} is {key.mode:04o}: others may read it", f"chmod 600 {path}")
    found = f"{told} ({key.kind})"
    if key.is_encrypted:
        return Finding(
            NAME, "warn", f"{found} has a passphrase: the agent must hold it", f"ssh-add {path}",
            fixed,
        )  # fmt: skip
    return Finding(NAME, "ok", found, None, fixed)


def account_step(progress: Progress, key: Path | None) -> None:
    """Adds the public key to the account's set, if somebody wants that."""
    if key is None or progress.status_of("runpod") != "ok":
        progress.add(skipped(ACCOUNT_NAME, "needs the RunPod key and an SSH key"))
        return
    try:
        progress.add(_registered(progress, public_line(key)))
    except GpuctlError as error:
        progress.add(warn(ACCOUNT_NAME, error.message, error.hint))


def shown(place: Place, path: Path) -> str:
    """`~/…` where that is shorter, which also keeps the file good for another computer."""
    try:
        return f"~/{path.relative_to(place.home)}"
    except ValueError:
        return str(path)


def _registered(progress: Progress, line: str) -> Finding:
    api = _api(progress)
    known = [key.split()[:2] for key in api.ssh_keys()]
    if line.split()[:2] in known:
        return ok(ACCOUNT_NAME, f"the account has the key already ({len(known)} in all)")
    consent = progress.wishes.register
    if consent is None and progress.may_ask:
        kept = f" ({len(known)} there stay)" if known else ""
        consent = progress.questions.yes(
            f"register the public key with your RunPod account{kept}?\n"
            "  gpuctl deploy sends it by itself; pods made elsewhere need it.",
            flag="--register-key",
        )
    if not consent:
        how = "gpuctl setup --register-key"
        return skipped(ACCOUNT_NAME, f"not registered; deploy sends the key itself ({how})")
    if progress.wishes.changes_nothing:
        return skipped(ACCOUNT_NAME, "would be registered")
    api.add_ssh_key(line)
    progress.has_changed = True
    return ok(ACCOUNT_NAME, f"registered; {len(known)} others stay")


def _api(progress: Progress) -> RunpodApi:
    place = progress.place
    key = place.sim_key or progress.values.secret("runpod.api_key")
    return RunpodApi(
        Http(place.api_url, key=key, timeout_s=place.timeout_s, sleep=place.clock.sleep)
    )


def _offered(progress: Progress, path: Path) -> Path:
    """Keys that lie in ~/.ssh, and a new one; the person picks."""
    found = key_files.candidates(progress.place.home / ".ssh")
    if not found:
        return path
    new = path
    while new.exists():
        new = new.with_name(f"gpuctl_{new.name}")
    choices = [
        f"{shown(progress.place, key.path)} ({key.kind}"
        + (", has a passphrase)" if key.is_encrypted else ")")
        for key in found
    ]
    choices.append(f"make a new one: {shown(progress.place, new)} (ssh-ed25519)")
    picked = progress.questions.pick("which SSH key shall open the machines?", choices, flag=FLAG)
    return found[picked].path if picked < len(found) else new


def _make(path: Path) -> None:
    if not path.parent.exists():
        path.parent.mkdir(parents=True, mode=0o700)
    try:
        own_key(path)
    except OSError as error:
        raise GpuctlError(f"cannot make a key at {path}: {error.strerror}") from error


def _closed(progress: Progress, key: KeyFile) -> str | None:
    if key.is_private or progress.wishes.changes_nothing:
        return None
    try:
        key.path.chmod(0o600)
    except OSError:
        return None
    progress.has_changed = True
    return f"was {key.mode:04o}, is 0600 now"
