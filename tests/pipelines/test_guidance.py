"""Guidance: the rules by hand, and what the loop makes of them."""

import diffusers
import pytest
import torch

from text2digit import DDIMScheduler, DigitPipeline
from text2digit.pipelines.guidance import (
    GUIDANCE_RULES,
    classifier_free_guidance,
    rescaled_guidance,
    zero_star_guidance,
)

from ..conftest import TINY, randomize
from .helpers import Spy, draw

# --- guidance --------------------------------------------------------------------------------------------------------


def test_guidance_costs_one_batched_forward_and_none_where_it_has_no_say(pipeline):
    for guidance_scale, batch in ((2.0, 4), (1.0, 2), (0.0, 2), (1, 2)):
        spy = Spy(pipeline)
        draw(pipeline, guidance_scale=guidance_scale)
        assert spy.batches == [batch] * 3, guidance_scale


def test_guidance_combines_as_diffusers_does():
    """cond at 1 and uncond at 0 to the bit; catches the papers' convention, which is off by one."""
    cond, uncond = torch.randn(2, 4, 1, 5, 5)
    assert torch.equal(classifier_free_guidance(cond, uncond, 1.0), cond)
    assert torch.equal(classifier_free_guidance(cond, uncond, 0.0), uncond)
    for s in (-1.0, 0.3, 2.0, 7.5):
        assert torch.allclose(classifier_free_guidance(cond, uncond, s), uncond + s * (cond - uncond), atol=1e-5)


def test_guidance_zero_ignores_the_class_and_more_of_it_does_not(pipeline):
    assert torch.equal(draw(pipeline, [3], guidance_scale=0), draw(pipeline, [8], guidance_scale=0))
    assert not torch.allclose(draw(pipeline, [3], guidance_scale=1), draw(pipeline, [8], guidance_scale=1), atol=1e-3)


def test_defaults_are_those_saved_with_the_weights(pipeline, tmp_path):
    pipeline.register_to_config(default_num_inference_steps=4, default_guidance_scale=1.0)
    pipeline.save_pretrained(tmp_path)
    loaded = DigitPipeline.from_pretrained(tmp_path)
    spy = Spy(loaded)
    loaded([1], output_type="pt")
    assert spy.batches == [1] * 4


def predictions():
    """Of two channels, so that a deviation over each channel alone is not that of the image."""
    return torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", GUIDANCE_RULES)
def test_every_rule_is_bit_equal_at_both_ends(name):
    """Catches rounding in a case that has nothing to compute, and a rescaling of what is not guided."""
    cond, weak = predictions()
    assert torch.equal(GUIDANCE_RULES[name](cond, weak, 1.0), cond)
    assert torch.equal(GUIDANCE_RULES[name](cond, weak, 0.0), weak)


def test_rescaled_guidance_by_hand():
    """Standard deviation between those of cond and of plain guidance, 0.7 of the way to the former, image by image."""
    cond, weak = predictions()
    plain, rescaled = classifier_free_guidance(cond, weak, 4.0), rescaled_guidance(cond, weak, 4.0)
    for i in range(3):
        wanted = 0.7 * cond[i].std() + 0.3 * plain[i].std()
        assert rescaled[i].std().item() == pytest.approx(wanted.item(), rel=1e-5)
        assert torch.allclose(rescaled[i] / plain[i], rescaled[i, 0, 0, 0] / plain[i, 0, 0, 0], rtol=1e-4)


def test_zero_star_guidance_by_hand():
    """(1, 1) and (2, 0): the projection is (1, 0), and twice the way from there to (1, 1) is (1, 2). Where the two
    agree but for length there is nothing to guide, and plain guidance would overshoot."""
    cond, weak = torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 0.0]])
    assert zero_star_guidance(cond, weak, 2.0).tolist() == [[1.0, 2.0]]
    assert torch.allclose(zero_star_guidance(cond, 3 * cond, 5.0), cond)


def test_guidance_interval_turns_guidance_off_outside(pipeline):
    """Steps 1 and 2 of 4 of interval (0.25, 0.75): one forward each outside, two within."""
    spy = Spy(pipeline)
    draw(pipeline, num_inference_steps=4, guidance_scale=2.0, guidance_interval=(0.25, 0.75))
    assert spy.batches == [2, 4, 4, 2]
    never = draw(pipeline, guidance_scale=3.0, guidance_interval=(0.0, 0.0))
    assert torch.equal(never, draw(pipeline, guidance_scale=1.0))
    assert torch.equal(draw(pipeline, guidance_interval=(0, 1)), draw(pipeline))


def test_the_interval_is_saved_with_the_weights_and_a_call_may_say_another(pipeline, tmp_path):
    """Catches a default that is saved and not read, and one that a call cannot undo."""
    pipeline.register_to_config(default_num_inference_steps=4, default_guidance_interval=(0.5, 1.0))
    pipeline.save_pretrained(tmp_path)
    loaded = DigitPipeline.from_pretrained(tmp_path)
    spy = Spy(loaded)
    loaded([1], guidance_scale=2.0, output_type="pt")
    assert spy.batches == [1, 1, 2, 2]
    loaded([1], guidance_scale=2.0, guidance_interval=(0.0, 1.0), output_type="pt")
    assert spy.batches[4:] == [2] * 4


def test_no_interval_makes_an_unconditional_image_conditional(pipeline):
    """Outside of an interval a scale above 1 is off; catches that scale 0 turns conditional there."""
    outside = {"guidance_interval": (0.0, 0.0)}
    assert torch.equal(draw(pipeline, guidance_scale=0.0, **outside), draw(pipeline, guidance_scale=0.0))
    assert torch.equal(draw(pipeline, guidance_scale=0.5, **outside), draw(pipeline, guidance_scale=0.5))


@pytest.mark.parametrize("name", ["cfg_rescale", "cfg_zero"])
def test_rules_are_chosen_by_name(pipeline, name):
    assert not torch.allclose(draw(pipeline, guidance_scale=4.0, guidance=name), draw(pipeline, guidance_scale=4.0))
    for scale in (0.0, 1.0):
        assert torch.equal(draw(pipeline, guidance_scale=scale, guidance=name), draw(pipeline, guidance_scale=scale))


def test_cfg_zero_starts_by_standing_still(pipeline):
    """On a flow a velocity of zero leaves x_T as it is: the first step changes nothing, the second does."""
    options = {"beta_schedule": "flow", "prediction_type": "flow_prediction", "clip_sample": False}
    pipeline.scheduler = DDIMScheduler(**options)
    start, seen = torch.randn(2, 1, 28, 28), []

    def look(pipe, step, timestep, tensors):
        seen.append(tensors["latents"])

    draw(pipeline, guidance_scale=2.0, guidance="cfg_zero", latents=start, callback_on_step_end=look)
    assert torch.allclose(seen[0], start, atol=1e-6) and not torch.allclose(seen[1], start, atol=1e-3)
    pipeline.scheduler = DDIMScheduler(prediction_type="epsilon")
    with pytest.raises(ValueError, match="this model predicts epsilon; use cfg"):
        draw(pipeline, guidance_scale=2.0, guidance="cfg_zero")


def test_a_weaker_model_guides(pipeline):
    """The same model as its own guide has no say; another one does; at 0 it is alone. One forward each."""
    weak, spy = randomize(TINY["UNet"](), seed=5), Spy(pipeline)
    plain = draw(pipeline, guidance_scale=1.0)
    assert torch.allclose(draw(pipeline, guidance_scale=3.0, weak_denoiser=pipeline.denoiser), plain, atol=1e-4)
    spy.batches.clear()
    assert not torch.allclose(draw(pipeline, guidance_scale=3.0, weak_denoiser=weak), plain, atol=1e-3)
    assert spy.batches == [2, 2, 2]
    alone = draw(pipeline, guidance_scale=0.0, weak_denoiser=weak)
    pipeline.denoiser = weak
    assert torch.equal(alone, draw(pipeline, guidance_scale=1.0))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"guidance": "more"}, "guidance: got 'more', expected one of cfg, cfg_rescale, cfg_zero"),
        ({"guidance_interval": (0.5, 0.2)}, "guidance_interval: got .0.5, 0.2., expected start and end"),
        ({"guidance_interval": (0.5, 1.2)}, "guidance_interval"),
    ],
)
def test_wrong_guidance_says_what_was_expected(pipeline, arguments, message):
    with pytest.raises(ValueError, match=message):
        draw(pipeline, **arguments)


# --- flows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete"])
def test_a_flow_model_draws_by_diffusers_flow_schedulers(pipeline, name):
    """On the same grid Euler's images are those of our DDIM; catches timesteps that are one level off for the model."""
    pipeline.scheduler = DDIMScheduler(
        beta_schedule="flow", prediction_type="flow_prediction", clip_sample=False, timestep_spacing="linspace"
    )
    flow = getattr(diffusers, f"{name}Scheduler").from_config(pipeline.scheduler.config)
    flow.set_timesteps(8)
    ours = draw(pipeline, timesteps=flow.timesteps.unique().flip(0).tolist(), output_type="latent")
    pipeline.scheduler = flow
    theirs = draw(pipeline, num_inference_steps=8, output_type="latent")
    assert torch.allclose(ours, theirs, atol=1e-4) == (name == "FlowMatchEulerDiscrete")
    assert (ours - theirs).abs().mean() < 0.2
