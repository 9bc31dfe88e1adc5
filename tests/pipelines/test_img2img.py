"""Image to image and inpainting, with weights of classes and of texts."""

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from text2digit import ClassConditionedDigitPipeline, DigitImg2ImgPipeline, DigitInpaintPipeline, DigitPipeline
from text2digit.pipelines.loading import find_pipeline_folder

from .helpers import Spy

CALL = {"num_inference_steps": 10, "generator": 0, "guidance_scale": 1.5, "guidance_interval": (0.0, 1.0)}


@pytest.fixture(scope="module")
def unet():
    """The weights that ship."""
    pipe = DigitPipeline.from_pretrained("unet-mnist")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def three(unet):
    return unet(3, generator=0).images[0]


def made_of(pipeline, kind):
    pipe = kind.from_pipe(pipeline)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def difference(a, b):
    return np.abs(np.asarray(a, float) - np.asarray(b, float)).mean()


def left_half():
    """Open on the right."""
    mask = np.zeros((28, 28), np.uint8)
    mask[:, 14:] = 255
    return Image.fromarray(mask)


def test_strength_is_how_much_is_new(unet, three):
    """0 is the image itself, more is farther from it; catches a strength that is counted from the wrong end."""
    pipe = made_of(unet, DigitImg2ImgPipeline)
    images = [pipe(image=three, class_labels=8, strength=s, **CALL).images[0] for s in (0.0, 0.3, 0.6, 1.0)]
    assert np.array_equal(images[0], three)
    distances = [difference(image, three) for image in images]
    assert distances[1] < 15 < distances[3] and distances == sorted(distances)


def test_only_a_part_of_the_steps_is_taken(unet, three):
    pipe = made_of(unet, DigitImg2ImgPipeline)
    spy = Spy(pipe)
    pipe(image=three, class_labels=8, strength=0.35, **CALL)
    assert spy.batches == [2] * 3


def test_an_interval_of_guidance_counts_the_steps_that_were_left_out(unet, three):
    """Catches fractions of the steps that are taken, by which one interval would mean other levels of noise."""
    pipe = made_of(unet, DigitImg2ImgPipeline)
    spy = Spy(pipe)
    pipe(image=three, class_labels=8, strength=0.4, **{**CALL, "guidance_interval": (0.0, 0.7)})
    assert spy.batches == [2, 1, 1, 1]


@pytest.mark.parametrize(
    "name", ["DDIM", "DDPM", "EulerDiscrete", "DPMSolverMultistep", "UniPCMultistep", "HeunDiscrete"]
)
def test_schedulers_of_diffusers_start_in_the_middle(unet, three, name):
    """Little noise changes little; catches noise of another level than the one that denoising begins at."""
    pipe = made_of(unet, DigitImg2ImgPipeline)
    changes = {"timestep_spacing": "leading"} if name == "HeunDiscrete" else {}
    pipe.scheduler = getattr(diffusers, f"{name}Scheduler").from_config(unet.scheduler.config, **changes)
    image = pipe(image=three, class_labels=3, strength=0.3, **CALL).images[0]
    assert 0.5 < difference(image, three) < 25
    inpaint = made_of(pipe, DigitInpaintPipeline)
    drawn = inpaint(image=three, mask_image=left_half(), class_labels=3, **CALL).images[0]
    assert np.array_equal(np.asarray(drawn)[:, :14], np.asarray(three)[:, :14])


def test_inpainting_keeps_what_is_masked_to_the_pixel(unet, three):
    """Catches a mask that is exchanged, and a known part that keeps the noise of the last level but one."""
    pipe = made_of(unet, DigitInpaintPipeline)
    image = pipe(image=three, mask_image=left_half(), class_labels=8, **CALL).images[0]
    assert np.array_equal(np.asarray(image)[:, :14], np.asarray(three)[:, :14])
    assert difference(np.asarray(image)[:, 14:], np.asarray(three)[:, 14:]) > 5
    nothing = pipe(image=three, mask_image=Image.new("L", (28, 28), 0), class_labels=8, **CALL).images[0]
    assert np.array_equal(nothing, three)
    everything = pipe(image=three, mask_image=Image.new("L", (28, 28), 255), class_labels=8, **CALL).images[0]
    assert difference(everything, unet(8, **CALL).images[0]) < 2  # from pure noise it is the plain pipeline


def test_the_user_s_callback_still_sees_and_replaces(unet, three):
    pipe, seen = made_of(unet, DigitInpaintPipeline), []

    def look(pipe, i, t, tensors):
        seen.append(sorted(tensors))
        return {"latents": torch.zeros_like(tensors["model_output"])}

    arguments = {"callback_on_step_end": look, "callback_on_step_end_tensor_inputs": ["model_output"]}
    image = pipe(image=three, mask_image=left_half(), class_labels=8, **CALL, **arguments).images[0]
    assert seen == [["model_output"]] * 10
    assert set(np.asarray(image)[:, 14:].ravel()) <= {127, 128}


def test_images_of_every_kind(unet, three):
    """PIL in colour and of another size, arrays, tensors and batches of them."""
    pipe = made_of(unet, DigitImg2ImgPipeline)
    array = np.asarray(three, np.float32)[..., None] / 255
    expected = pipe(image=three, class_labels=5, **CALL).images[0]
    for image in (three.convert("RGB"), array[None], torch.from_numpy(array).permute(2, 0, 1)[None]):
        assert difference(pipe(image=image, class_labels=5, **CALL).images[0], expected) < 1
    assert pipe(image=three.resize((100, 90)), class_labels=5, **CALL).images[0].size == (28, 28)
    two = pipe(image=[three, three], class_labels=[5, 8], num_images_per_prompt=2, **CALL).images
    assert len(two) == 4
    assert len(pipe(image=three, class_labels=[1, 2, 3], **CALL).images) == 3
    assert len(pipe(image=[three] * 3, class_labels=1, **CALL).images) == 3


def test_weights_of_texts(text_pipeline, three, tmp_path):
    pipe = made_of(text_pipeline, DigitInpaintPipeline)
    images = pipe(["7", "thick 3"], three, left_half(), strength=0.5, num_inference_steps=4, generator=0).images
    assert len(images) == 2 and np.array_equal(np.asarray(images[1])[:, :14], np.asarray(three)[:, :14])
    with pytest.raises(ValueError, match="prompt: got a number of 4 digits, expected one for one image"):
        pipe("2026", three, left_half())
    text_pipeline.save_pretrained(tmp_path)
    loaded = DigitImg2ImgPipeline.from_pretrained(tmp_path)
    assert loaded.tokenizer is not None and loaded.text_encoder is not None


def test_any_weights_load_by_name(tmp_path):
    """Catches a dispatch that knows only the class that the folder names."""
    pipe = DigitInpaintPipeline.from_pretrained("unet-mnist")
    assert type(pipe) is DigitInpaintPipeline and pipe.text_encoder is None and pipe.get_label_ids("three") == [3]
    pipe.save_pretrained(tmp_path)
    assert type(DigitPipeline.from_pretrained(tmp_path)) is DigitInpaintPipeline
    back = ClassConditionedDigitPipeline.from_pipe(pipe)
    assert back.denoiser is pipe.denoiser and find_pipeline_folder(tmp_path, {}) == tmp_path


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"strength": 1.5}, "strength: got 1.5, expected a number from 0"),
        ({"image": None}, "image: got None, expected the image"),
        ({"class_labels": None}, "class_labels: expected them, and no prompt, for weights of classes"),
        ({"prompt": "7"}, "class_labels: expected them, and no prompt"),
        ({"class_labels": [1, 2], "image": [Image.new("L", (28, 28))] * 3}, "got 3 images for 2 conditions"),
        ({"class_labels": 10}, "class_labels: got 10"),
        ({"mask_image": None}, "mask_image: got None, expected a mask, white where"),
    ],
)
def test_wrong_arguments_say_what_was_expected(pipeline, arguments, message):
    pipe = made_of(pipeline, DigitInpaintPipeline)
    given = {"image": Image.new("L", (28, 28)), "class_labels": 3, "mask_image": left_half(), **arguments}
    with pytest.raises(ValueError, match=message):
        pipe(**given)
