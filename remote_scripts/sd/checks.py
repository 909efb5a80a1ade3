"""What a request names, held against what the WebUI has: its silences become errors.

An unknown LoRA, checkpoint or style is otherwise dropped, and the picture looks merely odd.
"""

from __future__ import annotations

from typing import Any

from sd.features import Features
from sd.lora_tags import tags
from sd.webui import LOAD_LIMIT_S, Refused, Webui
from sd.words import bad_input, meant
from worker.report import Failure

Json = dict[str, Any]
_VAE_WORDS = ("Automatic", "None")


def check(webui: Webui, features: Features, body: Json) -> list[str]:
    """Completes and checks `body`; what was changed or is odd, in words. Raises Failure."""
    notes = _samplers(webui, features, body)
    notes += _loras(webui, features, body)
    _settings(webui, features, body.get("override_settings") or {})
    for key in ("refiner_checkpoint", "hr_checkpoint_name"):
        if (name := body.get(key)) and name not in ("None", "Use same checkpoint"):
            checkpoint(webui, name)
    _styles(webui, features, body)
    _upscaler(webui, features, body)
    return notes


def checkpoint(webui: Webui, name: object) -> Json:
    """The row of /sd-models that `name` means. Raises Failure (model_missing) with the nearest."""
    rows = _rows(webui, "/sd-models")
    found = _checkpoint(rows, name)
    if found is None and _refresh(webui, "/refresh-checkpoints"):
        rows = _rows(webui, "/sd-models")
        found = _checkpoint(rows, name)
    if found is None:
        known = [str(row.get("model_name")) for row in rows]
        raise Failure("model_missing", f"there is no model {name!r}", meant(str(name), known))
    return found


def _checkpoint(rows: list[Json], name: object) -> Json | None:
    for row in rows:
        file = str(row.get("filename") or "").replace("\\", "/").rpartition("/")[2]
        title = str(row.get("title") or "")
        aliases = (title, title.partition(" [")[0], row.get("model_name"), row.get("hash"),
                   row.get("sha256"), file, row.get("filename"))  # fmt: skip
        if name and name in aliases:
            return row
    return None


def _samplers(webui: Webui, features: Features, body: Json) -> list[str]:
    """`DPM++ 2M Karras` becomes a sampler and a scheduler where the server has both lists."""
    notes = []
    rows = _rows(webui, "/samplers")
    names = [str(row["name"]) for row in rows]
    known = {*names, *(str(alias) for row in rows for alias in row.get("aliases") or ())}
    schedulers = _rows(webui, "/schedulers") if features.has("/schedulers") else []
    labels = {str(row.get(key)) for row in schedulers for key in ("name", "label")}
    for key, partner in (("sampler_name", "scheduler"), ("hr_sampler_name", "hr_scheduler")):
        asked = body.get(key) or (body.get("sampler_index") if key == "sampler_name" else None)
        if asked and asked not in known and asked not in ("Use same sampler", "Default"):
            split = _split(asked, names, schedulers)
            if split is None:
                raise bad_input(f"there is no sampler {asked!r}", meant(asked, names))
            body[key] = split[0]
            body.setdefault(partner, split[1])
            notes.append(f"{asked!r} is sent as {key} {split[0]!r}, {partner} {body[partner]!r}")
        wanted = body.get(partner)
        if wanted and labels and wanted not in labels and wanted != "Use same scheduler":
            shown = [str(row.get("label")) for row in schedulers]
            raise bad_input(f"there is no scheduler {wanted!r}", meant(wanted, shown))
    return notes


def _split(asked: str, names: list[str], schedulers: list[Json]) -> tuple[str, str] | None:
    folded = {name.casefold(): name for name in names}
    for row in schedulers:
        label = str(row.get("label"))
        if asked.casefold().endswith(f" {label}".casefold()):
            sampler = folded.get(asked[: -len(label) - 1].casefold())
            if sampler:
                return sampler, label
    # Only the capitals were wrong.
    exact = folded.get(asked.casefold())
    return (exact, "Automatic") if exact else None


def _loras(webui: Webui, features: Features, body: Json) -> list[str]:
    prompts = [str(body.get(key) or "") for key in ("prompt", "hr_prompt")]
    used = [tag for prompt in prompts for tag in tags(prompt)]
    notes = []
    for key in ("negative_prompt", "hr_negative_prompt"):
        if "<lora:" in str(body.get(key) or ""):
            notes.append(f"a LoRA in {key} does nothing: put it into the prompt")
    if not used or not features.has("/loras"):
        return notes
    missing = _missing(webui, [tag.name for tag in used])
    if missing and _refresh(webui, "/refresh-loras"):
        missing = _missing(webui, missing)
    if missing:
        known = [str(row["name"]) for row in _rows(webui, "/loras")]
        raise Failure("model_missing", f"there is no LoRA {missing[0]!r}", meant(missing[0], known))
    return notes


def _missing(webui: Webui, names: list[str]) -> list[str]:
    rows = _rows(webui, "/loras")
    known = {str(row.get(key)) for row in rows for key in ("name", "alias")}
    return [name for name in names if name not in known]


def _settings(webui: Webui, features: Features, wanted: Json) -> None:
    if not wanted:
        return
    present = webui.get("/options")
    for key in wanted:
        if key not in present:
            raise bad_input(
                f"override_settings.{key} is not an option of this WebUI", meant(key, present)
            )
    if (name := wanted.get("sd_model_checkpoint")) is not None:
        checkpoint(webui, name)
    vae = wanted.get("sd_vae")
    if vae and vae not in _VAE_WORDS and features.has(features.vae_route):
        known = [str(row.get("model_name")) for row in _rows(webui, features.vae_route)]
        if vae not in known:
            raise Failure("model_missing", f"there is no VAE {vae!r}", meant(str(vae), known))


def _styles(webui: Webui, features: Features, body: Json) -> None:
    if not body.get("styles") or not features.has("/prompt-styles"):
        return
    known = [str(row.get("name")) for row in _rows(webui, "/prompt-styles")]
    for name in body["styles"]:
        if name not in known:
            raise bad_input(f"there is no style {name!r}", meant(name, known))


def _upscaler(webui: Webui, features: Features, body: Json) -> None:
    wanted = body.get("hr_upscaler") if body.get("enable_hr") else None
    if wanted:
        check_upscaler(webui, features, str(wanted))


def check_upscaler(webui: Webui, features: Features, wanted: str) -> None:
    """Raises Failure (bad_input) with the nearest one for an upscaler that is not there."""
    routes = [path for path in ("/upscalers", "/latent-upscale-modes") if features.has(path)]
    known = [str(row.get("name")) for path in routes for row in _rows(webui, path)]
    if known and wanted not in known:
        raise bad_input(f"there is no upscaler {wanted!r}", meant(wanted, known))


def _refresh(webui: Webui, path: str) -> bool:
    """Lets the server look at its folders again; False where it cannot."""
    try:
        webui.post(path, {}, limit_s=LOAD_LIMIT_S)
    except Refused:
        return False
    return True


def _rows(webui: Webui, path: str) -> list[Json]:
    found = webui.get(path)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
