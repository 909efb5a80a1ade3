"""`gpuctl video workflows|models|validate`: what a machine can run, and is a graph sound."""

from __future__ import annotations

from pathlib import Path

from gpuctl.commands.render import table
from gpuctl.commands.target_choice import usable_target
from gpuctl.context import Context
from gpuctl.errors import UsageError, ValidationFailed
from gpuctl.models import Json
from gpuctl.services import workflows
from gpuctl.workloads import video


def show(context: Context, what: str, file: str | None, on: str | None) -> None:
    """One of the three. Raises UsageError, ValidationFailed."""
    if (what == "validate") != (file is not None):
        raise UsageError(
            "validate wants a workflow" if what == "validate" else f"what is '{file}'?",
            hint="gpuctl video validate FILE.json",
        )
    asked = _asked(file) if file is not None else {}
    with context.service_link(usable_target(context, video.NAME, on)) as link:
        link.dial(video.NAME)
        api = link.api
        if what == "workflows":
            _show_workflows(context, api.workflows())
        elif what == "models":
            _show_models(context, api.models())
        else:
            _show_validation(context, str(file), api.validate(asked))


def _asked(file: str) -> Json:
    graph, own_map = workflows.read(Path(file).expanduser())
    return {"workflow": graph, **({"map": own_map} if own_map else {})}


def _show_workflows(context: Context, rows: list[Json]) -> None:
    shown = [
        [row["name"], str(row.get("title") or row.get("problem") or ""), ", ".join(row["presets"])]
        for row in rows
    ]
    text = table(("workflow", "what it is", "presets"), shown)
    context.console.result({"workflows": rows}, text)


def _show_models(context: Context, found: Json) -> None:
    rows = sorted(found["models"], key=lambda row: (row["folder"], row["name"]))
    shown = [
        [row["folder"], row["name"], f"{row['gigabytes']:g} GB", _state(row), row["what"]]
        for row in rows
    ]
    text = table(("folder", "file", "size", "state", "what it is"), shown)
    context.console.result(found, text)
    context.console.note(f"on the volume {found['volume']}; the default ones come by themselves")


def _state(row: Json) -> str:
    if row.get("problem"):
        return "damaged"
    if row["is_here"]:
        return "here"
    if row.get("is_simulated"):
        return "simulated"
    return "missing" if row.get("is_default") else "not needed"


def _show_validation(context: Context, file: str, found: Json) -> None:
    known = [f"  {name:<16} {', '.join(at)}" for name, at in sorted(found["parameters"].items())]
    guessed = " (guessed from the graph)" if found["is_guess"] else f" ({found['title']})"
    lines = [f"{file}: {found['nodes']} nodes{guessed}", *known]
    lines += [f"note: {note}" for note in found["notes"]]
    if found["problems"]:
        raise ValidationFailed(
            f"{file}: " + "; ".join(found["problems"]),
            hint="gpuctl video models lists what is there",
            details=found,
        )
    context.console.result(found, "\n".join(lines))
