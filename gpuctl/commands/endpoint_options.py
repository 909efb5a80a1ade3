"""Options of the commands that make and change endpoints, one help text each."""

from __future__ import annotations

from typing import Annotated

import typer

EndpointArgument = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="Name, id, the end of a name, or a workload.")
]
GpuOption = Annotated[
    list[str] | None,
    typer.Option("--gpu", metavar="NAME", help="Only these cards or pools; repeatable."),
]
VramOption = Annotated[
    int | None, typer.Option("--min-vram", metavar="GB", min=1, help="Smallest GPU memory.")
]
PriceOption = Annotated[
    float | None,
    typer.Option("--max-price", metavar="USD", min=0.0, help="No worker above this per hour."),
]
ImageOption = Annotated[
    str | None, typer.Option("--image", metavar="REF", help="Container image of the workers.")
]
LeastOption = Annotated[
    int | None,
    typer.Option("--min-workers", metavar="N", min=0, help="Always on, and always billed."),
]
MostOption = Annotated[
    int | None, typer.Option("--max-workers", metavar="N", min=1, help="Never more than these.")
]
IdleOption = Annotated[
    str | None,
    typer.Option("--idle-timeout", metavar="TIME", help="A worker without a job ends after it."),
]
TimeoutOption = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="One job may run so long.")
]
ScalingOption = Annotated[
    str | None,
    typer.Option("--scaling", metavar="RULE", help="queue-delay:SECONDS or request-count:N."),
]
FlashbootOption = Annotated[
    bool | None, typer.Option("--flashboot/--no-flashboot", help="Start workers faster.")
]
VolumeOption = Annotated[
    list[str] | None,
    typer.Option("--volume", metavar="ID", help="Network volume at /runpod-volume; repeatable."),
]
DcOption = Annotated[
    list[str] | None,
    typer.Option("--dc", metavar="ID", help="Only in this data centre; repeatable."),
]
TemplateOption = Annotated[
    str | None,
    typer.Option("--template", metavar="ID", help="Serverless template; copied, not linked."),
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="K=V", help="Variable of the workers; repeatable."),
]
