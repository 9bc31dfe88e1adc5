"""The tokenizer, the text encoder, and how a denoiser reads what they make."""

import subprocess
import sys

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from text2digit.data.words import PHRASES
from text2digit.models import DigitUNet2DModel
from text2digit.models.embeddings import gist_of_tokens
from text2digit.models.text import (
    TextDenoiser,
    build_text_encoder,
    encode,
    load_text_encoder,
    tokenize,
    train_tokenizer,
)

from ..conftest import TINY, randomize

PROMPTS = ["a thick, slanted seven", "굵은 칠", ""]


def test_nothing_is_out_of_the_tokenizer_s_reach(tokenizer):
    """Catches an unknown token, which would make all unknown words one, and capitals that are other words."""
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    for text in ("🙂 Ünïcode \x00 漢字", "a thick seven", "굵은 칠을 써 줘"):
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text.lower()
    assert tokenizer("SEVEN").input_ids == tokenizer("seven").input_ids == tokenizer("ｓｅｖｅｎ").input_ids
    tokens = tokenize(tokenizer, ["seven " * 100, ""], 32)
    assert tokens["input_ids"].shape == (2, 32) and tokens["attention_mask"].sum(dim=1).tolist() == [32, 2]


def test_words_of_captions_are_a_token_or_two(tokenizer):
    """Catches merges that were learned of another spelling, without the space in front."""
    words = {w for sides in PHRASES["en"].values() for side in sides for p in side for w in p.lstrip("+").split()}
    lengths = [len(tokenizer(word).input_ids) - 2 for word in words | {"seven", "three", "7"}]
    assert max(lengths) <= 2 and sum(lengths) / len(lengths) < 1.2
    assert len(tokenizer("매우 오른쪽으로 기울어진 칠을 그려 줘").input_ids) <= 16


def test_equal_texts_train_an_equal_tokenizer(tokenizer):
    """In another process with other hashes; catches one whose ids a resumed run would not find again."""
    code = "from text2digit.training.captions import *; print(make_tokenizer(TextConfig()).backend_tokenizer.to_str())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == tokenizer.backend_tokenizer.to_str()


def test_too_small_sizes_say_so(tokenizer):
    with pytest.raises(ValueError, match="text.vocab_size: got 100, expected 259 or more"):
        train_tokenizer(["seven"], 100, 16)
    with pytest.raises(ValueError, match="text.width: got 10, which 4 heads do not divide"):
        build_text_encoder(tokenizer, 10, 1, 4)


def test_padding_is_not_read(tokenizer, model_type):
    """Catches a mean over all tokens, and cross-attention without its mask: a longer padding would change the digit."""
    denoiser = randomize(TINY[model_type](num_classes=None, cross_attention_dim=16))
    encoder = randomize(build_text_encoder(tokenizer, 16, 1, 2))
    model, sample = TextDenoiser(denoiser, encoder).eval(), torch.randn(3, 1, 28, 28)
    outputs = [model(sample, torch.tensor(5), **tokenize(tokenizer, PROMPTS, n)).sample for n in (12, 32)]
    assert torch.allclose(*outputs, atol=1e-4)
    assert not torch.allclose(outputs[0][0], outputs[0][1], atol=1e-3)


def test_the_gist_of_tokens_by_hand():
    tokens = torch.tensor([[[1.0], [3.0], [100.0], [100.0]]])
    assert gist_of_tokens(tokens, torch.tensor([[1, 1, 0, 0]])).item() == 2
    assert gist_of_tokens(tokens, None).item() == 51
    assert gist_of_tokens(tokens, torch.tensor([[0, 0, 0, 0]])).item() == 0  # not a number otherwise


def test_models_without_text_are_as_before():
    """Catches a layer for text in a model of classes, whose weights that ship would not load."""
    assert not [name for name, _ in DigitUNet2DModel().named_parameters() if "text" in name]
    assert sum(p.numel() for p in DigitUNet2DModel().parameters()) == 1_713_988


def test_any_encoder_of_transformers_is_loaded_frozen(tokenizer, tmp_path):
    encoder = randomize(build_text_encoder(tokenizer, 16, 1, 2))
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, own_tokenizer = load_text_encoder(str(tmp_path))
    assert not any(p.requires_grad for p in loaded.parameters()) and not loaded.training
    tokens = tokenize(own_tokenizer, PROMPTS, 16)
    assert torch.allclose(encode(loaded, tokens), encode(encoder, tokenize(tokenizer, PROMPTS, 16)))
    with pytest.raises(ValueError, match="text.encoder: got 'nothing-here', expected the folder or Hub name"):
        load_text_encoder("nothing-here")
