"""The stand-in with a real Stable Diffusion pipeline of tiny random weights behind it, on CPU.

Runs in a Python with torch and diffusers; what it serves is what sd.sim_webui serves.
"""

from __future__ import annotations

import sys
from typing import Any


def pipelines() -> tuple[Any, Any]:
    """txt2img and img2img over the same parts, 3 MB of random numbers that are always the same."""
    import torch
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionImg2ImgPipeline,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
    )
    # Four blocks keep the real scale: a latent is an eighth of the picture.
    vae = AutoencoderKL(
        block_out_channels=(4,) * 4,
        norm_num_groups=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    )
    parts: dict[str, Any] = {
        "vae": vae,
        "text_encoder": text,
        "tokenizer": None,
        "unet": unet,
        "scheduler": EulerDiscreteScheduler(),
        "safety_checker": None,
        "feature_extractor": None,
    }
    found = []
    for kind in (StableDiffusionPipeline, StableDiffusionImg2ImgPipeline):
        pipeline = kind(**parts, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
        found.append(pipeline)
    return found[0], found[1]


class Painter:
    """Paints an order of the stand-in with the pipelines. The tokenizer is the letters' numbers."""

    def __init__(self) -> None:
        self._txt2img, self._img2img = pipelines()

    def __call__(self, order: Any, _share: float = 1.0) -> Any:
        import torch

        given: dict[str, Any] = {
            "prompt_embeds": self._read(order.prompt),
            "negative_prompt_embeds": self._read(order.negative),
            "num_inference_steps": order.steps,
            "guidance_scale": order.cfg,
            "generator": torch.Generator("cpu").manual_seed(order.seed),
        }
        if order.initial is None:
            return self._txt2img(width=order.width, height=order.height, **given).images[0]
        initial = order.initial.convert("RGB").resize((order.width, order.height))
        return self._img2img(image=initial, strength=order.strength, **given).images[0]

    def _read(self, text: str) -> Any:
        import torch

        ids = [1, *(2 + ord(letter) % 297 for letter in text[:75]), 299]
        ids += [299] * (77 - len(ids))
        with torch.no_grad():
            return self._txt2img.text_encoder(torch.tensor([ids]))[0]


if __name__ == "__main__":
    from sd.sim_webui import main

    sys.exit(main(sys.argv[1:], paint=Painter()))
