"""Shows the proofs that an image was validated."""

from __future__ import annotations

import typer

app = typer.Typer(help="Show the proofs that an image was validated.")


@app.command()
def show(ctx: typer.Context) -> None:
    """."""
