"""The node classes that the simulated ComfyUI knows: their inputs as `/object_info` shows them.

Shapes as recorded from 0.3.64 (workloads.md §4.1, §4.4) and read in the seed's workflow (§4.3).
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

LINKED = "linked"
SEED_MOST = 2**64 - 1
SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_sde", "uni_pc", "res_multistep"]
SCHEDULERS = ["simple", "normal", "karras", "beta", "sgm_uniform"]


def whole(default: int, low: int, high: int, step: int = 1) -> list[Any]:
    return ["INT", {"default": default, "min": low, "max": high, "step": step}]


def real(default: float, low: float, high: float) -> list[Any]:
    return ["FLOAT", {"default": default, "min": low, "max": high, "step": 0.01}]


def text() -> list[Any]:
    return ["STRING", {"multiline": True}]


def flag(default: bool = False) -> list[Any]:
    return ["BOOLEAN", {"default": default}]


def of(kind: str) -> list[Any]:
    return [kind, {}]


def one_of(*values: str) -> list[Any]:
    return [list(values), {}]


def files(folder: str) -> list[Any]:
    """A list that is filled with the files of `folder` when somebody asks."""
    return [f"${folder}", {}]


def node(
    outputs: str, required: Json, optional: Json | None = None, *, is_output: bool = False
) -> Json:
    return {
        "input": {"required": required, "optional": optional or {}},
        "output": outputs.split(),
        "output_node": is_output,
    }


_SIZED = {
    "positive": of("CONDITIONING"),
    "negative": of("CONDITIONING"),
    "vae": of("VAE"),
    "width": whole(832, 16, 16384, 16),
    "height": whole(480, 16, 16384, 16),
    "length": whole(81, 1, 16384, 4),
    "batch_size": whole(1, 1, 4096),
}

CORE: dict[str, Json] = {
    "LoadImage": node("IMAGE MASK", {"image": ["$input", {"image_upload": True}]}),
    "CLIPLoader": node(
        "CLIP",
        {"clip_name": files("text_encoders"), "type": one_of("sd3", "wan", "flux", "ltxv")},
        {"device": one_of("default", "cpu")},
    ),
    "VAELoader": node("VAE", {"vae_name": files("vae")}),
    "CLIPTextEncode": node("CONDITIONING", {"text": text(), "clip": of("CLIP")}),
    "UNETLoader": node(
        "MODEL",
        {
            "unet_name": files("diffusion_models"),
            "weight_dtype": one_of("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"),
        },
    ),
    "LoraLoaderModelOnly": node(
        "MODEL",
        {
            "model": of("MODEL"),
            "lora_name": files("loras"),
            "strength_model": real(1.0, -100.0, 100.0),
        },
    ),
    "ModelSamplingSD3": node("MODEL", {"model": of("MODEL"), "shift": real(3.0, 0.0, 100.0)}),
    "WanImageToVideo": node(
        "CONDITIONING CONDITIONING LATENT",
        _SIZED,
        {"clip_vision_output": of("CLIP_VISION_OUTPUT"), "start_image": of("IMAGE")},
    ),
    "WanFirstLastFrameToVideo": node(
        "CONDITIONING CONDITIONING LATENT",
        _SIZED,
        {
            "clip_vision_start_image": of("CLIP_VISION_OUTPUT"),
            "clip_vision_end_image": of("CLIP_VISION_OUTPUT"),
            "start_image": of("IMAGE"),
            "end_image": of("IMAGE"),
        },
    ),
    "KSamplerAdvanced": node(
        "LATENT",
        {
            "model": of("MODEL"),
            "add_noise": one_of("enable", "disable"),
            "noise_seed": whole(0, 0, SEED_MOST),
            "steps": whole(20, 1, 10000),
            "cfg": real(8.0, 0.0, 100.0),
            "sampler_name": [SAMPLERS, {}],
            "scheduler": [SCHEDULERS, {}],
            "positive": of("CONDITIONING"),
            "negative": of("CONDITIONING"),
            "latent_image": of("LATENT"),
            "start_at_step": whole(0, 0, 10000),
            "end_at_step": whole(10000, 0, 10000),
            "return_with_leftover_noise": one_of("disable", "enable"),
        },
    ),
    "VAEDecode": node("IMAGE", {"samples": of("LATENT"), "vae": of("VAE")}),
    "CreateVideo": node(
        "VIDEO", {"images": of("IMAGE"), "fps": real(30.0, 1.0, 120.0)}, {"audio": of("AUDIO")}
    ),
    "SaveVideo": node(
        "",
        {
            "video": of("VIDEO"),
            "filename_prefix": text(),
            "format": one_of("auto", "mp4"),
            "codec": one_of("auto", "h264"),
        },
        is_output=True,
    ),
    "EmptyImage": node(
        "IMAGE",
        {
            "width": whole(512, 1, 16384),
            "height": whole(512, 1, 16384),
            "batch_size": whole(1, 1, 4096),
            "color": whole(0, 0, 0xFFFFFF),
        },
    ),
    "CLIPVisionLoader": node("CLIP_VISION", {"clip_name": files("clip_vision")}),
}

# What the seed's workflow needs beside the core (workloads.md §4.3).
CUSTOM: dict[str, Json] = {
    "WanVideoModelLoader": node(
        "WANVIDEOMODEL",
        {
            "model": files("diffusion_models"),
            "base_precision": one_of("fp32", "bf16", "fp16", "fp16_fast"),
            "quantization": one_of("disabled", "fp8_e4m3fn", "fp8_e4m3fn_scaled", "fp8_e5m2"),
            "load_device": one_of("main_device", "offload_device"),
        },
        {
            "attention_mode": one_of("sdpa", "flash_attn_2", "sageattn"),
            "block_swap_args": of("BLOCKSWAPARGS"),
            "rms_norm_function": one_of("default", "pytorch"),
        },
    ),
    "WanVideoVAELoader": node(
        "WANVAE", {"model_name": files("vae")}, {"precision": one_of("bf16", "fp16", "fp32")}
    ),
    "LoadWanVideoT5TextEncoder": node(
        "WANTEXTENCODER",
        {"model_name": files("text_encoders"), "precision": one_of("fp32", "bf16")},
        {
            "load_device": one_of("main_device", "offload_device"),
            "quantization": one_of("disabled", "fp8_e4m3fn"),
        },
    ),
    "WanVideoTextEncode": node(
        "WANVIDEOTEXTEMBEDS",
        {"positive_prompt": text(), "negative_prompt": text()},
        {
            "t5": of("WANTEXTENCODER"),
            "force_offload": flag(True),
            "use_disk_cache": flag(),
            "device": one_of("gpu", "cpu"),
        },
    ),
    "WanVideoClipVisionEncode": node(
        "WANVIDIMAGE_CLIPEMBEDS",
        {"clip_vision": of("CLIP_VISION"), "image_1": of("IMAGE")},
        {"image_2": of("IMAGE")},
    ),
    "ImageResizeKJv2": node(
        "IMAGE INT INT MASK",
        {
            "image": of("IMAGE"),
            "width": whole(512, 0, 16384),
            "height": whole(512, 0, 16384),
            "upscale_method": one_of("nearest-exact", "bilinear", "lanczos"),
            "keep_proportion": one_of("stretch", "resize", "pad", "crop"),
            "pad_color": text(),
            "crop_position": one_of("center", "top", "bottom", "left", "right"),
            "divisible_by": whole(2, 0, 512),
        },
    ),
    "INTConstant": node("INT", {"value": whole(0, -(2**53), 2**53)}),
    "WanVideoImageToVideoEncode": node(
        "WANVIDIMAGE_EMBEDS",
        {
            "width": whole(832, 64, 8096, 8),
            "height": whole(480, 64, 8096, 8),
            "num_frames": whole(81, 1, 10000, 4),
            "noise_aug_strength": real(0.0, 0.0, 10.0),
            "start_latent_strength": real(1.0, 0.0, 10.0),
            "end_latent_strength": real(1.0, 0.0, 10.0),
            "force_offload": flag(True),
        },
        {
            "vae": of("WANVAE"),
            "clip_embeds": of("WANVIDIMAGE_CLIPEMBEDS"),
            "start_image": of("IMAGE"),
            "end_image": of("IMAGE"),
            "fun_or_fl2v_model": flag(True),
            "tiled_vae": flag(),
        },
    ),
    "WanVideoContextOptions": node(
        "WANVIDCONTEXT",
        {
            "context_schedule": one_of("uniform_standard", "uniform_looped", "static_standard"),
            "context_frames": whole(81, 2, 1000),
            "context_stride": whole(4, 4, 100),
            "context_overlap": whole(16, 4, 100),
            "freenoise": flag(True),
        },
    ),
    "WanVideoSampler": node(
        "LATENT LATENT",
        {
            "model": of("WANVIDEOMODEL"),
            "image_embeds": of("WANVIDIMAGE_EMBEDS"),
            "steps": whole(30, 1, 10000),
            "cfg": real(6.0, 0.0, 30.0),
            "shift": real(5.0, 0.0, 1000.0),
            "seed": whole(0, 0, SEED_MOST),
            "force_offload": flag(True),
            "scheduler": one_of("unipc", "dpm++", "dpm++_sde", "euler", "lcm"),
            "riflex_freq_index": whole(0, 0, 1000),
        },
        {
            "text_embeds": of("WANVIDEOTEXTEMBEDS"),
            "samples": of("LATENT"),
            "context_options": of("WANVIDCONTEXT"),
            "start_step": whole(0, 0, 10000),
            "end_step": whole(-1, -1, 10000),
            "add_noise_to_samples": flag(),
        },
    ),
    "WanVideoLoraSelectMulti": node(
        "WANVIDLORA",
        {
            **{f"lora_{i}": ["$loras+none", {}] for i in range(5)},
            **{f"strength_{i}": real(1.0, -1000.0, 1000.0) for i in range(5)},
        },
        {"low_mem_load": flag(), "merge_loras": flag(True)},
    ),
    "WanVideoSetLoRAs": node(
        "WANVIDEOMODEL", {"model": of("WANVIDEOMODEL")}, {"lora": of("WANVIDLORA")}
    ),
    "CreateCFGScheduleFloatList": node(
        "FLOAT",
        {
            "steps": whole(30, 2, 1000),
            "cfg_scale_start": real(5.0, 0.0, 30.0),
            "cfg_scale_end": real(5.0, 0.0, 30.0),
            "interpolation": one_of("linear", "ease_in", "ease_out"),
            "start_percent": real(0.0, 0.0, 1.0),
            "end_percent": real(1.0, 0.0, 1.0),
        },
    ),
    "WanVideoDecode": node(
        "IMAGE", {"vae": of("WANVAE"), "samples": of("LATENT"), "enable_vae_tiling": flag()}
    ),
    "VHS_VideoCombine": node(
        "VHS_FILENAMES",
        {
            "images": of("IMAGE"),
            "frame_rate": real(8.0, 1.0, 120.0),
            "loop_count": whole(0, 0, 100),
            "filename_prefix": text(),
            "format": one_of("image/gif", "video/h264-mp4", "video/h265-mp4"),
            "pingpong": flag(),
            "save_output": flag(True),
        },
        is_output=True,
    ),
}
