"""Builds a FluxPipeline of tiny random weights: real in every part, 12 MB, made without a network.

Run it with a Python that has torch and diffusers: `python tiny_flux.py FOLDER [LORA_FILE]`.
Feasibility.md §6 has the parts and where their numbers come from.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
_SENTENCES = (
    "a red fox in the snow at dawn",
    "a lighthouse over a calm sea, golden light",
    "portrait of an old sailor, detailed, 35mm photograph",
    "neon city at night in the rain, reflections",
)


def build(folder: Path) -> None:
    """Saves the pipeline into `folder`, the same bytes of weights every time."""
    import torch
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline

    torch.manual_seed(0)
    words = _t5_tokenizer()
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0,
            use_dynamic_shifting=True,
            base_shift=0.5,
            max_shift=1.15,
            base_image_seq_len=256,
            max_image_seq_len=4096,
        ),
        vae=AutoencoderKL(
            sample_size=32,
            block_out_channels=(4,) * 4,
            layers_per_block=1,
            latent_channels=16,
            norm_num_groups=1,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.0609,
            scaling_factor=1.5035,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
        ),
        text_encoder=_clip_encoder(),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=_t5_encoder(len(words)),
        tokenizer_2=words,
        transformer=_transformer(),
    )
    pipe.save_pretrained(folder)


def build_lora(model: Path, file: Path) -> None:
    """Saves a random LoRA for the transformer of the pipeline in `model` as `file`."""
    import torch
    from diffusers import FluxPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(1)
    pipe = FluxPipeline.from_pretrained(str(model), local_files_only=True)
    config = LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v"])
    pipe.transformer.add_adapter(config)
    layers = sorted(get_peft_model_state_dict(pipe.transformer).items())
    weights = {name: torch.randn_like(value) for name, value in layers}
    file.parent.mkdir(parents=True, exist_ok=True)
    FluxPipeline.save_lora_weights(
        str(file.parent), transformer_lora_layers=weights, weight_name=file.name
    )


def _transformer() -> Any:
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
        guidance_embeds=True,
    )


def _clip_encoder() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=32,
            intermediate_size=37,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            projection_dim=32,
            bos_token_id=49406,
            eos_token_id=49407,
            pad_token_id=49407,
        )
    )


def _clip_tokenizer() -> Any:
    """The real CLIP vocabulary, from the table that gpuctl bundles."""
    from transformers import CLIPTokenizer

    sys.path.insert(0, str(REPOSITORY))
    from gpuctl.services import clip_tokens

    names = clip_tokens.symbols()
    tokens = [*names, *clip_tokens.MARKERS]
    # Annotated as texts, but only pairs are right: a text is split at spaces that it may hold.
    merges: Any = [(names[left], names[right]) for left, right in clip_tokens.merges()]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=merges,
        model_max_length=77,
    )


def _t5_encoder(vocabulary: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary,
            d_model=32,
            d_kv=8,
            d_ff=37,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    )


def _t5_tokenizer() -> Any:
    """A Unigram vocabulary of four sentences: unknown letters become <unk>, as they do in T5."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    kit: Any = transformers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return kit.T5TokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_ids=0,
        model_max_length=512,
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        build_lora(Path(sys.argv[1]), Path(sys.argv[2]))
