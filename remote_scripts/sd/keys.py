"""What Automatic1111's txt2img and img2img read, key by key (workloads.md §3.3).

The WebUI drops an unknown key and rounds a wrong size without a word; here both are named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_SIDE = 4096
MIN_SIDE = 64
MULTIPLE = 8
MAX_TEXT = 50_000


@dataclass(frozen=True)
class Kind:
    """What a value has to be. `low` and `high` bound numbers; a text has at most `high` letters."""

    name: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def wanted(self) -> str:
        """The kind in words, for the remedy of an error."""
        if self.name in ("integer", "number"):
            noun = "a whole number" if self.name == "integer" else "a number"
            if math.isinf(self.low) and math.isinf(self.high):
                return noun
            return f"{noun} from {self.low:g} to {self.high:g}"
        return _NOUNS[self.name]

    def admits(self, value: object) -> bool:
        """Whether `value` is of this kind. None is no value of any kind."""
        if self.name in ("integer", "number"):
            return self._is_number(value)
        if self.name == "picture":
            return isinstance(value, str)
        if self.name == "text":
            return isinstance(value, str) and len(value) <= MAX_TEXT
        if self.name == "texts":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        return self.name == "any" or isinstance(value, _TYPES[self.name])

    def _is_number(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if not math.isfinite(value) or not self.low <= value <= self.high:
            return False
        return self.name == "number" or value == int(value)


_TYPES: dict[str, type] = {"flag": bool, "table": dict, "list": list}
_NOUNS = {
    "text": f"a text of at most {MAX_TEXT} characters",
    "texts": "a list of texts",
    "flag": "true or false",
    "table": "an object",
    "list": "a list",
    "picture": "a picture as base64",
    "any": "anything",
}
TEXT, TEXTS, FLAG, TABLE, LIST, PICTURE = (
    Kind(name) for name in ("text", "texts", "flag", "table", "list", "picture")
)
NUMBER, SHARE = Kind("number"), Kind("number", 0, 1)
SEED = Kind("integer", -1, 2**53)
SIDE = Kind("integer", MIN_SIDE, MAX_SIDE)
COUNT, STEPS = Kind("integer", 1, 256), Kind("integer", 1, 500)

_BOTH: dict[str, Kind] = {
    "prompt": TEXT,
    "negative_prompt": TEXT,
    "styles": TEXTS,
    "seed": SEED,
    "subseed": SEED,
    "subseed_strength": SHARE,
    "seed_resize_from_h": Kind("integer"),
    "seed_resize_from_w": Kind("integer"),
    "sampler_name": TEXT,
    "sampler_index": TEXT,
    "scheduler": TEXT,
    "batch_size": COUNT,
    "n_iter": COUNT,
    "steps": STEPS,
    "cfg_scale": Kind("number", 0, 100),
    "width": SIDE,
    "height": SIDE,
    "restore_faces": FLAG,
    "tiling": FLAG,
    "do_not_save_samples": FLAG,
    "do_not_save_grid": FLAG,
    "eta": NUMBER,
    "denoising_strength": SHARE,
    "s_min_uncond": NUMBER,
    "s_churn": NUMBER,
    "s_tmax": NUMBER,
    "s_tmin": NUMBER,
    "s_noise": NUMBER,
    "override_settings": TABLE,
    "override_settings_restore_afterwards": FLAG,
    "refiner_checkpoint": TEXT,
    "refiner_switch_at": SHARE,
    "disable_extra_networks": FLAG,
    "comments": TABLE,
    "force_task_id": TEXT,
    "script_name": TEXT,
    "script_args": LIST,
    "send_images": FLAG,
    "save_images": FLAG,
    "alwayson_scripts": TABLE,
    "infotext": TEXT,
}
TXT2IMG: dict[str, Kind] = {
    **_BOTH,
    "firstpass_image": PICTURE,
    "firstphase_width": Kind("integer", 0, MAX_SIDE),
    "firstphase_height": Kind("integer", 0, MAX_SIDE),
    "enable_hr": FLAG,
    "hr_scale": Kind("number", 1, 8),
    "hr_upscaler": TEXT,
    "hr_second_pass_steps": Kind("integer", 0, 500),
    "hr_resize_x": Kind("integer", 0, 2 * MAX_SIDE),
    "hr_resize_y": Kind("integer", 0, 2 * MAX_SIDE),
    "hr_checkpoint_name": TEXT,
    "hr_sampler_name": TEXT,
    "hr_scheduler": TEXT,
    "hr_prompt": TEXT,
    "hr_negative_prompt": TEXT,
}
IMG2IMG: dict[str, Kind] = {
    **_BOTH,
    "init_images": LIST,
    "resize_mode": Kind("integer", 0, 3),
    "image_cfg_scale": Kind("number", 0, 100),
    "mask": PICTURE,
    "mask_blur": Kind("integer", 0, 256),
    "mask_blur_x": Kind("integer", 0, 256),
    "mask_blur_y": Kind("integer", 0, 256),
    "mask_round": FLAG,
    "inpainting_fill": Kind("integer", 0, 3),
    "inpaint_full_res": FLAG,
    "inpaint_full_res_padding": Kind("integer", 0, 1024),
    "inpainting_mask_invert": Kind("integer", 0, 1),
    "initial_noise_multiplier": NUMBER,
    "latent_mask": PICTURE,
    "include_init_images": FLAG,
}
UPSCALE: dict[str, Kind] = {
    "image": PICTURE,
    "resize_mode": Kind("integer", 0, 1),
    "show_extras_results": FLAG,
    "gfpgan_visibility": SHARE,
    "codeformer_visibility": SHARE,
    "codeformer_weight": SHARE,
    "upscaling_resize": Kind("number", 1, 8),
    "upscaling_resize_w": Kind("integer", 1, 2 * MAX_SIDE),
    "upscaling_resize_h": Kind("integer", 1, 2 * MAX_SIDE),
    "upscaling_crop": FLAG,
    "upscaler_1": TEXT,
    "upscaler_2": TEXT,
    "extras_upscaler_2_visibility": SHARE,
    "upscale_first": FLAG,
}
BY_API: Mapping[str, Mapping[str, Kind]] = {
    "txt2img": TXT2IMG,
    "img2img": IMG2IMG,
    "upscale": UPSCALE,
}
# For the handler alone; the WebUI never sees them.
OWN: dict[str, Kind] = {
    "api": TEXT,
    "caller": TEXT,
    "count": COUNT,
    "preview": FLAG,
    "init_files": TEXTS,
    "mask_file": TEXT,
    "image_file": TEXT,
}
# Names of other programs that people send by habit, and what they are called here.
FOREIGN: dict[str, str] = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "guidance": "cfg_scale",
    "cfg": "cfg_scale",
    "num_images": "n_iter",
    "num_images_per_prompt": "batch_size",
    "strength": "denoising_strength",
    "negative": "negative_prompt",
    "sampler": "sampler_name",
    "scheduler_name": "scheduler",
    "init_image": "init_images",
    "image": "init_images",
    "model": "override_settings",
    "clip_skip": "override_settings",
}


def unknown_keys(api: str, document: Mapping[str, Any]) -> list[str]:
    """Keys of `document` that are neither the WebUI's nor the handler's."""
    return sorted(set(document) - set(BY_API[api]) - set(OWN))
