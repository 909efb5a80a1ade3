"""The stand-in's painter: a picture that shows what was asked for, labelled as simulated.

The same order paints the same pixels. Steps, guidance, LoRAs and strength change it as they change
a real picture: too few steps leave grain, guidance gives contrast, a LoRA tints.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from sd import sim_subjects

Picture = Any  # PIL.Image.Image; Pillow is not imported until something is painted


@dataclass(frozen=True)
class Order:
    """One picture. `strength` counts where there is an `initial` picture to start from."""

    prompt: str
    negative: str
    seed: int
    width: int
    height: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    model: str
    clip_skip: int = 1
    loras: dict[str, float] = field(default_factory=dict)
    initial: Picture = None
    mask: Picture = None
    strength: float = 0.75

    @property
    def label(self) -> str:
        """What it is and what made it, drawn into the picture."""
        loras = "".join(f" · {name} {weight:g}" for name, weight in self.loras.items())
        start = f" · strength {self.strength:g}" if self.initial is not None else ""
        return (
            f"SIMULATED · {self.model} · {self.sampler} {self.scheduler} · {self.steps} steps"
            f" · cfg {self.cfg:g}{loras}{start} · seed {self.seed} · no GPU was used"
        )


def paint(order: Order, share: float = 1.0) -> Picture:
    """The picture after `share` of its steps; below 1 it is a preview."""
    size = (order.width, order.height)
    chance = random.Random(f"{order.prompt}|{order.seed}|{order.model}|{order.clip_skip}")
    canvas = sim_subjects.scene(order.prompt, size, chance)
    canvas = _tinted(canvas, order.loras)
    canvas = _guided(canvas, order)
    canvas = _settled(canvas, order, share)
    if order.initial is not None:
        canvas = _from_initial(order, canvas)
    _label(canvas, order.label if share >= 1 else "SIMULATED · preview")
    return canvas


def upscaled(picture: Picture, size: tuple[int, int], upscaler: str) -> Picture:
    """`picture` at `size`; a "None" upscaler only stretches."""
    from PIL import Image, ImageFilter

    how = Image.Resampling.NEAREST if upscaler in ("None", "Nearest") else Image.Resampling.LANCZOS
    larger = picture.convert("RGB").resize(size, how)
    return (
        larger
        if upscaler in ("None", "Nearest", "Lanczos")
        else larger.filter(ImageFilter.UnsharpMask(2, 80))
    )


def _tinted(canvas: Picture, loras: dict[str, float]) -> Picture:
    from PIL import Image

    for name, weight in loras.items():
        if name == "lcm":  # changes how few steps it takes, not what is seen
            continue
        tint = sim_subjects.colour_of(name)
        share = min(0.6, 0.28 * abs(weight))
        canvas = Image.blend(canvas, Image.new("RGB", canvas.size, tint), share)
    return canvas


def _guided(canvas: Picture, order: Order) -> Picture:
    from PIL import ImageEnhance

    # LCM wants little guidance: what is much for it is usual for the others.
    cfg = order.cfg * 3 if order.sampler == "LCM" else order.cfg
    canvas = ImageEnhance.Color(canvas).enhance(min(2.6, 0.55 + cfg * 0.07))
    return ImageEnhance.Contrast(canvas).enhance(min(2.4, 0.72 + cfg * 0.045))


def _settled(canvas: Picture, order: Order, share: float) -> Picture:
    """Noise and blur that the steps have not removed yet."""
    from PIL import Image, ImageFilter

    pace = 3.0 if order.sampler == "LCM" and "lcm" in order.loras else 9.0
    left = 0.5 ** (order.steps * share * 3.2 / pace)
    if left < 0.02:
        return canvas
    grain = random.Random(f"{order.seed}|{order.sampler}|{order.scheduler}")
    small = (max(1, order.width // 4), max(1, order.height // 4))
    noise = Image.frombytes("RGB", small, grain.randbytes(small[0] * small[1] * 3))
    noise = noise.resize(canvas.size, Image.Resampling.BILINEAR)
    soft = canvas.filter(ImageFilter.GaussianBlur(left * min(canvas.size) / 24))
    return Image.blend(soft, noise, min(0.92, left))


def _from_initial(order: Order, canvas: Picture) -> Picture:
    from PIL import Image

    initial = order.initial.convert("RGB").resize(canvas.size, Image.Resampling.LANCZOS)
    mixed = Image.blend(initial, canvas, order.strength**2.5)
    chance = random.Random(f"{order.seed}|weather")
    mixed = sim_subjects.weather(mixed, order.prompt, chance, order.strength)
    if order.mask is None:
        return mixed
    mask = order.mask.convert("L").resize(canvas.size, Image.Resampling.LANCZOS)
    return Image.composite(mixed, initial, mask)


def _label(canvas: Picture, text: str) -> None:
    """A dark band at the foot with the label, wrapped to the picture's width."""
    from PIL import ImageDraw, ImageFont

    width, height = canvas.size
    points = max(7.0, min(width, height) / 38)
    font = ImageFont.load_default(points)
    lines, line = [], ""
    for part in text.split(" · "):
        longer = f"{line} - {part}" if line else part
        if line and font.getlength(longer) > width * 0.94:
            lines.append(line)
            longer = part
        line = longer
    lines.append(line)
    row = round(points * 1.35)
    tall = min(height, row * len(lines) + row // 2)
    band = canvas.crop((0, height - tall, width, height)).point([v // 3 for v in range(256)] * 3)
    canvas.paste(band, (0, height - tall))
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        pen.text((width * 0.03, height - tall + row * (number + 0.2)), line, font=font,
                 fill=(255, 214, 120))  # fmt: skip
