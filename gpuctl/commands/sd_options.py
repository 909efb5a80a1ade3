"""The options that txt2img and img2img share, one help text each."""

from __future__ import annotations

from typing import Annotated

import typer

NegativeOption = Annotated[
    str, typer.Option("--negative", "-N", metavar="TEXT", help="What is not wanted.")
]
SizeOption = Annotated[
    str | None,
    typer.Option("--size", metavar="WxH", help="Pixels (multiples of 8), or a name of `sizes`."),
]
StepsOption = Annotated[
    int | None, typer.Option("--steps", metavar="N", help="Sampling steps: 20, with --lcm 8.")
]
CfgOption = Annotated[
    float | None, typer.Option("--cfg", metavar="X", help="Guidance: 7, with --lcm 2.")
]
SamplerOption = Annotated[
    str | None,
    typer.Option("--sampler", metavar="NAME", help="As `gpuctl sd samplers` lists them."),
]
SchedulerOption = Annotated[
    str | None, typer.Option("--scheduler", metavar="NAME", help="Automatic, Karras, …")
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="The same seed, the same picture.")
]
CountOption = Annotated[
    int, typer.Option("--count", "-n", metavar="COUNT", help="Pictures, seed counting up.")
]
LoraOption = Annotated[
    list[str] | None,
    typer.Option("--lora", metavar="NAME[:WEIGHT]", help="As <lora:NAME:WEIGHT>; repeatable."),
]
LcmOption = Annotated[
    bool, typer.Option("--lcm", help="The LCM LoRA with its sampler, 8 steps, guidance 2.")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Checkpoint, as `gpuctl sd models` lists them."),
]
VaeOption = Annotated[str | None, typer.Option("--vae", metavar="NAME", help="For these pictures.")]
ClipSkipOption = Annotated[
    int | None, typer.Option("--clip-skip", metavar="N", help="Leave out CLIP's last N-1 layers.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any key of the WebUI's API; options.KEY=VALUE is one of its options.",
    ),
]
GridOption = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        metavar="NAME=A,B,…",
        help="A picture per value, on a labelled sheet; twice: every pair.",
    ),
]
