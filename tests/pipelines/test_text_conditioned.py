"""The pipeline of texts: prompts, embeddings, guidance, numbers, saving."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image

from text2digit import ClassConditionedDigitPipeline, DigitPipeline, TextConditionedDigitPipeline
from text2digit.data.prompts import read_prompt
from text2digit.pipelines.prompt_conditioner import texts_of_row, without_digit

from ..conftest import make_text_pipeline
from .helpers import FAST, Spy


def draw(pipe, prompt="7", **arguments):
    return pipe(prompt, **{**FAST, "generator": 0, **arguments}).images


def test_prompts_in_any_form(text_pipeline):
    """Of one meaning they are read alike; of another they draw something else."""
    images = draw(text_pipeline, ["7", "a thin 4 leaning left", "칠"])
    assert images.shape == (3, 1, 28, 28)
    assert torch.allclose(draw(text_pipeline, "A THIN 4, leaning left"), draw(text_pipeline, "a thin 4, leaning left"))
    assert not torch.allclose(draw(text_pipeline, "a thin 4"), draw(text_pipeline, "a thick 4"), atol=1e-3)


def test_one_seed_is_one_image_in_any_batch(text_pipeline):
    together = draw(text_pipeline, ["7", "thick 3"], generator=[5, 6])
    assert torch.allclose(together[1:], draw(text_pipeline, "thick 3", generator=6), atol=1e-5)


def test_an_empty_prompt_is_unconditional(text_pipeline):
    """Catches an empty prompt with a condition of its own; with guidance 0 every prompt is one."""
    unconditional = draw(text_pipeline, "")
    assert torch.allclose(unconditional, draw(text_pipeline, "", guidance_scale=5.0), atol=1e-5)
    assert torch.allclose(unconditional, draw(text_pipeline, "thick 7", guidance_scale=0), atol=1e-5)


def test_parts_that_do_not_fit_are_refused_before_a_call(tokenizer):
    """Catches a pipeline that is made, or loaded from a damaged folder, and fails with an IndexError at its call."""
    pipe = make_text_pipeline(tokenizer)
    for tokens in (0, 1, 10_000):
        with pytest.raises(ValueError, match=f"max_prompt_tokens: got {tokens}, expected 3 to"):
            TextConditionedDigitPipeline(**pipe.components, max_prompt_tokens=tokens)
    sizes = {"encoder_block_out_channels": (8,), "decoder_block_out_channels": (8,)}
    vae = AutoencoderTiny(**sizes, num_encoder_blocks=(1,), num_decoder_blocks=(1,))
    with pytest.raises(ValueError, match="vae: got latents of 4 channels, expected 1"):
        TextConditionedDigitPipeline(**{**pipe.components, "vae": vae})
    pipe.text_encoder.resize_token_embeddings(10)
    with pytest.raises(ValueError, match="tokenizer: got a token .*, expected ids below the text encoder's 10"):
        TextConditionedDigitPipeline(**pipe.components)


def test_a_saved_config_does_not_change_what_parts_return(text_pipeline, monkeypatch):
    """Catches a tuple without names, and tokens without a mask, which a folder may ask for."""
    expected = draw(text_pipeline)
    text_pipeline.text_encoder.config.return_dict = False
    monkeypatch.setattr(text_pipeline.tokenizer, "model_input_names", ["input_ids"])
    assert torch.equal(draw(text_pipeline), expected)


def test_what_is_not_understood_is_named(text_pipeline):
    with pytest.warns(UserWarning, match="'sevn' was read as 'seven'; not understood and left out: 'purple'"):
        images = draw(text_pipeline, "a purple sevn")
    assert torch.allclose(images, draw(text_pipeline, "a seven"), atol=1e-6)
    with pytest.warns(UserWarning, match="nothing: an unconditional digit"):
        draw(text_pipeline, "xyzzy")


def test_copies_are_images_of_one_prompt(text_pipeline):
    """Catches "two 3s" that is the number 33, or one image of a 3."""
    images = draw(text_pipeline, ["two thick 3s", "7"], generator=[5, 6, 7])
    assert torch.allclose(images, draw(text_pipeline, ["thick 3", "thick 3", "7"], generator=[5, 6, 7]), atol=1e-5)
    assert len(draw(text_pipeline, "two 3s", num_images_per_prompt=2)) == 4
    with pytest.raises(ValueError, match="'3' or '5'"):
        draw(text_pipeline, "3 or 5")


def test_guidance_and_negative_prompts(text_pipeline):
    spy = Spy(text_pipeline)
    draw(text_pipeline, ["7", "8"], guidance_scale=2.0)
    draw(text_pipeline, ["7", "8"], guidance_scale=1.0)
    assert spy.batches == [4] * 3 + [2] * 3
    plain, led = draw(text_pipeline, "7"), draw(text_pipeline, "7", negative_prompt="thick 7")
    assert not torch.allclose(plain, led, atol=1e-4)
    assert torch.allclose(draw(text_pipeline, "7", negative_prompt=""), plain)
    each = draw(
        text_pipeline, ["7", "3"], negative_prompt=["", "thick"], num_images_per_prompt=2, generator=[1, 2, 3, 4]
    )
    assert torch.allclose(each[1:2], draw(text_pipeline, "7", generator=2), atol=1e-5)
    assert torch.allclose(each[2:3], draw(text_pipeline, "3", negative_prompt="thick", generator=3), atol=1e-5)


def test_digit_guidance_leads_away_from_the_same_words_without_the_digit(text_pipeline, tmp_path):
    """Catches a style that is guided too, a default that is not saved, and one that a call cannot undo."""
    prompts = ["a thin 7 leaning left", "굵은 칠", "7"]
    usual = draw(text_pipeline, prompts)
    text_pipeline.register_to_config(digit_guidance=True)
    text_pipeline.save_pretrained(tmp_path)
    loaded = DigitPipeline.from_pretrained(tmp_path)
    by_hand = draw(text_pipeline, prompts, negative_prompt=["a thin digit leaning left", "굵은 숫자", ""])
    assert torch.allclose(draw(loaded, prompts), by_hand, atol=1e-5)
    assert torch.allclose(draw(loaded, prompts, negative_prompt=""), usual, atol=1e-5)
    assert torch.allclose(by_hand[2], usual[2], atol=1e-5) and not torch.allclose(by_hand[0], usual[0], atol=1e-4)


def test_what_a_prompt_is_without_its_digit():
    assert without_digit("a thin 4 leaning left") == "a thin digit leaning left"
    assert without_digit("굵은 칠") == "굵은 숫자"
    assert without_digit("seven") == without_digit("thin digit") == without_digit("") == ""


def test_embeddings_take_the_place_of_prompts(text_pipeline):
    embeds, mask, *_ = text_pipeline.encode_prompt(["7", "thick 3"])
    arguments = {"prompt_embeds": embeds, "prompt_attention_mask": mask, **FAST, "generator": 0}
    assert torch.allclose(text_pipeline(**arguments).images, draw(text_pipeline, ["7", "thick 3"]), atol=1e-5)
    repeated = text_pipeline(**{**arguments, "num_images_per_prompt": 2, "generator": [0, 9, 1, 8]}).images
    assert torch.allclose(repeated[[0, 2]], draw(text_pipeline, ["7", "thick 3"], generator=[0, 1]), atol=1e-5)
    negative, negative_mask, *_ = text_pipeline.encode_prompt("thick")
    led = text_pipeline(**arguments, negative_prompt_embeds=negative, negative_prompt_attention_mask=negative_mask)
    assert torch.allclose(led.images, draw(text_pipeline, ["7", "thick 3"], negative_prompt="thick"), atol=1e-5)


def test_a_number_is_a_row_of_its_digits(text_pipeline):
    """Catches digits that are drawn from one noise, or in more than one batch."""
    spy = Spy(text_pipeline)
    output = text_pipeline(["2026", "7"], num_inference_steps=3, generator=0)
    assert spy.batches == [10] * 3
    row, digits = output.images[0], output.digits[0]
    assert isinstance(row, Image.Image) and row.height == 28 and 28 < row.width <= 4 * (28 + 4)
    assert [len(pieces) for pieces in output.digits] == [4, 1] and output.images[1].size == (28, 28)
    assert not np.array_equal(digits[0], digits[2])  # two 2s of one style, not one 2 twice
    alone = text_pipeline("7", num_inference_steps=3, generator=1)
    assert np.abs(np.asarray(alone.images[0], int) - np.asarray(output.images[1], int)).max() <= 1
    arrays = text_pipeline("305", num_inference_steps=2, generator=0, output_type="np")
    assert arrays.images[0].shape[0] == 28 and arrays.images[0].shape[2] == 1 and len(arrays.digits[0]) == 3
    tensors = text_pipeline("삼백오", num_inference_steps=2, generator=0, output_type="pt")
    assert tensors.images[0].shape[:2] == (1, 28) and tensors.images[0].min() >= 0
    latents = text_pipeline("305", num_inference_steps=2, generator=0, output_type="latent")
    assert latents.images.shape == (3, 1, 28, 28)


def test_digits_of_a_number_share_a_style_that_the_seed_draws():
    """Catches a style of its own for each digit, and one that the prompt's own words do not overrule."""
    reading = read_prompt("a 2026")
    styles = set()
    for seed in range(30):
        texts = texts_of_row(reading, torch.Generator().manual_seed(seed))
        assert [text[-1] for text in texts] == list("2026") and len({text[:-1] for text in texts}) == 1
        assert all(read_prompt(text).properties == {"thickness", "slant"} for text in texts)
        styles.add(texts[0])
    assert len(styles) > 8
    said = texts_of_row(read_prompt("a very thick 2026 leaning left"), torch.Generator().manual_seed(0))
    assert said == [f"a very thick {digit} leaning left" for digit in "2026"]
    korean = texts_of_row(read_prompt("굵은 이천이십육"), torch.Generator().manual_seed(0))
    assert all(text.startswith("굵은 ") and text[-1].isdecimal() and not text.isascii() for text in korean)
    assert texts_of_row(read_prompt("seven"), None) == ["seven"]


def test_saves_and_loads(text_pipeline, tmp_path):
    """The tokenizer is recorded by the name that every transformers has; catches code that is not imported."""
    text_pipeline.save_pretrained(tmp_path)
    index = (tmp_path / "model_index.json").read_text()
    assert '"PreTrainedTokenizerFast"' in index and '"CLIPTextModel"' in index
    loaded = DigitPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded) is TextConditionedDigitPipeline
    assert torch.allclose(draw(loaded, "굵은 칠"), draw(text_pipeline, "굵은 칠"), atol=1e-6)
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.py"))
    twin = TextConditionedDigitPipeline.from_pipe(text_pipeline)
    assert twin.text_encoder is text_pipeline.text_encoder and twin.config.max_prompt_tokens == 32


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"prompt": None}, "prompt: pass exactly one of prompt and prompt_embeds"),
        ({"prompt": []}, r"prompt: got \[\], expected a text or a list of texts"),
        ({"prompt": 7}, "prompt: got 7, expected a text"),
        ({"prompt": "3.14"}, "number: got '3.14', expected a whole number"),
        ({"negative_prompt": ["3", "7"]}, "negative_prompt: got 2 for 1 prompts"),
        ({"prompt": None, "prompt_embeds": torch.zeros(1, 4, 5)}, r"prompt_embeds: got shape \(1, 4, 5\), expected"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt: got 0"),
        ({"generator": [1, 2]}, "generator: got 2 for 1 images"),
    ],
)
def test_wrong_arguments_say_what_was_expected(text_pipeline, arguments, message):
    with pytest.raises(ValueError, match=message):
        text_pipeline(**{"prompt": "7", "num_inference_steps": 1, **arguments})


def test_parts_that_do_not_fit_say_so(text_pipeline, pipeline):
    parts = text_pipeline.components
    with pytest.raises(ValueError, match="got a model with cross_attention_dim=None, expected 16"):
        TextConditionedDigitPipeline(pipeline.denoiser, parts["scheduler"], parts["text_encoder"], parts["tokenizer"])
    with pytest.raises(ValueError, match="expected one that is conditioned on classes"):
        ClassConditionedDigitPipeline(text_pipeline.denoiser, parts["scheduler"])
