"""From nothing to a first deploy: credentials that work, an SSH key, and a `.env` with them."""

from __future__ import annotations

from pathlib import Path

from gpuctl.services import env_file, git_ignore, setup_accounts, setup_import, setup_ssh
from gpuctl.services.credentials import ACCOUNTS
from gpuctl.services.findings import Finding, fail, ok, skipped, warn
from gpuctl.services.settings_files import names_for
from gpuctl.services.setup_steps import Outcome, Place, Progress, Questions, Wishes

GIT_NAME = "gitignore"
ENV_NAME = "env-file"


def run(place: Place, wishes: Wishes, questions: Questions) -> Outcome:
    """Asks for what is missing and writes what was accepted; running it again changes nothing.

    Raises UsageError naming every missing flag when nobody can be asked, ConfigError, NotFound.
    """
    progress = Progress(place, wishes, questions, answers=dict(wishes.values))
    for path in wishes.imports:
        _import(progress, path)
    if place.sim_key is not None:
        _simulated_accounts(progress)
    else:
        if not progress.questions.can_ask and not wishes.only_check:
            setup_accounts.require(_missing_flags(progress))
        setup_accounts.all_accounts(progress)
    key = setup_ssh.key_step(progress)
    setup_ssh.account_step(progress, key)
    written, backup = _save(progress)
    return Outcome(
        findings=tuple(progress.findings),
        written=written,
        file=place.env_path if written else None,
        backup=backup,
        next_command=_next_command(progress),
        has_changed=progress.has_changed,
    )


def _missing_flags(progress: Progress) -> list[str]:
    flags = setup_accounts.missing_flags(progress)
    return [*flags, setup_ssh.FLAG] if setup_ssh.is_missing(progress) else flags


def _simulated_accounts(progress: Progress) -> None:
    """The simulator brings its own key; nothing else is asked for, and nothing leaves here."""
    for account in ACCOUNTS:
        if account.is_required:
            progress.add(ok(account.name, "the simulator, with a key of its own"))
        else:
            progress.add(skipped(account.name, "the simulator needs none"))


def _import(progress: Progress, path: Path) -> None:
    """What the file says counts where nothing is configured yet, or with `overwrite`."""
    place = progress.place
    found = setup_import.read(path.expanduser(), place.settings, place.home)
    taken: list[str] = []
    kept: list[str] = []
    for key, value in found.values.items():
        current = place.settings.value(key)
        is_free = current.origin == "default" or progress.wishes.overwrite
        if key in progress.wishes.values or str(current.value) == value:
            continue
        (taken if is_free else kept).append(found.taken[key])
        if is_free:
            progress.answers[key] = value
    progress.extra.update(found.steps)
    taken += list(found.steps)
    notes = [f"taken: {', '.join(taken) or 'nothing new'}"]
    if kept:
        notes.append(f"kept as configured: {', '.join(kept)} (--overwrite takes them)")
    if found.unknown:
        notes.append(f"unknown: {', '.join(found.unknown)}")
    notes += found.refused
    is_clean = not (kept or found.unknown or found.refused)
    progress.add(
        Finding(
            f"import {path.name}",
            "ok" if is_clean else "warn",
            "; ".join(notes),
            details={
                "taken": taken,
                "kept": kept,
                "unknown": found.unknown,
                "refused": found.refused,
            },
        )
    )


def _save(progress: Progress) -> tuple[tuple[str, ...], Path | None]:
    """Ignored by git first, written then: the file is never there unignored."""
    place, wishes = progress.place, progress.wishes
    values = _by_name(progress)
    if place.sim_key is not None:
        progress.add(skipped(ENV_NAME, "nothing is written for the simulator"))
        return (), None
    if values or place.env_path.exists():
        progress.add(_git_step(progress, ".env", GIT_NAME))
    if values and wishes.backup:
        progress.add(_git_step(progress, ".env.bak", f"{GIT_NAME} (backup)"))
    names = tuple(values)
    if not values:
        progress.add(_unchanged(progress))
        return (), None
    if wishes.changes_nothing:
        progress.add(skipped(ENV_NAME, f"would set {', '.join(names)} in {place.env_path}"))
        return (), None
    backup = env_file.write(place.env_path, values, backup=wishes.backup)
    progress.has_changed = True
    progress.add(ok(ENV_NAME, f"{place.env_path} (0600) has {', '.join(names)}"))
    _warn_of_shadows(progress)
    return names, backup


def _by_name(progress: Progress) -> dict[str, str]:
    path = progress.place.env_path
    return {
        name: value for key, value in progress.answers.items() for name in names_for(path, key)
    } | progress.extra


def _unchanged(progress: Progress) -> Finding:
    path = progress.place.env_path
    if not path.exists():
        return skipped(ENV_NAME, "nothing to write")
    if path.stat().st_mode & 0o077 == 0:
        return ok(ENV_NAME, f"{path} is as it was")
    if progress.wishes.changes_nothing:
        return fail(ENV_NAME, f"others may read {path}", f"chmod 600 {path}")
    path.chmod(0o600)
    progress.has_changed = True
    return Finding(ENV_NAME, "ok", f"{path} is as it was", None, "its permissions are 0600 now")


def _warn_of_shadows(progress: Progress) -> None:
    """A variable of the environment wins over what was just written."""
    for key in progress.answers:
        origin = progress.place.settings.value(key).origin
        if origin.startswith("environment "):
            progress.add(
                warn("environment", f"{origin.removeprefix('environment ')} wins over .env")
            )


def _git_step(progress: Progress, name: str, title: str) -> Finding:
    folder, wishes = progress.place.folder, progress.wishes
    state = git_ignore.state(folder, name)
    if state == "tracked":
        return warn(
            title,
            f"git tracks {name}: what was committed stays in its history",
            f"git rm --cached {name}, and make new keys",
        )
    if state == "unknown":
        return skipped(title, "git does not answer")
    if state != "exposed":
        return ok(title, "no git repository here" if state == "none" else f"git ignores {name}")
    consent = wishes.gitignore
    if consent is None and progress.may_ask:
        consent = progress.questions.yes(f"add {name} to .gitignore?", flag="--gitignore")
    if not consent or wishes.changes_nothing:
        return warn(title, f"git would commit {name}", "gpuctl setup --gitignore")
    path = git_ignore.ignore(folder, name)
    progress.has_changed = True
    return Finding(title, "ok", f"git ignores {name} ({path.name})", None, f"/{name} added")


def _next_command(progress: Progress) -> str:
    if any(finding.status == "fail" for finding in progress.findings):
        return "gpuctl setup"
    if progress.place.sim_key is not None:
        return 'gpuctl --sim flux "a red fox in snow"'
    return "gpuctl doctor" if progress.wishes.changes_nothing else "gpuctl deploy flux"
