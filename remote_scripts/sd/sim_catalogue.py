"""What the stand-in has: checkpoints, LoRAs, samplers, schedulers, as the real lists look."""

from __future__ import annotations

import hashlib
from typing import Any

Json = dict[str, Any]

CHECKPOINTS = ("model", "awportrait_v14", "dreamshaper_8")
LORAS = {"lcm": "lcm", "style": "style", "add_detail": "addDetail", "film_grain": "filmGrain"}
VAES = ("vae-ft-mse-840000-ema-pruned.safetensors",)
UPSCALERS = ("None", "Lanczos", "Nearest", "ESRGAN_4x", "R-ESRGAN 4x+", "SwinIR 4x")
LATENT_MODES = ("Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (nearest)")
STYLES = {"cinematic": "cinematic light, film still", "sketch": "pencil sketch, white paper"}
SCRIPTS = ("prompt matrix", "x/y/z plot", "sd upscale")
ALWAYS_ON = ("controlnet", "adetailer", "refiner", "seed")

SAMPLERS: dict[str, tuple[str, ...]] = {
    "DPM++ 2M": ("k_dpmpp_2m",),
    "DPM++ SDE": ("k_dpmpp_sde",),
    "DPM++ 2M SDE": ("k_dpmpp_2m_sde",),
    "DPM++ 2M SDE Heun": ("k_dpmpp_2m_sde_heun",),
    "DPM++ 2S a": ("k_dpmpp_2s_a",),
    "DPM++ 3M SDE": ("k_dpmpp_3m_sde",),
    "Euler a": ("k_euler_a", "k_euler_ancestral"),
    "Euler": ("k_euler",),
    "LMS": ("k_lms",),
    "Heun": ("k_heun",),
    "DPM2": ("k_dpm_2",),
    "DPM2 a": ("k_dpm_2_a",),
    "DPM fast": ("k_dpm_fast",),
    "DPM adaptive": ("k_dpm_ad",),
    "Restart": ("restart",),
    "DDIM": ("ddim",),
    "PLMS": ("plms",),
    "UniPC": ("unipc",),
    "LCM": ("k_lcm",),
}
SCHEDULERS = {
    "automatic": "Automatic",
    "uniform": "Uniform",
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
    "sgm_uniform": "SGM Uniform",
}
OPTIONS: Json = {
    "samples_format": "png",
    "jpeg_quality": 80,
    "return_grid": True,
    "sd_model_checkpoint": "",
    "sd_vae": "Automatic",
    "CLIP_stop_at_last_layers": 1,
    "eta_noise_seed_delta": 0,
    "sd_unet": "Automatic",
    "upcast_attn": False,
    "face_restoration": False,
    "tiling": False,
    "emphasis": "Original",
    "comma_padding_backtrack": 20,
    "live_previews_enable": True,
    "show_progress_every_n_steps": 10,
    "outdir_samples": "",
    "img2img_color_correction": False,
}
# The API cannot change these, and does not say so (`restrict_api`).
RESTRICTED = ("outdir_samples",)


def short_hash(name: str) -> str:
    """Ten digits that are the same for the same file, as A1111 shows them."""
    return hashlib.sha256(name.encode()).hexdigest()[:10]


def checkpoints() -> list[Json]:
    return [
        {
            "title": f"{name}.safetensors [{short_hash(name)}]",
            "model_name": name,
            "hash": short_hash(name),
            "sha256": hashlib.sha256(name.encode()).hexdigest(),
            "filename": f"/opt/webui/models/Stable-diffusion/{name}.safetensors",
            "config": None,
        }
        for name in CHECKPOINTS
    ]


def checkpoint(alias: object) -> str | None:
    """The checkpoint that a title, name, file name or hash means; None for an unknown one."""
    for item in checkpoints():
        name = item["model_name"]
        if alias in (item["title"], name, f"{name}.safetensors", item["hash"], item["sha256"]):
            return str(name)
    return None


def loras() -> list[Json]:
    return [
        {"name": name, "alias": alias, "path": f"/opt/webui/models/Lora/{name}.safetensors",
         "metadata": {"ss_base_model_version": "sd_v1"}}
        for name, alias in LORAS.items()
    ]  # fmt: skip


def samplers() -> list[Json]:
    return [
        {"name": name, "aliases": list(aliases), "options": {}}
        for name, aliases in SAMPLERS.items()
    ]


def schedulers() -> list[Json]:
    return [
        {
            "name": name,
            "label": label,
            "aliases": None,
            "default_rho": 7.0 if name == "karras" else -1.0,
            "need_inner_model": False,
        }
        for name, label in SCHEDULERS.items()
    ]


def upscalers() -> list[Json]:
    return [
        {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": 4.0}
        for name in UPSCALERS
    ]
