"""Checks of what ssh needs: the key, the agent, the programs, the folder."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gpuctl.services import key_files
from gpuctl.services.doctor import Bench, Check
from gpuctl.services.findings import Finding, counted, fail, ok, skipped, warn
from gpuctl.services.key_files import KeyFile
from gpuctl.services.ssh_identity import public_line

PROGRAM_LIMIT_S = 8.0


def key(bench: Bench) -> Sequence[Finding]:
    path = bench.ssh_key
    if not path.exists():
        return [fail("ssh-key", f"there is no key at {path}", "gpuctl setup")]
    try:
        found = key_files.inspect(path)
    except OSError as error:
        return [fail("ssh-key", f"{path} cannot be read: {error.strerror}", f"chmod 600 {path}")]
    if found is None:
        return [fail("ssh-key", f"{path} is not a private key", "gpuctl setup --ssh-key OTHER")]
    if not found.is_usable:
        remedy = "gpuctl setup --ssh-key ~/.ssh/gpuctl_ed25519"
        return [fail("ssh-key", f"{path} is {found.kind}, which servers refuse", remedy)]
    permissions = _permissions(bench, found)
    if permissions is not None and permissions.status == "fail":
        return [permissions]
    return [_opened(found, permissions.fixed if permissions else None, bench)]


def agent(bench: Bench) -> Sequence[Finding]:
    if not bench.environ.get("SSH_AUTH_SOCK"):
        return [skipped("ssh-agent", "none runs; only keys with a passphrase need one")]
    held = _agent_keys(bench)
    if held is None:
        return [warn("ssh-agent", "SSH_AUTH_SOCK leads nowhere", "unset SSH_AUTH_SOCK")]
    return [ok("ssh-agent", f"holds {counted(len(held), 'key')}")]


def programs(_: Bench) -> Sequence[Finding]:
    """`gpuctl ssh` execs the real one; everything else works without."""
    path = shutil.which("ssh")
    if path is None:
        return [fail("ssh", "ssh is not installed", "apt install openssh-client")]
    done = subprocess.run([path, "-V"], capture_output=True, text=True, timeout=PROGRAM_LIMIT_S)
    version = (done.stderr or done.stdout).strip().partition(",")[0]
    if shutil.which("ssh-keygen") is None:
        return [warn("ssh", f"{version}, but no ssh-keygen", "apt install openssh-client")]
    return [ok("ssh", f"{version} ({path})")]


def folder(bench: Bench) -> Sequence[Finding]:
    """ssh ignores, without a word, a folder or a list of hosts that others may write to."""
    found = []
    for path in (bench.home / ".ssh", bench.home / ".ssh/known_hosts"):
        if not path.exists():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o022 == 0:
            continue
        closed = mode & ~0o022
        if bench.fixes:
            path.chmod(closed)
            did = f"chmod {closed:o} {path} (was {mode:o})"
            found.append(Finding("ssh-folder", "ok", f"{path.name} is yours alone", None, did))
        else:
            remedy = f"chmod go-w {path}"
            found.append(warn("ssh-folder", f"others may write to {path} ({mode:04o})", remedy))
    return found or [ok("ssh-folder", "nobody else may write to it")]


CHECKS = (
    Check("ssh-key", key),
    Check("ssh-agent", agent),
    Check("ssh", programs, 10.0),
    Check("ssh-folder", folder, 5.0),
)


def _permissions(bench: Bench, found: KeyFile) -> Finding | None:
    if found.is_private:
        return None
    told = f"{found.path} is {found.mode:04o}: ssh refuses a key that others may read"
    if not bench.fixes:
        return fail("ssh-key", told, f"chmod 600 {found.path}")
    found.path.chmod(0o600)
    return Finding("ssh-key", "ok", told, None, f"chmod 600 {found.path} (was {found.mode:04o})")


def _opened(found: KeyFile, fixed: str | None, bench: Bench) -> Finding:
    name = f"{found.path} ({found.kind})"
    if not found.is_encrypted:
        public = public_line(found.path).split()
        if found.public and public[1:2] != [found.public]:
            remedy = f"ssh-keygen -y -f {found.path} > {found.path}.pub"
            return fail("ssh-key", f"{found.path}.pub belongs to another key", remedy)
        return Finding("ssh-key", "ok", name, None, fixed)
    held = _agent_keys(bench) or ()
    if found.public and found.public in held:
        return Finding("ssh-key", "ok", f"{name}, held by the agent", None, fixed)
    remedy = f"ssh-add {found.path}"
    return Finding("ssh-key", "fail", f"{name} has a passphrase, and no agent holds it", remedy)


def _agent_keys(bench: Bench) -> tuple[str, ...] | None:
    """The public keys in base64; None when there is no agent."""
    program = shutil.which("ssh-add")
    if program is None or not bench.environ.get("SSH_AUTH_SOCK"):
        return None
    done = subprocess.run(
        [program, "-L"],
        capture_output=True,
        text=True,
        timeout=PROGRAM_LIMIT_S,
        env={"SSH_AUTH_SOCK": bench.environ["SSH_AUTH_SOCK"], "PATH": str(Path(program).parent)},
    )
    if done.returncode == 2:
        return None
    return tuple(parts[1] for line in done.stdout.splitlines() if len(parts := line.split()) > 1)
