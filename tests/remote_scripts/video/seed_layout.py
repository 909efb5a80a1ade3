"""A graph with the node ids and classes of the seed's files, written from workloads.md §4.3."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
HIGH = "Wan2_2-I2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors"
LOW = "Wan2_2-I2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors"


def seed_graph(*, has_end: bool = False) -> Json:
    """The layout of new_Wan22_api.json, or of new_Wan22_flf2v_api.json."""
    graph = {**_loaders(), **_inputs(), **_samplers()}
    if has_end:
        graph["617"] = {"class_type": "LoadImage", "inputs": {"image": "end.png"}}
        graph["613"] = _resized("617")
        graph["541"]["inputs"]["end_image"] = ["613", 0]
        graph["193"]["inputs"]["image_2"] = ["613", 0]
    return graph


def _node(kind: str, **inputs: Any) -> Json:
    return {"class_type": kind, "inputs": inputs}


def _resized(image: str) -> Json:
    return _node(
        "ImageResizeKJv2",
        **{"width": ["235", 0], "height": ["236", 0], "upscale_method": "lanczos"},
        **{"keep_proportion": "crop", "pad_color": "0, 0, 0", "crop_position": "center"},
        divisible_by=2,
        image=[image, 0],
    )


def _loaders() -> Json:
    model = {
        "base_precision": "bf16",
        "quantization": "fp8_e4m3fn",
        "load_device": "offload_device",
        "attention_mode": "sageattn",
        "rms_norm_function": "default",
    }
    loras = {
        **{f"lora_{i}": "none" for i in range(1, 5)},
        **{f"strength_{i}": 1.0 for i in range(5)},
        **{"low_mem_load": False, "merge_loras": False},
    }
    return {
        "122": _node("WanVideoModelLoader", model=HIGH, **model),
        "549": _node("WanVideoModelLoader", model=LOW, **model),
        "129": _node(
            "WanVideoVAELoader", model_name="Wan2_1_VAE_bf16.safetensors", precision="bf16"
        ),
        "136": _node(
            "LoadWanVideoT5TextEncoder",
            model_name="umt5-xxl-enc-bf16.safetensors",
            precision="bf16",
            load_device="offload_device",
            quantization="disabled",
        ),
        "173": _node("CLIPVisionLoader", clip_name="clip_vision_h.safetensors"),
        "279": _node("WanVideoLoraSelectMulti", lora_0="high_noise_model.safetensors", **loras),
        "553": _node("WanVideoLoraSelectMulti", lora_0="low_noise_model.safetensors", **loras),
        "556": _node("WanVideoSetLoRAs", model=["122", 0], lora=["279", 0]),
        "552": _node("WanVideoSetLoRAs", model=["549", 0], lora=["553", 0]),
    }


def _inputs() -> Json:
    return {
        "135": _node(
            "WanVideoTextEncode",
            positive_prompt="",
            negative_prompt="",
            force_offload=True,
            use_disk_cache=False,
            device="gpu",
            t5=["136", 0],
        ),
        "193": _node("WanVideoClipVisionEncode", clip_vision=["173", 0], image_1=["171", 0]),
        "244": _node("LoadImage", image="start.png"),
        "171": _resized("244"),
        "235": _node("INTConstant", value=480),
        "236": _node("INTConstant", value=832),
        "541": _node(
            "WanVideoImageToVideoEncode",
            width=["235", 0],
            height=["236", 0],
            num_frames=81,
            noise_aug_strength=0.0,
            start_latent_strength=1.0,
            end_latent_strength=1.0,
            force_offload=True,
            fun_or_fl2v_model=False,
            tiled_vae=False,
            vae=["129", 0],
            start_image=["171", 0],
            clip_embeds=["193", 0],
        ),
        "498": _node(
            "WanVideoContextOptions",
            context_schedule="static_standard",
            context_frames=81,
            context_stride=4,
            context_overlap=48,
            freenoise=True,
        ),
    }


def _samplers() -> Json:
    common = {
        "steps": ["569", 0],
        "shift": 9.0,
        "seed": 0,
        "force_offload": True,
        "scheduler": "dpm++_sde",
        "riflex_freq_index": 0,
        "image_embeds": ["541", 0],
        "text_embeds": ["135", 0],
    }
    return {
        "569": _node("INTConstant", value=8),
        "575": _node("INTConstant", value=4),
        "570": _node(
            "CreateCFGScheduleFloatList",
            steps=["569", 0],
            cfg_scale_start=2.0,
            cfg_scale_end=2.0,
            interpolation="linear",
            start_percent=0.0,
            end_percent=0.01,
        ),
        "220": _node(
            "WanVideoSampler",
            **common,
            cfg=["570", 0],
            model=["556", 0],
            start_step=0,
            end_step=["575", 0],
            add_noise_to_samples=True,
            context_options=["498", 0],
        ),
        "540": _node(
            "WanVideoSampler",
            **common,
            cfg=1.0,
            model=["552", 0],
            start_step=["575", 0],
            end_step=-1,
            samples=["220", 0],
        ),
        "612": _node("WanVideoDecode", vae=["129", 0], samples=["540", 0], enable_vae_tiling=False),
        "131": _node(
            "VHS_VideoCombine",
            images=["612", 0],
            frame_rate=16.0,
            loop_count=0,
            filename_prefix="WanVideo_X264",
            format="video/h264-mp4",
            crf=19,
            pingpong=False,
            save_output=True,
        ),
    }
