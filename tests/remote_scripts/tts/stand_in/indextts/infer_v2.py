"""IndexTTS2 of version 2: the signatures are those of the real class (workloads.md §1.2)."""

from __future__ import annotations

from typing import Any

from indextts import measured_speech


class IndexTTS2:
    def __init__(
        self, cfg_path="checkpoints/config.yaml", model_dir="checkpoints", use_fp16=False,
        device=None, use_cuda_kernel=None, use_deepspeed=False, use_accel=False,
        use_torch_compile=False, use_qwen_emo=True, aux_paths=None,
    ):  # fmt: skip
        measured_speech.built.append({"version": "2", **locals()})

    def infer(
        self, spk_audio_prompt, text, output_path, emo_audio_prompt=None, emo_alpha=1.0,
        emo_vector=None, use_emo_text=False, emo_text=None, use_random=False,
        interval_silence=200, verbose=False, max_text_tokens_per_segment=120,
        stream_return=False, more_segment_before=0, **generation_kwargs,
    ) -> Any:  # fmt: skip
        measured_speech.called.append({"version": "2", **locals()})
        assert output_path is None
        return None if text.startswith("Mute") else measured_speech.speak(text)
