"""Weights that do not fit their model, and parts that do not fit each other."""

import json

import diffusers
import pytest
import torch
from safetensors.torch import load_file

from text2digit import DigitPipeline, DigitUNet2DModel
from text2digit.models.text import build_text_encoder

from .conftest import INDEX, WEIGHTS, change, refused, rewrite

FAULTS = {
    "missing": (lambda w: w.pop("conv_in.weight"), "lacks conv_in.weight"),
    "empty": (lambda w: w.clear(), "lacks .* and [0-9]+ more"),
    "extra": (lambda w: w.update(surplus=torch.ones(2)), "has surplus, which is unknown"),
    "shape": (lambda w: w.update({"conv_in.bias": torch.ones(3)}), r"conv_in.bias as F32 \[3\], expected \[16\]"),
    "dtype": (lambda w: w.update({"conv_in.bias": torch.ones(16, dtype=torch.int64)}), "conv_in.bias as I64"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("of_class", [False, True])
def test_weights_that_do_not_fit_are_named(saved, fault, of_class):
    """0.1.0 loaded them, and the first call ended in "Tensor on device meta"."""
    change_weights, match = FAULTS[fault]
    rewrite(saved / "denoiser" / WEIGHTS, change_weights)
    if of_class:
        with pytest.raises(ValueError, match=match):
            DigitUNet2DModel.from_pretrained(saved, subfolder="denoiser")
    else:
        refused(saved, match)


def test_weights_of_a_text_encoder_that_do_not_fit_are_named(saved_text):
    """transformers draws missing weights at random and says so in the log alone."""
    rewrite(saved_text / "text_encoder" / "model.safetensors", lambda w: w.pop("final_layer_norm.bias"))
    refused(saved_text, "model.safetensors: does not fit .*lacks final_layer_norm.bias")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("part", ["denoiser/" + WEIGHTS, "text_encoder/model.safetensors"])
def test_weights_that_are_not_finite_are_named(saved_text, part, value):
    weights = load_file(saved_text / part)
    name = sorted(weights)[-1]
    rewrite(saved_text / part, lambda w: w[name].view(-1)[-1:].fill_(value))
    with pytest.raises(ValueError, match=f"{part.split('/')[0]}: .*{name} holds NaN or infinity"):
        DigitPipeline.from_pretrained(saved_text)


def test_large_weights_are_no_infinite_ones(saved):
    """Their sum is infinite in float32, and they are not."""
    rewrite(saved / "denoiser" / WEIGHTS, lambda w: w["conv_in.bias"].fill_(3e38))
    DigitPipeline.from_pretrained(saved)


# --- parts that do not fit each other --------------------------------------------------------------------------------


def test_a_text_encoder_of_another_width_is_refused(saved_text, tokenizer):
    """Would catch an `info` that checks each part alone and shows a folder that does not load."""
    build_text_encoder(tokenizer, width=32, layers=1, heads=2).save_pretrained(saved_text / "text_encoder")
    refused(saved_text, "got a model with cross_attention_dim=16, expected 32, the width of the text encoder")


def test_a_tokenizer_with_more_tokens_than_the_encoder_is_refused(saved_text, tokenizer):
    """Would catch an IndexError of the first prompt with one of these tokens."""
    content = json.loads((saved_text / "tokenizer" / "tokenizer.json").read_text())
    extra = {"id": 5_000, "content": "<extra>", "special": False, "normalized": False, "single_word": False}
    extra |= {"lstrip": False, "rstrip": False}
    content["model"]["vocab"]["<extra>"] = 5_000
    content["added_tokens"].append(extra)
    (saved_text / "tokenizer" / "tokenizer.json").write_text(json.dumps(content))
    refused(saved_text, "tokenizer: got a token 5000, expected ids below the text encoder's")


def test_a_name_of_a_class_that_the_denoiser_has_not_is_refused(saved):
    """Would catch the name of the null class: it drew unconditional images without a word."""
    names = {str(i): f"name {i}" for i in range(11)}
    change(saved / INDEX, id2label=names)
    refused(saved, "id2label: got a name of class 10, expected classes 0 to 9, as the denoiser has them")


def test_prompts_longer_than_the_encoder_reads_are_refused(saved_text):
    change(saved_text / INDEX, max_prompt_tokens=4_000)
    refused(saved_text, "max_prompt_tokens: got 4000, expected")


def test_latents_of_other_channels_are_refused(saved):
    diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4).save_pretrained(saved / "vae")
    change(saved / INDEX, vae=["diffusers", "AutoencoderKL"])
    refused(saved, "vae: got latents of 4 channels, expected 1, as the denoiser takes")
