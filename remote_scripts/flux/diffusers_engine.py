"""The real engine: a diffusers pipeline, resident between jobs, that tells every step."""

from __future__ import annotations

import inspect
import sys
import time
from typing import Any

from flux import download, loras, pictures, pipelines, tokens
from flux.engines import Card, Choice, choose
from flux.failures import named
from flux.request import Request
from worker import report

# A negative prompt acts through true guidance alone, which doubles the work (workloads.md §5.1).
_TRUE_GUIDANCE = 2.0


class DiffusersEngine:
    """One job's view of the resident pipeline."""

    def __init__(self) -> None:
        self._choice = Choice("cpu", "")
        self._card: Card | None = None
        self._pipe: pipelines.Pipeline = None
        self._resident: pipelines.Resident | None = None
        self._encoded: dict[str, Any] | None = None
        self._counts: dict[str, int] = {}

    @property
    def name(self) -> str:
        """The engine that was chosen: bf16, fp8, nf4, offload or cpu."""
        return self._choice.name

    def load(self, request: Request) -> float:
        """Makes the pipeline ready; seconds of loading. Raises report.Failure."""
        started = time.monotonic()
        with named(request):
            self._card = _card()
            is_local = download.local_folder(request.model) is not None
            self._choice = choose(request.engine, request.model, self._card, is_local=is_local)
            report.log(self._choice.reason)
            resident, is_new = pipelines.get(request.model, self._choice, self._card)
            loras.apply(resident.pipe, resident.loras, request)
            pipelines.tune(resident, request.model, request.width * request.height)
            self._resident, self._pipe = resident, resident.pipe
            if request.init_image:
                self._pipe = pipelines.for_image(resident, request.model)
            pipelines.place(self._pipe, resident)
            self._counts = tokens.count(self._pipe, request)
            _reset_peak()
        return time.monotonic() - started if is_new else 0.0

    def paint(self, request: Request, index: int) -> pictures.Picture:
        """Image `index`. Raises report.Failure, and report.Cancelled after stopping the loop."""
        import torch

        with named(request):
            arguments = self._arguments(request)
            arguments |= self._words(request)
            generator = torch.Generator("cpu").manual_seed(request.seed + index)
            steps = _StepTeller(self._pipe, request.planned_steps)
            picture = self._pipe(
                **arguments, generator=generator, callback_on_step_end=steps
            ).images[0]
        if steps.cancelled is not None:
            raise steps.cancelled
        return picture

    def facts(self, request: Request) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        """GPU, peak memory, exact revision, versions and token counts."""
        import diffusers
        import torch

        has_gpu = torch.cuda.is_available()
        return {
            "gpu": self._card.name if self._card else "cpu",
            "peak_vram_bytes": torch.cuda.max_memory_allocated() if has_gpu else 0,
            "revision": self._resident.revision if self._resident else None,
            "diffusers": diffusers.__version__,
            "torch": torch.__version__,
            **self._counts,
        }

    def _arguments(self, request: Request) -> dict[str, Any]:
        """Everything but the words, as far as this pipeline's __call__ knows it."""
        wanted: dict[str, Any] = {
            "width": request.width,
            "height": request.height,
            "num_inference_steps": request.steps,
            "guidance_scale": request.guidance,
            "max_sequence_length": request.model.text_tokens,
            "output_type": "pil",
        }
        if request.init_image:
            wanted["image"] = pictures.open_initial(request)
            wanted["strength"] = request.strength
        return self._known(wanted)

    def _words(self, request: Request) -> dict[str, Any]:
        """The prompt as this pipeline reads it; encoded once for all images where possible."""
        words: dict[str, Any] = {"prompt": request.prompt}
        if "prompt_2" in self._parameters():
            words = {"prompt": request.clip_prompt or request.prompt, "prompt_2": request.prompt}
        report.progress("encode", 0, 1)
        if request.negative_prompt:
            words["negative_prompt"] = request.negative_prompt
            if "true_cfg_scale" in self._parameters():
                words["true_cfg_scale"] = _TRUE_GUIDANCE
        elif "pooled_prompt_embeds" in self._parameters():
            return self._encoded_words(words, request)
        return self._known(words)

    def _encoded_words(self, words: dict[str, Any], request: Request) -> dict[str, Any]:
        import torch

        if self._encoded is None:
            with torch.no_grad():
                embeds, pooled, _ = self._pipe.encode_prompt(
                    **words, max_sequence_length=request.model.text_tokens
                )
            self._encoded = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
        report.progress("encode", 1, 1)
        return self._encoded

    def _known(self, wanted: dict[str, Any]) -> dict[str, Any]:
        known = self._parameters()
        return {name: value for name, value in wanted.items() if name in known}

    def _parameters(self) -> set[str]:
        return set(inspect.signature(type(self._pipe).__call__).parameters)


class _StepTeller:
    """The pipeline's callback: reports each step, and stops the loop when the job was cancelled."""

    def __init__(self, pipe: pipelines.Pipeline, planned: int) -> None:
        self.cancelled: report.Cancelled | None = None
        self._pipe, self._planned, self._done = pipe, planned, 0

    def __call__(
        self, pipe: pipelines.Pipeline, step: int, timestep: Any, values: dict[str, Any]
    ) -> dict[str, Any]:
        del pipe, step, timestep
        self._done += 1
        try:
            report.progress("denoise", self._done, max(self._planned, self._done))
            if self._done == self._planned:
                report.progress("decode", 0, 1)
        except report.Cancelled as cancelled:
            # Raising here would leave the offload hooks half-way; the loop ends by itself.
            self.cancelled = cancelled
            self._pipe._interrupt = True
        return values


def _card() -> Card | None:
    if "torch" not in sys.modules:
        report.loading("libraries", "torch and diffusers")
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return Card(properties.name, properties.total_memory / 1e9)


def _reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
