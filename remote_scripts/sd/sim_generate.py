"""The stand-in's txt2img and img2img, with A1111's defaults and its silences."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from sd import sim_catalogue, sim_infotext, sim_paint
from sd.keys import IMG2IMG, TXT2IMG
from sd.sim_paint import Order
from sd.sim_pictures import decoded, encoded, grid
from sd.sim_world import ApiError, World

Json = dict[str, Any]
Picture = Any
DEFAULTS: Json = {
    "prompt": "",
    "negative_prompt": "",
    "styles": None,
    "seed": -1,
    "batch_size": 1,
    "n_iter": 1,
    "steps": 50,
    "cfg_scale": 7.0,
    "width": 512,
    "height": 512,
    "sampler_name": None,
    "scheduler": None,
    "denoising_strength": None,
    "override_settings": None,
    "override_settings_restore_afterwards": True,
    "send_images": True,
    "save_images": False,
    "alwayson_scripts": {},
    "script_name": None,
}
_TAG = re.compile(r"<(\w+):([^>]+)>")


def generate(world: World, api: str, asked: Json) -> Json:
    """One request. Raises ApiError."""
    body = _validated(world, api, asked)
    sampler, scheduler = _sampling(world, body)
    initials = _initials(body) if api == "img2img" else []
    mask = decoded(body["mask"]) if body.get("mask") else None
    _check_scripts(body)
    with world.queue_lock:
        restore = _override(world, body)
        try:
            orders = _orders(world, body, sampler, scheduler, initials, mask)
            made = _paint_all(world, body, orders)
        finally:
            world.end()
            if body["override_settings_restore_afterwards"] and restore:
                world.set_options(restore)
    return _answer(world, asked, body, made)


def _validated(world: World, api: str, asked: Json) -> Json:
    """pydantic's part: types are checked, unknown keys dropped, defaults put in."""
    known = TXT2IMG if api == "txt2img" else IMG2IMG
    problems = []
    for key, value in asked.items():
        kind = known.get(key)
        if kind is None or value is None:
            continue
        wide = type(kind)(kind.name)  # no bounds: A1111 has none
        if not wide.admits(value):
            problems.append(
                {"loc": ["body", key], "msg": f"value is not a valid {kind.name}",
                 "type": f"type_error.{kind.name}"}
            )  # fmt: skip
    if problems:
        raise ApiError(422, problems, error="RequestValidationError")
    given = {key: value for key, value in asked.items() if key in known and value is not None}
    strength = 0.5 if world.flavour == "sdnext" else 0.75
    first = {"denoising_strength": strength} if api == "img2img" else {}
    return {**DEFAULTS, **first, **given}


def _sampling(world: World, body: Json) -> tuple[str, str]:
    name = body["sampler_name"] or body.get("sampler_index") or "Euler"
    scheduler = body["scheduler"] or "Automatic"
    aliases = {alias: known for known, others in sim_catalogue.SAMPLERS.items() for alias in others}
    name = aliases.get(name, name)
    if world.flavour in ("1.10", "forge") and name not in sim_catalogue.SAMPLERS:
        for label in sim_catalogue.SCHEDULERS.values():
            if name.endswith(f" {label}"):
                name, scheduler = name.removesuffix(f" {label}"), label
    is_old = world.flavour == "old" and name.removesuffix(" Karras") in sim_catalogue.SAMPLERS
    if name not in sim_catalogue.SAMPLERS and not is_old:
        status = 400 if world.flavour in ("1.10", "forge") else 404
        raise ApiError(status, "Sampler not found")
    labels = sim_catalogue.SCHEDULERS
    return name, labels.get(scheduler, scheduler if scheduler in labels.values() else "Automatic")


def _initials(body: Json) -> list[Picture]:
    if not body.get("init_images"):
        raise ApiError(404, "Init image not found")
    return [decoded(str(text)) for text in body["init_images"]]


def _check_scripts(body: Json) -> None:
    if (name := body["script_name"]) and str(name).lower() not in sim_catalogue.SCRIPTS:
        raise ApiError(422, f"Script '{name}' not found")
    for name in body["alwayson_scripts"]:
        if str(name).lower() not in sim_catalogue.ALWAYS_ON:
            raise ApiError(422, f"always on script {name} not found")
    if body.get("enable_hr") and (upscaler := body.get("hr_upscaler")):
        known = (*sim_catalogue.UPSCALERS, *sim_catalogue.LATENT_MODES)
        if upscaler not in known:
            raise ApiError(500, "", f"could not find upscaler named {upscaler}", "AssertionError")


def _override(world: World, body: Json) -> Json:
    """Applies override_settings; an unknown checkpoint is dropped without a word."""
    wanted = dict(body["override_settings"] or {})
    asked = wanted.get("sd_model_checkpoint")
    if asked is not None and sim_catalogue.checkpoint(asked) is None:
        del wanted["sd_model_checkpoint"]
    before = {key: world.options[key] for key in wanted if key in world.options}
    world.set_options(wanted)
    return before


def _orders(
    world: World, body: Json, sampler: str, scheduler: str, initials: list[Picture], mask: Picture
) -> list[Order]:
    first = int(body["seed"])
    first = random.SystemRandom().randrange(2**32) if first < 0 else first
    scale = float(body.get("hr_scale") or 2.0) if body.get("enable_hr") else 1.0
    # Latents are an eighth of the size: a remainder is lost.
    width, height = (int(body[side]) // 8 * 8 for side in ("width", "height"))
    if body.get("enable_hr") and (body.get("hr_resize_x") or body.get("hr_resize_y")):
        width = int(body.get("hr_resize_x") or width) // 8 * 8
        height = int(body.get("hr_resize_y") or height) // 8 * 8
        scale = 1.0
    styled = [sim_catalogue.STYLES[name] for name in body["styles"] or ()
              if name in sim_catalogue.STYLES]  # fmt: skip
    prompt = ", ".join([str(body["prompt"]), *styled])
    strength = body["denoising_strength"]
    return [
        Order(
            prompt=prompt,
            negative=str(body["negative_prompt"]),
            seed=first + index,
            width=int(width * scale),
            height=int(height * scale),
            steps=int(body["steps"]),
            cfg=float(body["cfg_scale"]),
            sampler=sampler,
            scheduler=scheduler,
            model=world.loaded,
            clip_skip=int(world.options["CLIP_stop_at_last_layers"]),
            loras=_loras(prompt),
            initial=initials[index % len(initials)] if initials else None,
            mask=mask,
            strength=0.75 if strength is None else float(strength),
        )
        for index in range(int(body["batch_size"]) * int(body["n_iter"]))
    ]


def _loras(prompt: str) -> dict[str, float]:
    """LoRAs of the prompt that exist; the others are only logged, and nobody reads the log."""
    names = {**{alias: name for name, alias in sim_catalogue.LORAS.items()},
             **{name: name for name in sim_catalogue.LORAS}}  # fmt: skip
    found: dict[str, float] = {}
    for kind, rest in _TAG.findall(prompt):
        name, _, weight = rest.partition(":")
        if kind == "lora" and name in names:
            found[names[name]] = float(weight.partition(":")[0] or 1.0)
    return found


def _paint_all(world: World, body: Json, orders: list[Order]) -> list[tuple[Order, Picture]]:
    runs, batch = int(body["n_iter"]), int(body["batch_size"])
    passes = 2 if body.get("enable_hr") else 1
    world.begin(runs * passes, int(body["steps"]), body.get("force_task_id"))
    _strike(world, orders[0])
    made: list[tuple[Order, Picture]] = []
    for run in range(runs):
        group = orders[run * batch : (run + 1) * batch]
        share = _sample(world, body, group[0], passes)
        made += [(order, world.paint(order, share)) for order in group]
        if world.progress.interrupted:
            break
    return made


def _sample(world: World, body: Json, order: Order, passes: int) -> float:
    """The steps of one run; the share that was done before an interrupt."""
    steps = int(body["steps"])
    for _ in range(passes):
        for number in range(1, steps + 1):
            if not world.step(number):
                return number / steps
            if number % 10 == 0:
                world.progress.preview = sim_paint.paint(order, number / steps)
        world.progress.job_no += 1
        world.progress.step = 0
    return 1.0


def _strike(world: World, order: Order) -> None:
    """The faults that a GPU has, as A1111 words them."""
    limit = world.faults.get("oom_above_pixels")
    if limit and order.width * order.height > limit:
        raise ApiError(
            500, "", "CUDA out of memory. Tried to allocate 4.00 GiB", "OutOfMemoryError"
        )
    if world.faults.get("nan"):
        text = "A tensor with all NaNs was produced in Unet."
        raise ApiError(500, "", text, "NansException")


def _answer(world: World, asked: Json, body: Json, made: list[tuple[Order, Picture]]) -> Json:
    texts = [sim_infotext.infotext(order, world.version) for order, _ in made]
    pictures = [picture for _, picture in made]
    has_grid = len(pictures) > 1 and bool(world.options["return_grid"])
    if has_grid:
        pictures, texts = [grid(pictures), *pictures], [texts[0], *texts]
    kind, quality = str(world.options["samples_format"]), int(world.options["jpeg_quality"])
    images = [encoded(p, t, kind, quality) for p, t in zip(pictures, texts, strict=True)]
    order = made[0][0]
    hashed = sim_catalogue.short_hash(order.model)
    info = {
        "prompt": order.prompt,
        "all_prompts": [one.prompt for one, _ in made],
        "negative_prompt": order.negative,
        "seed": order.seed,
        "all_seeds": [one.seed for one, _ in made],
        "width": order.width,
        "height": order.height,
        "sampler_name": order.sampler,
        "cfg_scale": order.cfg,
        "steps": order.steps,
        "batch_size": int(body["batch_size"]),
        "sd_model_name": order.model,
        "sd_model_hash": hashed,
        "sd_vae_name": None,
        "denoising_strength": order.strength if order.initial is not None else None,
        "extra_generation_params": {"Schedule type": order.scheduler, "Simulated": "True"},
        "index_of_first_image": 1 if has_grid else 0,
        "infotexts": texts,
        "styles": body["styles"] or [],
        "job_timestamp": "20261121000000",
        "clip_skip": order.clip_skip,
        "version": world.version,
    }
    shown = {**DEFAULTS, **{key: value for key, value in asked.items() if key in body}}
    if not asked.get("include_init_images"):
        shown |= {"init_images": None, "mask": None} if "init_images" in body else {}
    sent = images if body["send_images"] else []
    return {"images": sent, "parameters": shown, "info": json.dumps(info)}
