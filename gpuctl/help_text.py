"""What `gpuctl --help` prints, and the help topics: plain text, ready before Typer is."""

from __future__ import annotations

GLOBAL_OPTIONS = (
    ("--json", "one JSON document on stdout (`gpuctl help json`)"),
    ("-q, --quiet", "results and errors only"),
    ("-v, --verbose", "more of what is going on"),
    ("--debug", "tracebacks"),
    ("--no-color", "no colours (NO_COLOR works too)"),
    ("--no-input", "never ask; fail and name the flag instead"),
    ("-y, --yes", "yes to questions that cost little"),
    ("--dry-run", "show the plan, the price and the bodies; change nothing"),
    ("--sim", "the simulator: no account, no GPU, no network (GPUCTL_SIM=1)"),
    ("--version", "print the version"),
)

# Group → (command, one line). The order here is the order of the help.
COMMANDS: dict[str, tuple[tuple[str, str], ...]] = {
    "Generate": (
        ("flux", "Paint pictures from a prompt."),
        ("sd", "Paint with Stable Diffusion on Automatic1111."),
        ("tts", "Speak a text in a cloned voice."),
        ("voices", "Add, list, show and remove voices to speak with."),
        ("transcribe", "Turn speech into text or subtitles, live or from recordings."),
        ("video", "Turn a still into a film, perhaps up to a last picture."),
        ("replay", "Make a result again from its receipt."),
        ("enhance", "Let Claude rewrite a prompt, and show the difference."),
        ("tokens", "Show what the text encoders see of a prompt."),
        ("jobs", "List, show, attach, cancel and fetch jobs."),
    ),
    "Machines": (
        ("deploy", "Rent a GPU and wait until it is usable."),
        ("status", "Show machines, what they cost and where they answer."),
        ("start", "Start a stopped machine."),
        ("restart", "Restart a machine; elsewhere on its volume when its host is full."),
        ("stop", "Stop a machine; its volume stays and is billed."),
        ("terminate", "End a machine for good, and prove that it is gone."),
        ("gpus", "List GPU types with price, memory and stock."),
        ("datacenters", "List places and what each has in stock."),
        ("endpoint", "Make, scale, look into and delete serverless endpoints."),
        ("volumes", "List, make, grow and delete network volumes."),
    ),
    "Images": (
        ("build", "Build the container image of a workload."),
        ("push", "Push it to its registry, and record its digest."),
        ("image", "Look at an image without pulling it: inspect, list."),
        ("ec2", "Rehearse an image on an EC2 GPU, whole or in parts."),
        ("passport", "Show the proofs that an image was validated: show, list, verify."),
        ("test", "Test a running service: its health, and what it hears."),
    ),
    "Money": (
        ("lease", "Show and extend the deadlines of machines."),
        ("reap", "End what is past its deadline; --install calls it by a timer."),
        ("resources", "Show everything that bills, at every provider."),
        ("cost", "Show what was billed beside our own records."),
        ("panic", "End everything of ours at once, each with proof."),
    ),
    "Reach a machine": (
        ("wait", "Wait until a machine can be used."),
        ("connect", "Read a machine's address again, and try to get in."),
        ("ssh", "Open a shell with the real ssh, our key and its pinned host key."),
        ("exec", "Run one command there: stdin, stdout, stderr, exit code."),
        ("cp", "Copy files and folders, either way, verified and resumed."),
        ("sync", "Make a folder there like the one here, or the other way."),
        ("upload", "Put the worker's scripts on a machine now."),
        ("df", "Show how full its disks are, and with what."),
        ("tunnel", "Bring a port of the machine to 127.0.0.1."),
        ("logs", "Show or follow what its system and its container say."),
    ),
    "This tool": (
        ("setup", "Set up credentials and an SSH key, each checked by using it."),
        ("doctor", "Check all that a deploy needs, each problem with its remedy."),
        ("config", "Show, get and set configuration, each value with its origin."),
        ("sim", "Look after the simulator: status, stop, reset, fault."),
        ("completion", "Print the completion script of a shell."),
        ("help", "Topics: exit-codes, environment, json."),
    ),
}


def _rows(rows: tuple[tuple[str, str], ...]) -> str:
    width = max(len(name) for name, _ in rows) + 2
    return "".join(f"  {name:<{width}}{text}\n" for name, text in rows)


def _root() -> str:
    width = max(len(name) for rows in COMMANDS.values() for name, _ in rows) + 2
    groups = "".join(
        f"\n{group}:\n" + "".join(f"  {name:<{width}}{text}\n" for name, text in rows)
        for group, rows in COMMANDS.items()
    )
    return (
        "gpuctl rents a GPU, paints, brings the result home, and leaves nothing billing.\n"
        "\n"
        "Usage: gpuctl COMMAND [OPTIONS]\n"
        "\n"
        "Try it now, without an account:\n"
        '  gpuctl --sim flux "a red fox in snow"\n'
        "\n"
        "Then on a rented GPU:\n"
        "  gpuctl deploy flux\n"
        '  gpuctl flux "a lighthouse at dusk" --quality --portrait\n'
        "  gpuctl terminate flux\n"
        f"{groups}"
        "\nOptions that work anywhere:\n"
        f"{_rows(GLOBAL_OPTIONS)}"
        "\n`gpuctl COMMAND --help` shows the options of a command.\n"
    )


ROOT = _root()
EPILOG = "Options that work anywhere (--json, --dry-run, --sim, …): gpuctl --help"
