"""The wizard: asks for what is missing, checks it by using it, and writes `.env`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gpuctl.commands.findings_text import findings_text
from gpuctl.console import Console
from gpuctl.context import Context
from gpuctl.errors import NotFound, UsageError
from gpuctl.models import Secret
from gpuctl.services import setup as wizard
from gpuctl.services.credentials import ACCOUNTS
from gpuctl.services.setup_steps import Outcome, Place, Wishes

STDIN = "-"
_FILE = "FILE|-"

SecretFile = Annotated[
    str | None, typer.Option(metavar=_FILE, help="File with the secret; '-' reads stdin.")
]


def setup(
    ctx: typer.Context,
    runpod_key_file: SecretFile = None,
    hf_token_file: SecretFile = None,
    anthropic_key_file: SecretFile = None,
    dockerhub_user: Annotated[str | None, typer.Option(help="Docker Hub account.")] = None,
    dockerhub_token_file: SecretFile = None,
    aws_profile: Annotated[str | None, typer.Option(help="Profile of ~/.aws.")] = None,
    aws_region: Annotated[str | None, typer.Option(help="For example us-east-2.")] = None,
    aws_key_id: Annotated[str | None, typer.Option(help="AWS access key id.")] = None,
    aws_secret_file: SecretFile = None,
    ssh_key: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Private key; made when it is not there.")
    ] = None,
    register_key: Annotated[
        bool | None,
        typer.Option("--register-key/--no-register-key", help="Public key → RunPod account."),
    ] = None,
    import_: Annotated[
        list[Path] | None,
        typer.Option("--import", metavar="FILE", help="A config.env or .env; repeatable."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="What --import says wins over what is set.")
    ] = False,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="NAME", help="Leave an account out.")
    ] = None,
    gitignore: Annotated[
        bool | None, typer.Option("--gitignore/--no-gitignore", help="Let git ignore .env.")
    ] = None,
    save_unchecked: Annotated[
        bool, typer.Option("--save-unchecked", help="Save what could not be checked now.")
    ] = False,
    backup: Annotated[bool, typer.Option("--backup", help="Keep the old file: .env.bak.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Verify; ask and write nothing.")] = False,
) -> None:
    """Set up credentials and an SSH key; each is checked by using it. Can be run again.

    \b
    gpuctl setup
    gpuctl setup --no-input --runpod-key-file key.txt --ssh-key ~/.ssh/id_ed25519
    gpuctl setup --import ../flux/config.env
    """
    context: Context = ctx.obj
    files = {
        "runpod.api_key": runpod_key_file,
        "huggingface.token": hf_token_file,
        "claude.api_key": anthropic_key_file,
        "dockerhub.token": dockerhub_token_file,
        "aws.secret_access_key": aws_secret_file,
    }
    plain = {
        "dockerhub.username": dockerhub_user,
        "aws.profile": aws_profile,
        "aws.region": aws_region,
        "aws.access_key_id": aws_key_id,
    }
    wishes = Wishes(
        values={key: value for key, value in plain.items() if value} | _secrets(context, files),
        imports=tuple(import_ or ()),
        skip=_skipped(skip or ()),
        ssh_key=ssh_key,
        register=_or_yes(context, register_key),
        gitignore=_or_yes(context, gitignore),
        overwrite=overwrite,
        save_unchecked=save_unchecked,
        backup=backup,
        only_check=check,
        is_dry_run=context.is_dry_run,
    )
    _show(context, wizard.run(_place(context), wishes, _Questions(context.console)))


class _Questions:
    """The person at the terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @property
    def can_ask(self) -> bool:
        return self._console.can_ask

    def text(self, question: str, *, flag: str) -> str:
        return self._console.ask(question, flag=flag)

    def secret(self, question: str, *, flag: str) -> str:
        return self._console.ask_secret(question, flag=flag)

    def yes(self, question: str, *, flag: str) -> bool:
        return self._console.confirm(question, flag=flag)

    def pick(self, question: str, choices: Sequence[str], *, flag: str) -> int:
        listed = "\n".join(f"  {number}) {text}" for number, text in enumerate(choices, 1))
        self._console.note(f"\n{question}\n{listed}")
        while True:
            answer = self._console.ask(f"1–{len(choices)} [1]", flag=flag) or "1"
            if answer.isdecimal() and 1 <= int(answer) <= len(choices):
                return int(answer) - 1


def _place(context: Context) -> Place:
    settings = context.settings
    simulator = context.simulator if context.is_sim else None
    return Place(
        settings=settings,
        folder=context.project_folder,
        home=Path.home(),
        ssh_key=context.ssh_key,
        api_url=simulator.api_url if simulator else settings.text("runpod.api_url"),
        report=context.console,
        clock=context.clock,
        timeout_s=min(15.0, settings.number("runpod.timeout_s")),
        sim_key=simulator.api_key if simulator else None,
    )


def _secrets(context: Context, files: dict[str, str | None]) -> dict[str, str]:
    """Secrets come from files or stdin: a command line stays in the shell's history."""
    if list(files.values()).count(STDIN) > 1:
        raise UsageError("only one secret can be read from stdin", hint="put the others into files")
    found = {key: _secret(file) for key, file in files.items() if file is not None}
    for value in found.values():
        context.console.redact.learn(Secret(value))
    return found


def _secret(file: str) -> str:
    if file == STDIN and sys.stdin.isatty():
        raise UsageError(
            "a secret typed at the terminal would be seen",
            hint="pipe it in, or leave the flag out: setup asks, and hides what you type",
        )
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).expanduser().read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(
            f"there is no file {file[:4]}…" if len(file) > 60 else f"there is no file {file}",
            hint="the flag takes a file that holds the secret, not the secret itself",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the secret from {file}: {error}") from error
    words = text.split()
    if len(words) != 1:
        raise UsageError(
            f"{'stdin' if file == STDIN else file} must hold one secret and nothing else"
        )
    return words[0]


def _or_yes(context: Context, asked: bool | None) -> bool | None:
    """--yes answers what costs nothing; saving what nobody could check is not among that."""
    return True if asked is None and context.console.options.yes else asked


def _skipped(names: Sequence[str]) -> frozenset[str]:
    asked = [name.strip() for names_ in names for name in names_.split(",") if name.strip()]
    known = [account.name for account in ACCOUNTS]
    for name in asked:
        if name not in known:
            raise UsageError(f"there is no account '{name}'", hint=f"one of {', '.join(known)}")
    return frozenset(asked)


def _show(context: Context, outcome: Outcome) -> None:
    data = {
        "steps": [finding.as_json() for finding in outcome.findings],
        "written": list(outcome.written),
        "file": str(outcome.file) if outcome.file else None,
        "backup": str(outcome.backup) if outcome.backup else None,
        "next": outcome.next_command,
    }
    text = findings_text(context.console, outcome.findings)
    context.console.result(
        data,
        f"{text}\n\nnext: {outcome.next_command}",
        changed=outcome.has_changed,
        ok=outcome.is_complete,
    )
    if not outcome.is_complete:
        raise typer.Exit(4)
