"""What CLIP reads of a prompt is counted exactly, offline, and cut where the user can see it."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpuctl import resources
from gpuctl.services import clip_reference, clip_tokens

PLAIN = (
    "a lighthouse at dusk, storm-lit; oil painting of an astronaut's horse 35mm f/1.8 bokeh "
    "ultra-detailed (masterpiece:1.3) <lora:lcm:0.8> 8K don't WE'VE they'll I'd 'quoted' "
    "rim_light https://example.com/x?y=1&z=2 C++ #hash 100% $5.00 re-re-run --ar 16:9 \\n {a|b} "
    "chiaroscuro Tokyo 2026 ... !!! ?!' ''s 're're 'S 'M"
)
HOSTILE = (
    "café", "naïve", "e\u0301", "ﬁnal", "ｆｕｌｌ", "日本語", "東京タワー", "🦊", "👩‍🚀", "“curly”",
    "&amp;", "\u00a0", "\u200b", "İstanbul", "ẞ", "½", "٣", "Ⅷ", "مرحبا", "हिन्दी", "\x00", "\x1c",
    "\x7f", "\x85", "<|endoftext|>", "<|startoftext|>", "<|", "<|EndOfText|>", "x" * 300, "\ufeff",
)  # fmt: skip
SPACES = (" ", " ", " ", "  ", "\n", "\t", "\r\n", "\x0b", "")


def prompts(amount: int, *, hostile: bool, seed: int) -> list[str]:
    chance = random.Random(seed)
    words = [*PLAIN.split(), *(HOSTILE if hostile else ())]
    return [
        "".join(chance.choice(words) + chance.choice(SPACES) for _ in range(chance.randint(0, 90)))
        for _ in range(amount)
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    # Importing it warns about what a machine without torch lacks; that is not what is tested.
    from transformers import CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    clip_reference.write_vocabulary(folder)
    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)


def test_the_bundled_table_is_openais_list_of_merges() -> None:
    names = clip_tokens.symbols()
    lines = [f"{names[left]} {names[right]}" for left, right in clip_tokens.merges()]
    assert len(names) == len(set(names)) == 49406
    assert (lines[0], lines[-1]) == ("i n", "jeky ll</w>")
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == "f61f2adf497e6f5357c347aeb4646fabe82f341e946de5bdec5d2858e41bef4a"
    assert resources.data("clip_merges.bin").stat().st_size < 1_500_000


def test_the_known_vector_is_read_as_published() -> None:
    assert clip_tokens.encode("a photo of a cat") == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert clip_tokens.count("") == 2


@pytest.mark.parametrize("hostile", [False, True], ids=["plain", "hostile"])
def test_every_id_equals_transformers_clip_tokenizer(reference: Any, hostile: bool) -> None:
    for prompt in prompts(500, hostile=hostile, seed=7):
        assert clip_tokens.encode(prompt) == reference(prompt)["input_ids"], repr(prompt)


def test_both_readers_agree_on_ascii() -> None:
    everything = [chr(code) for code in range(128)]
    mixed = [f"a{one}b{one}{one} {one}'s" for one in everything]
    for prompt in [*mixed, *prompts(300, hostile=False, seed=8)]:
        assert clip_tokens.encode(prompt) == clip_tokens.unicode_reader().encode(prompt).ids


@pytest.mark.parametrize("hostile", [False, True], ids=["plain", "hostile"])
def test_what_is_kept_is_a_prefix_that_fits_and_nothing_is_lost(hostile: bool) -> None:
    trimmed = 0
    for prompt in prompts(150, hostile=hostile, seed=9):
        kept, tokens, dropped = clip_tokens.trim(prompt)
        assert prompt.startswith(kept)
        assert tokens == clip_tokens.count(kept) <= 77
        assert prompt[len(kept) :].strip() == dropped
        trimmed += bool(dropped)
    assert trimmed > 20


def test_a_long_prompt_is_cut_between_words_and_no_word_earlier_than_needed() -> None:
    prompt = "lighthouse " * 100
    kept, tokens, dropped = clip_tokens.trim(prompt)
    assert (kept, tokens) == (" ".join(["lighthouse"] * 75), 77)
    assert dropped == " ".join(["lighthouse"] * 25)


def test_text_without_spaces_is_cut_between_letters_rather_than_thrown_away() -> None:
    kept, tokens, dropped = clip_tokens.trim("a " + "東京" * 100)
    assert 70 < tokens <= 77
    assert kept + dropped == "a " + "東京" * 100


def test_bytes_that_are_not_text_are_counted_too() -> None:
    assert clip_tokens.count("a \udcff b") == clip_tokens.count("a ? b")


def test_counting_plain_text_loads_no_library_and_no_pathlib() -> None:
    code = (
        "import sys; from gpuctl.services.clip_tokens import count; count('a cat, 8k');"
        "print(*{'tokenizers', 'transformers', 'pathlib', 'dataclasses'} & set(sys.modules))"
    )
    root = Path(resources.__file__).parents[1]
    shown = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == ""
