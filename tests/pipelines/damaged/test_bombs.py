"""Small files that ask for much time or memory."""

import resource

import pytest

from ...conftest import TINY
from .conftest import INDEX, SCHEDULER, change, refused

PADDING = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<|pad|>"}
TRUNCATION = {"direction": "Right", "strategy": "LongestFirst", "stride": 0}
BOMBS = [
    ("classes", SCHEDULER, {"num_train_timesteps": 2_000_000_000}),
    ("classes", SCHEDULER, {"trained_betas": [0.1] * 200_000}),
    ("classes", "denoiser/config.json", {"layers_per_block": 1_000_000}),
    ("classes", "denoiser/config.json", {"num_classes": 1_000_000_000}),
    ("classes", "denoiser/config.json", {"num_classes": 1_000_000}),
    ("classes", "denoiser/config.json", {"sample_size": 1_000_000}),
    ("classes", "denoiser/config.json", {"sample_size": 4_096}),
    ("classes", "denoiser/config.json", {"block_out_channels": [16] * 90_000, "attention_levels": [False] * 90_000}),
    ("classes", "denoiser/config.json", {"in_channels": 10**6, "block_out_channels": [2**20, 2**20]}),
    ("classes", INDEX, {"default_num_inference_steps": 10**9}),
    ("text", INDEX, {"max_prompt_tokens": 10**9}),
    ("text", "text_encoder/config.json", {"num_hidden_layers": 1_000_000}),
    ("text", "text_encoder/config.json", {"vocab_size": 1_000_000}),
    ("text", "text_encoder/config.json", {"max_position_embeddings": 10**12}),
    ("text", "tokenizer/tokenizer.json", {"padding": {**PADDING, "strategy": {"Fixed": 10**9}}}),
    ("text", "tokenizer/tokenizer.json", {"truncation": {**TRUNCATION, "max_length": 10**9}}),
]


@pytest.mark.parametrize(("kind", "name", "changes"), BOMBS, ids=[f"{b[1]} {next(iter(b[2]))}" for b in BOMBS])
def test_sizes_are_checked_before_memory_is_taken(folder_of, kind, name, changes):
    change(folder_of[kind] / name, **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder_of[kind], name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_a_table_beside_the_weights_is_bounded(tmp_path):
    """The places of a DiT's patches are computed from its config, and no weight tells how many there are."""
    TINY["DiT"](class_channels=None, patch_size=4).save_pretrained(tmp_path)
    change(tmp_path / "config.json", sample_size=4_096 * 4)
    with pytest.raises(ValueError, match="sample_size: got 16384, expected -4,096 to 4,096"):
        type(TINY["DiT"]()).from_pretrained(tmp_path)
    model = TINY["DiT"](class_channels=None, patch_size=1, num_attention_heads=8, attention_head_dim=32)
    model.save_pretrained(tmp_path)
    change(tmp_path / "config.json", sample_size=4_000)
    with pytest.raises(ValueError, match="asks for tables of more than"):
        type(model).from_pretrained(tmp_path)


GROWTH = {
    "replace": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1_000}] * 3,
    "replace nothing": [{"type": "Replace", "pattern": {"String": ""}, "content": "a"}],
    "replace twice": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 8,
    "many steps": [{"type": "NFKD"}] * 9,
    "prepend": [{"type": "Prepend", "prepend": "a" * 1_000}],
    "slow expression": [{"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}],
    "table": [{"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAA" + "YWFh" * 100 + "YQ=="}],
    "no table": [{"type": "Precompiled", "precompiled_charsmap": 7}],
    "unknown": [{"type": "Python"}],
}


@pytest.mark.parametrize("case", GROWTH)
def test_a_tokenizer_that_lets_a_text_grow_is_refused(saved_text, case):
    """Out of memory, the tokenizers library ends the process; nothing in Python can catch that."""
    steps = GROWTH[case]
    change(saved_text / "tokenizer" / "tokenizer.json", normalizer={"type": "Sequence", "normalizers": steps})
    refused(saved_text, "tokenizer.json: normalizer has")


def test_a_template_that_repeats_the_text_is_refused(saved_text):
    path = saved_text / "tokenizer" / "tokenizer.json"
    change(path, **{"post_processor.single": [{"Sequence": {"id": "A", "type_id": 0}}] * 1_000})
    refused(saved_text, "tokenizer.json: post_processor has")
