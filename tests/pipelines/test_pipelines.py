"""What diffusers asks of a pipeline's call, and what this one promises beyond."""

import diffusers
import numpy as np
import pytest
import torch

from text2digit import ClassConditionedDigitPipeline, DDIMScheduler, DDPMScheduler
from text2digit.pipelines.images import to_uint8

from ..conftest import TINY, randomize
from .helpers import FAST, Spy, draw

SCHEDULERS = (
    *("DDIM", "DDPM", "DPMSolverMultistep", "UniPCMultistep"),
    *("EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "PNDM", "LMSDiscrete"),
)

# --- what comes out --------------------------------------------------------------------------------------------------


def test_output_types(pipeline):
    pt = draw(pipeline)
    assert pt.shape == (2, 1, 28, 28) and pt.min() >= 0 and pt.max() <= 1
    array = draw(pipeline, output_type="np")
    assert array.shape == (2, 28, 28, 1) and np.allclose(array[..., 0], pt[:, 0], atol=1e-6)
    pictures = draw(pipeline, output_type="pil")
    assert [p.size for p in pictures] == [(28, 28)] * 2 and pictures[0].mode == "L"
    assert np.array_equal(np.stack([np.asarray(p) for p in pictures]), to_uint8(pt))
    latents = draw(pipeline, output_type="latent")
    assert torch.allclose((latents / 2 + 0.5).clamp(0, 1), pt, atol=1e-6)


def test_tuple_equals_object(pipeline):
    assert torch.equal(pipeline([3], **FAST, generator=0, return_dict=False)[0], draw(pipeline, [3]))


def test_num_images_per_prompt_keeps_classes_together(pipeline):
    images = draw(pipeline, [3, 7], num_images_per_prompt=2)
    assert torch.allclose(images, draw(pipeline, [3, 3, 7, 7]), atol=1e-5)


# --- seeds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler_class, eta", [(DDIMScheduler, 0.0), (DDIMScheduler, 1.0), (DDPMScheduler, 0.0)])
def test_an_image_is_the_same_in_any_batch(pipeline, scheduler_class, eta):
    """One seed, one image; catches noise drawn for the batch as a whole, at the start or in a step."""
    pipeline.scheduler = scheduler_class.from_config(pipeline.scheduler.config)
    together = draw(pipeline, range(5), generator=10, eta=eta)
    alone = draw(pipeline, [3], generator=13, eta=eta)
    assert torch.allclose(together[3:4], alone, atol=1e-4)
    generators = [torch.Generator().manual_seed(10 + i) for i in range(5)]
    assert torch.equal(draw(pipeline, range(5), generator=generators, eta=eta), together)
    assert torch.equal(draw(pipeline, range(5), generator=[10, 11, 12, 13, 14], eta=eta), together)
    assert not torch.allclose(draw(pipeline, [3], generator=14, eta=eta), alone, atol=1e-2)


def test_one_generator_repeats_the_call_and_moves_on(pipeline):
    generator = torch.Generator().manual_seed(0)
    first, second = (draw(pipeline, generator=generator) for _ in range(2))
    assert torch.equal(draw(pipeline, generator=torch.Generator().manual_seed(0)), first)
    assert not torch.equal(first, second)


def test_latents_are_where_it_starts(pipeline):
    latents = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(5))
    assert torch.equal(draw(pipeline, latents=latents, generator=1), draw(pipeline, latents=latents, generator=2))
    with pytest.raises(ValueError, match=r"latents: got shape \(1, 1, 28, 28\), expected \(2, 1, 28, 28\)"):
        draw(pipeline, latents=latents[:1])


# --- schedulers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULERS)
def test_diffusers_schedulers_drop_in(pipeline, name):
    """Each runs, differs by class and by seed, and stays finite; `test_shipped.py` looks at the digits."""
    pipeline.scheduler = getattr(diffusers, f"{name}Scheduler").from_config(pipeline.scheduler.config)
    images = draw(pipeline, [3, 8], num_inference_steps=4)
    assert images.shape == (2, 1, 28, 28) and images.isfinite().all() and images.std() > 0
    assert torch.equal(draw(pipeline, [3, 8], num_inference_steps=4), images)


def test_own_grids(pipeline):
    assert torch.equal(draw(pipeline, timesteps=[999, 666, 333]), draw(pipeline, timesteps=[999, 666, 333]))
    spy = Spy(pipeline)
    draw(pipeline, timesteps=[999, 10], guidance_scale=1)
    assert len(spy.batches) == 2
    pipeline.scheduler = diffusers.PNDMScheduler.from_config(pipeline.scheduler.config)
    with pytest.raises(ValueError, match="PNDMScheduler takes no custom timesteps"):
        draw(pipeline, timesteps=[999, 10])


def test_a_learned_variance_is_used_by_ddpm_and_left_out_by_others():
    model = randomize(TINY["UNet"](out_channels=2))
    pipe = ClassConditionedDigitPipeline(model, DDPMScheduler(variance_type="learned_range"))
    pipe.set_progress_bar_config(disable=True)
    learned = draw(pipe)
    pipe.scheduler = DDPMScheduler()
    assert draw(pipe).shape == learned.shape == (2, 1, 28, 28)
    assert not torch.equal(draw(pipe), learned)


# --- callbacks and progress ------------------------------------------------------------------------------------------


def test_callback_sees_every_step_may_replace_latents_and_may_stop(pipeline):
    seen = []

    def look(pipe, i, t, tensors):
        seen.append((i, int(t), tensors["latents"].shape, tensors["model_output"].shape, pipe.num_timesteps))

    draw(pipeline, callback_on_step_end=look, callback_on_step_end_tensor_inputs=["latents", "model_output"])
    shape = (2, 1, 28, 28)
    assert seen == [(0, 999, shape, shape, 3), (1, 666, shape, shape, 3), (2, 332, shape, shape, 3)]

    zeros = draw(pipeline, callback_on_step_end=lambda p, i, t, k: {"latents": 0 * k["latents"]}, output_type="latent")
    assert zeros.abs().max() == 0

    def stop(pipe, i, t, tensors):
        pipe._interrupt = True

    spy = Spy(pipeline)
    draw(pipeline, callback_on_step_end=stop)
    assert len(spy.batches) == 1 and pipeline.interrupt


def test_callback_may_change_the_guidance(pipeline):
    """As in diffusers' test_callback_cfg; catches a loop that keeps its own copy."""

    def more(pipe, i, t, tensors):
        pipe._guidance_scale += 1.0

    spy = Spy(pipeline)
    changed = draw(pipeline, guidance_scale=1.0, callback_on_step_end=more)
    assert pipeline.guidance_scale == 1.0 + pipeline.num_timesteps
    assert spy.batches == [2, 4, 4]
    assert not torch.allclose(changed, draw(pipeline, guidance_scale=1.0), atol=1e-3)


def test_progress_bar_can_be_silenced(pipeline, capsys):
    draw(pipeline)
    assert capsys.readouterr().err == ""
    pipeline.set_progress_bar_config(disable=False, desc="digits")
    draw(pipeline)
    assert "digits" in capsys.readouterr().err


# --- labels ----------------------------------------------------------------------------------------------------------


def test_labels_of_every_kind(pipeline):
    expected = draw(pipeline, [7])
    for label in (7, "seven", ["seven"], torch.tensor(7), torch.tensor([7]), np.int64(7), (7,)):
        assert torch.equal(pipeline(label, **FAST, generator=0).images, expected)
    assert pipeline.get_label_ids("three") == [3] and pipeline.get_label_ids(["one", "nine"]) == [1, 9]


def test_a_class_may_have_several_names(pipeline):
    pipe = ClassConditionedDigitPipeline(pipeline.denoiser, pipeline.scheduler, id2label={0: "zero, 0", 1: "one, 1"})
    assert pipe.get_label_ids(["0", "one", "zero"]) == [0, 1, 0]


@pytest.mark.parametrize("label", [10, -1, "x", 3.5, True, None, [], [1, 11], torch.tensor([1.5])])
def test_wrong_labels_say_what_was_expected(pipeline, label):
    with pytest.raises(ValueError, match="class_labels: got .*expected"):
        pipeline(label, **FAST)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_inference_steps": 0}, "num_inference_steps: got 0, expected a whole number"),
        ({"num_inference_steps": 2.5}, "got 2.5"),
        ({"guidance_scale": float("nan")}, "guidance_scale: got nan, expected a finite number"),
        ({"guidance_scale": "2"}, "guidance_scale: got '2'"),
        ({"output_type": "jpg"}, "output_type: got 'jpg', expected one of pil, np, pt, latent"),
        ({"generator": [1]}, "generator: got 1 for 2 images"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt: got 0"),
        ({"callback_on_step_end_tensor_inputs": ["x_0"]}, "got 'x_0', expected some of latents, model_output"),
    ],
)
def test_wrong_arguments_say_what_was_expected(pipeline, arguments, message):
    with pytest.raises(ValueError, match=message):
        draw(pipeline, **arguments)


def test_eta_needs_a_scheduler_that_has_it(pipeline):
    pipeline.scheduler = diffusers.UniPCMultistepScheduler.from_config(pipeline.scheduler.config)
    with pytest.raises(ValueError, match="UniPCMultistepScheduler has no eta"):
        draw(pipeline, eta=0.5)
