"""The pipeline that stays loaded between jobs: built once, replaced when the next job differs."""

from __future__ import annotations

import gc
import inspect
from dataclasses import dataclass, field
from typing import Any

from flux import download
from flux.engines import Card, Choice, is_installed, moves_by_layer
from flux.request import Model
from worker import report
from worker.fields import bad_input
from worker.report import Failure

Pipeline = Any  # diffusers.DiffusionPipeline; nothing heavy is imported at module level
Key = tuple[str, str | None, str, str]
# Above this the VAE decodes in tiles: one piece at 4K takes tens of GB.
_TILED_PIXELS = 2048 * 2048


@dataclass
class Resident:
    """A loaded pipeline, and what was done to it since."""

    key: Key
    pipe: Pipeline
    choice: Choice
    revision: str | None
    by_layer: bool = False
    img2img: Pipeline | None = None
    loras: set[str] = field(default_factory=set)
    cache: str | None = None
    is_compiled: bool = False


_resident: list[Resident] = []


def get(model: Model, choice: Choice, card: Card | None) -> tuple[Resident, bool]:
    """The resident pipeline for `model`, and whether it had to be loaded for this."""
    key: Key = (model.repo, model.revision, model.pipeline, choice.name)
    if _resident and _resident[0].key == key:
        return _resident[0], False
    unload()
    resident = _load(key, model, choice, card)
    _resident.append(resident)
    return resident, True


def unload() -> None:
    """Frees the GPU: drops the resident pipeline, if there is one."""
    if not _resident:
        return
    _resident.clear()
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def pipeline_class(name: str) -> Any:
    """The diffusers class `name`. Raises Failure (unsupported) when there is none."""
    import diffusers

    found = getattr(diffusers, name, None)
    if inspect.isclass(found) and issubclass(found, diffusers.DiffusionPipeline):
        return found
    raise Failure(
        "unsupported",
        f"diffusers {diffusers.__version__} has no pipeline {name!r}",
        "check the model's `pipeline` in the configuration, or install a newer diffusers",
    )


def for_image(resident: Resident, model: Model) -> Pipeline:
    """The sibling that starts from an image; it shares every weight with the resident one."""
    if model.img2img is None:
        raise bad_input(f"{model.title} cannot start from an image", "leave --init out")
    wanted = pipeline_class(model.img2img)
    if not isinstance(resident.img2img, wanted):
        # Not from_pipe: it casts every shared weight to float32 unless told the dtype.
        resident.img2img = wanted(**resident.pipe.components)
        resident.img2img.set_progress_bar_config(disable=True)
    return resident.img2img


def tune(resident: Resident, model: Model, pixels: int) -> None:
    """Step caching, compiled blocks and tiled decoding, as the model's row asks for."""
    _set_cache(resident, model)
    vae = getattr(resident.pipe, "vae", None)
    if vae is not None and hasattr(vae, "enable_tiling"):
        vae.enable_tiling() if pixels > _TILED_PIXELS else vae.disable_tiling()
    if model.compile and not resident.is_compiled and resident.choice.name in ("bf16", "fp8"):
        report.loading("compile", "the first picture waits for it, later ones are faster")
        resident.pipe.transformer.compile_repeated_blocks(fullgraph=True)
        resident.is_compiled = True


def place(pipe: Pipeline, resident: Resident) -> None:
    """Hooks `pipe` for offloading; a sibling that ran before has moved the hooks to itself.

    Layer-wise hooks sit on the shared modules and are set once, while loading.
    """
    if resident.choice.name == "offload" and not resident.by_layer:
        pipe.enable_model_cpu_offload()


def _load(key: Key, model: Model, choice: Choice, card: Card | None) -> Resident:
    import torch

    _silence()
    pipeline = pipeline_class(model.pipeline)
    report.loading("model", f"{model.title} from {model.repo}")
    snapshot = download.fetch(model, pipeline)
    report.check_cancelled()
    options: dict[str, Any] = {}
    if quantization := _quantization(pipeline, choice.name):
        options["quantization_config"] = quantization
    pipe = pipeline.from_pretrained(
        str(snapshot.folder), dtype=torch.bfloat16, local_files_only=True, **options
    )
    pipe.set_progress_bar_config(disable=True)
    by_layer = card is not None and moves_by_layer(model, card)
    resident = Resident(key, pipe, choice, snapshot.revision, by_layer)
    if choice.name in ("bf16", "fp8", "nf4"):
        report.loading("model", "onto the GPU")
        pipe.to("cuda")
    elif choice.name == "offload" and by_layer:
        pipe.enable_sequential_cpu_offload()
    return resident


def _silence() -> None:
    """No bars on stderr, where nobody sees them move: progress travels as events."""
    import diffusers
    import huggingface_hub
    import transformers

    hub: Any = huggingface_hub.utils
    hub.disable_progress_bars()
    libraries: list[Any] = [diffusers, transformers]
    for library in libraries:
        library.utils.logging.disable_progress_bar()


def _quantization(pipeline: Any, engine: str) -> Any:
    """What to quantise while loading: the transformer and the largest text encoder."""
    if engine not in ("nf4", "fp8"):
        return None
    from diffusers import PipelineQuantizationConfig

    parts = inspect.signature(pipeline.__init__).parameters
    encoder = "text_encoder_2" if "text_encoder_2" in parts else "text_encoder"
    ours, theirs = _nf4() if engine == "nf4" else _fp8()
    return PipelineQuantizationConfig(quant_mapping={"transformer": ours, encoder: theirs})


def _nf4() -> tuple[Any, Any]:
    """The configuration in diffusers' words and in transformers'."""
    import diffusers
    import torch
    import transformers

    theirs: Any = transformers
    options = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_compute_dtype": torch.bfloat16,
    }
    return diffusers.BitsAndBytesConfig(**options), theirs.BitsAndBytesConfig(**options)


def _fp8() -> tuple[Any, Any]:
    import diffusers
    import transformers

    if not is_installed("torchao"):
        raise ImportError("torchao is not installed")
    from torchao.quantization import Float8WeightOnlyConfig

    return (
        diffusers.TorchAoConfig(Float8WeightOnlyConfig()),
        transformers.TorchAoConfig(Float8WeightOnlyConfig()),
    )


def _set_cache(resident: Resident, model: Model) -> None:
    if resident.cache == model.cache:
        return
    transformer = resident.pipe.transformer
    if resident.cache is not None:
        transformer.disable_cache()
        resident.cache = None
    if model.cache_threshold is not None:
        from diffusers import FirstBlockCacheConfig

        transformer.enable_cache(FirstBlockCacheConfig(threshold=model.cache_threshold))
        resident.cache = model.cache
