"""Builds a Whisper model of 1.7 MB that hears one sentence in whatever it is given.

Run it with a Python that has ctranslate2 and tokenizers: `python tiny_whisper.py FOLDER`. All
of it is real but the weights: what a position of the decoder is added to points at the next word of
the sentence, and all that comes from the sound is multiplied by 0 (feasibility.md §7).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SENTENCE = " hello world from gpuctl"
SIZE, HEADS, MELS = 64, 2, 80
AUDIO_POSITIONS, TEXT_POSITIONS, TIMESTAMPS = 1500, 448, 1501
LANGUAGES = 99
END_S = 1.2


def build(folder: Path) -> None:
    """Writes model.bin, config.json, vocabulary.json, tokenizer.json, preprocessor_config.json."""
    from ctranslate2.specs import whisper_spec

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokens = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    spec = whisper_spec.WhisperSpec(1, HEADS, 1, HEADS)
    _fill(spec, len(tokens), _spoken(tokenizer))
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    first = tokenizer.token_to_id("<|startoftranscript|>") + 1
    spec.config.lang_ids = list(range(first, first + LANGUAGES))
    spec.config.alignment_heads = [(0, head) for head in range(HEADS)]
    spec.validate()
    spec.optimize(quantization="float32")
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    features = {"feature_size": MELS, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400}
    (folder / "preprocessor_config.json").write_text(json.dumps({**features, "chunk_length": 30}))


def _tokenizer() -> Any:
    """Byte pairs trained on the sentence, so that each of its words is one token."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    found.train_from_iterator([SENTENCE] * 10, trainer)
    languages = [f"<|{code}|>" for code in list(_LANGUAGE_CODES)[:LANGUAGES]]
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    special = ["<|endoftext|>", "<|startoftranscript|>", *languages, *(f"<|{t}|>" for t in tasks)]
    special += [f"<|{number * 0.02:.2f}|>" for number in range(TIMESTAMPS)]
    found.add_special_tokens([AddedToken(token, special=True) for token in special])
    return found


def _spoken(tokenizer: Any) -> list[int]:
    """What the decoder says, token by token. A vocabulary this small counts as English-only: the
    prompt is one token."""
    names = ["<|startoftranscript|>", "<|0.00|>"]
    ends = [f"<|{END_S:.2f}|>", "<|endoftext|>"]
    words = tokenizer.encode(SENTENCE, add_special_tokens=False).ids
    return [
        *map(tokenizer.token_to_id, names),
        *words,
        *map(tokenizer.token_to_id, ends),
    ]


def _fill(spec: Any, vocabulary: int, spoken: list[int]) -> None:
    import numpy as np

    random = np.random.default_rng(7)
    embeddings = random.standard_normal((vocabulary, SIZE)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    positions = np.tile(20 * embeddings[spoken[-1]], (TEXT_POSITIONS, 1))
    positions[: len(spoken) - 1] = 20 * embeddings[spoken[1:]]

    def linear(layer: Any, out: int, into: int) -> None:
        layer.weight = np.zeros((out, into), np.float32)
        layer.bias = np.zeros(out, np.float32)

    def norm(layer: Any, gain: float = 1.0) -> None:
        layer.gamma = np.full(SIZE, gain, np.float32)
        layer.beta = np.zeros(SIZE, np.float32)

    def stack(layer: Any, *, listens: bool) -> None:
        norm(layer.self_attention.layer_norm)
        linear(layer.self_attention.linear[0], 3 * SIZE, SIZE)
        linear(layer.self_attention.linear[1], SIZE, SIZE)
        norm(layer.ffn.layer_norm)
        linear(layer.ffn.linear_0, 4 * SIZE, SIZE)
        linear(layer.ffn.linear_1, SIZE, 4 * SIZE)
        if listens:
            norm(layer.attention.layer_norm)
            for part, out in zip(layer.attention.linear, (SIZE, 2 * SIZE, SIZE), strict=True):
                linear(part, out, SIZE)

    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight = np.zeros((SIZE, MELS, 3), np.float32)
    encoder.conv2.weight = np.zeros((SIZE, SIZE, 3), np.float32)
    encoder.conv1.bias, encoder.conv2.bias = np.zeros((2, SIZE), np.float32)
    encoder.position_encodings.encodings = np.zeros((AUDIO_POSITIONS, SIZE), np.float32)
    norm(encoder.layer_norm)
    stack(encoder.layer[0], listens=False)
    decoder.embeddings.weight = embeddings
    decoder.projection.weight = embeddings
    decoder.position_encodings.encodings = positions.astype(np.float32)
    norm(decoder.layer_norm, gain=6.0)
    stack(decoder.layer[0], listens=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
