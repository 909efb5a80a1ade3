"""Goes into machines: a shell, one command, a tunnel; and says whether one can get in."""

from __future__ import annotations

import os
import shutil
import sys
import webbrowser
from contextlib import suppress
from typing import Annotated, TextIO

import typer

from gpuctl.commands.machine_text import machine_data, machine_line
from gpuctl.commands.options import OnOption
from gpuctl.commands.reach import MachineArgument, behind_dashes, the_machine
from gpuctl.commands.reach_text import duration_s, examined_data, examined_text
from gpuctl.context import Context
from gpuctl.errors import MissingDependency, PassedThrough, UsageError
from gpuctl.models import Machine
from gpuctl.services import access, remote_command, ssh_command, tunnels
from gpuctl.services.remote_command import Read

_STDIN_PIECE_BYTES = 64 << 10


def ssh(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[MACHINE] [-- COMMAND...]", help="")
    ] = None,
    terminal: Annotated[
        bool, typer.Option("--tty", "-t", help="A terminal for the command, as ssh -t.")
    ] = False,
) -> None:
    """Open a shell on a machine with the real ssh, our key and the host key that is pinned.

    Without a machine: the only one there is. One word behind `--` is a line for the machine's
    shell; several arrive as they are. The exit code is that of the remote command.

    \b
    gpuctl ssh
    gpuctl ssh flux -- nvidia-smi
    gpuctl ssh flux -- 'cd /workspace && du -sh *'
    """
    context: Context = ctx.obj
    command = behind_dashes(context)
    named = (words or [])[: len(words or []) - len(command)]
    if len(named) > 1:
        raise UsageError("one machine at a time", hint="gpuctl ssh MACHINE -- COMMAND")
    if context.console.is_json and not context.is_dry_run:
        raise UsageError("ssh has no JSON", hint="gpuctl --json exec -- COMMAND")
    machine = the_machine(context, named[0] if named else None)
    if machine.id == "local":
        raise UsageError("this computer needs no ssh", hint="gpuctl exec --on local -- COMMAND")
    line = ssh_line(context, machine, command, terminal=terminal)
    if context.is_dry_run:
        context.console.result({"argv": line}, ssh_command.shown(line))
        return
    context.console.close()
    os.execvp(line[0], line)  # the operator's own ssh, in our place


def ssh_line(
    context: Context, machine: Machine, command: list[str], *, terminal: bool = False
) -> list[str]:
    """The real ssh, with our key and the pinned host key of the machine, as an argv."""
    if shutil.which("ssh") is None:
        raise MissingDependency(
            "ssh is not installed here",
            hint="apt install openssh-client; until then: gpuctl exec -- COMMAND",
        )
    machine = ssh_command.prepared(context.connector(), context.state, machine)
    pin = context.state.pinned(machine.id)
    assert pin is not None
    pins = ssh_command.known_hosts(context.state_folder, machine, pin)
    return ssh_command.argv(
        machine, key=context.ssh_key, pins=pins, command=command, terminal=terminal
    )


def exec_(
    ctx: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="")],
    on: OnOption = None,
    no_stdin: Annotated[
        bool, typer.Option("--no-stdin", help="Leave stdin to others (in a loop of a script).")
    ] = False,
) -> None:
    """Run one command on a machine as if it ran here: stdin, stdout, stderr and exit code.

    The words arrive as they are; no shell reads them. For a pipe: -- sh -c 'a | b'.

    \b
    gpuctl exec -- nvidia-smi -L
    gpuctl exec --on flux -- tar -C /workspace -cz jobs > jobs.tar.gz
    """
    context: Context = ctx.obj
    machine = the_machine(context, on)
    if context.is_dry_run:
        line = f"would run on {machine.name}: {ssh_command.shown(command)}"
        context.console.result({"machine": machine_data(machine), "argv": command}, line)
        return
    is_fed = not no_stdin and sys.stdin is not None and not sys.stdin.isatty()
    run = _exec_as_data if context.console.is_json else _exec_live
    raise PassedThrough(run(context, machine, command, _read_stdin if is_fed else None))


def _exec_live(context: Context, machine: Machine, command: list[str], read: Read | None) -> int:
    with context.connector().connect(machine) as shell:
        return remote_command.run(
            shell,
            command,
            read_stdin=read,
            on_stdout=lambda piece: _write(sys.stdout, piece),
            on_stderr=_show_stderr,
        )


def _exec_as_data(context: Context, machine: Machine, command: list[str], read: Read | None) -> int:
    out, err = bytearray(), bytearray()
    with context.connector().connect(machine) as shell:
        code = remote_command.run(
            shell, command, read_stdin=read, on_stdout=out.extend, on_stderr=err.extend
        )
    data = {
        "machine": machine.name,
        "exit_code": code,
        "stdout": out.decode("utf-8", "replace"),
        "stderr": err.decode("utf-8", "replace"),
    }
    context.console.result(data, ok=code == 0)
    return code


def _read_stdin() -> bytes:
    return os.read(0, _STDIN_PIECE_BYTES)


def _write(stream: TextIO, piece: bytes) -> None:
    """Bytes as they are: a text stream would refuse what is not UTF-8."""
    stream.buffer.write(piece)
    stream.buffer.flush()


def _show_stderr(piece: bytes) -> None:
    with suppress(OSError, ValueError):  # on a thread of its own: nobody there to be told
        _write(sys.stderr, piece)


def connect(
    ctx: typer.Context,
    machine: MachineArgument = None,
    all_: Annotated[bool, typer.Option("--all", help="Every machine of ours that runs.")] = False,
) -> None:
    """Read a machine's address again, store it, and try to get in: port, server, login, GPU.

    \b
    gpuctl connect
    gpuctl connect --all
    """
    context: Context = ctx.obj
    if all_ and machine:
        raise UsageError("--all and a machine are two different things")
    session, connector = context.session(), context.connector()
    chosen = access.running(session) if all_ else [the_machine(context, machine)]
    results = []
    for one in chosen:
        context.console.step(f"trying {one.name}")
        results.append(access.examine(connector, access.current(session, one)))
    failed = [found.error for found in results if found.error]
    text = "\n".join(examined_text(found, _line_of(context, found)) for found in results)
    if failed and not all_:
        context.console.note(text)
        raise failed[0]
    data = {"machines": [examined_data(found, _line_of(context, found)) for found in results]}
    context.console.result(data, text or "no machine of ours runs", ok=not failed)
    if failed:
        raise PassedThrough(1)


def _line_of(context: Context, found: access.Examined) -> str | None:
    """The ssh command line, where ssh would get in."""
    if found.error or found.machine.id == "local":
        return None
    pin = context.state.pinned(found.machine.id)
    if pin is None:
        return None
    pins = ssh_command.known_hosts(context.state_folder, found.machine, pin)
    line = ssh_command.argv(found.machine, key=context.ssh_key, pins=pins)
    return ssh_command.shown(line)


def wait(
    ctx: typer.Context,
    machine: MachineArgument = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="90, 90s, 10m, 1h.")
    ] = None,
) -> None:
    """Wait until a machine can be used: it runs, lets us in, and shows its GPUs.

    Exit code 7 when that takes too long; the machine is left as it is.

    \b
    gpuctl wait flux --timeout 10m
    """
    context: Context = ctx.obj
    limit_s = duration_s(timeout) if timeout else context.settings.number("runpod.boot_limit_s")
    found = access.wait_until_usable(
        context.session(), context.connector(), the_machine(context, machine), limit_s=limit_s
    )
    context.console.result({"machine": machine_data(found)}, machine_line(found))


def tunnel(
    ctx: typer.Context,
    port: Annotated[str, typer.Argument(metavar="PORT|LOCAL:PORT", help="Port there.")],
    machine: MachineArgument = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Bring a port of the machine's loopback here, to 127.0.0.1 alone, until Ctrl-C.

    A dropped connection is opened again. LOCAL 0 takes any free port.

    \b
    gpuctl tunnel 8188 --open
    gpuctl tunnel 9000:8188 flux
    """
    context: Context = ctx.obj
    wanted = tunnels.ports(port)
    found = the_machine(context, machine)
    if found.id == "local":
        raise UsageError("this computer needs no tunnel to itself")

    def show(local: int) -> None:
        url = f"http://127.0.0.1:{local}"
        context.console.emit({"event": "open", "url": url, "port": local, "remote": wanted.remote})
        if not context.console.is_json:
            context.console.result({}, url)
        context.console.note(f"leads to port {wanted.remote} of {found.name}; Ctrl-C closes it")
        if open_:
            webbrowser.open(url)

    try:
        with context.link(found) as link:
            tunnels.keep_open(
                link,
                wanted,
                clock=context.clock,
                limit_s=context.settings.number("ssh.reconnect_limit_s"),
                report=context.console,
                on_open=show,
            )
    except KeyboardInterrupt:
        if context.console.is_watched:
            context.console.note("")  # ends the line in which the terminal shows ^C
        context.console.result({"machine": found.name, "ended": "interrupted"}, ok=False)
        raise PassedThrough(130) from None
