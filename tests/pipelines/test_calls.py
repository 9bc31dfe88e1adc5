"""A call owns what it changes: threads, callbacks, components handed on, arguments of any kind."""

import threading

import diffusers
import numpy as np
import pytest
import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback, SDCFGCutoffCallback, SDXLCFGCutoffCallback

from text2digit import (
    ClassConditionedDigitPipeline,
    DDIMScheduler,
    DDPMScheduler,
    DigitImg2ImgPipeline,
    UniPCMultistepScheduler,
)

from ..conftest import TINY, make_text_pipeline, randomize
from .helpers import FAST, draw


def made(scheduler, model_type="UNet"):
    pipe = ClassConditionedDigitPipeline(randomize(TINY[model_type]()), scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


# --- threads -----------------------------------------------------------------------------------------------------

V = {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}
SHARED = {
    "DDIM": lambda: DDIMScheduler(**V, clip_sample=False),
    "DDPM": lambda: DDPMScheduler(**V),
    "UniPC": lambda: UniPCMultistepScheduler(**V),
    "diffusers UniPC": lambda: diffusers.UniPCMultistepScheduler(**V),
    "diffusers Heun": lambda: diffusers.HeunDiscreteScheduler(prediction_type="v_prediction"),
    "diffusers Euler ancestral": lambda: diffusers.EulerAncestralDiscreteScheduler(**V),
}


@pytest.mark.parametrize("model_type", ["UNet", "DiT"])
@pytest.mark.parametrize("name", SHARED)
def test_threads_of_one_pipeline_give_one_thread_s_images(name, model_type):
    """Catches a step count, a history, a scale or a flag that lives on the pipeline or on its scheduler."""
    pipe = made(SHARED[name](), model_type)
    calls = [
        {"num_inference_steps": steps, "guidance_scale": scale, "generator": seed}
        for seed, (steps, scale) in enumerate([(5, 1.0), (11, 6.0), (3, 0.0), (17, 2.0)])
    ]
    alone = [draw(pipe, **call) for call in calls]
    start, results = threading.Barrier(len(calls)), [[] for _ in calls]

    def run(place):
        start.wait(10)
        for _ in range(4):
            results[place].append(draw(pipe, **calls[place]))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for image, repeated in zip(alone, results, strict=True):
        assert len(repeated) == 4 and all(torch.allclose(image, again, atol=1e-4) for again in repeated)


def test_threads_redraw_with_strengths_of_their_own(pipeline):
    """Catches a begin index that is set in the scheduler that all calls share."""
    pipe = DigitImg2ImgPipeline.from_pipe(pipeline)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    image = draw(pipeline, [3])

    def redraw(strength):
        arguments = {"num_inference_steps": 20, "generator": 0, "output_type": "pt"}
        return pipe(image=image, class_labels=8, strength=strength, **arguments).images

    strengths = (0.2, 0.5, 0.9, 1.0)
    alone, together = [redraw(strength) for strength in strengths], {}
    threads = [threading.Thread(target=lambda s=s: together.update({s: redraw(s)})) for s in strengths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all(torch.allclose(one, together[s], atol=1e-4) for one, s in zip(alone, strengths, strict=True))


@pytest.mark.parametrize("name", SHARED)
def test_a_call_leaves_the_scheduler_as_it_was(name):
    """Catches `set_timesteps` on the user's own scheduler, and a config that is changed on the way."""
    scheduler = SHARED[name]()
    scheduler.set_timesteps(9)
    before, config = scheduler.timesteps.clone(), dict(scheduler.config)
    pipe = made(scheduler)
    draw(pipe, num_inference_steps=4)
    assert pipe.scheduler is scheduler and torch.equal(scheduler.timesteps, before)
    assert scheduler.num_inference_steps == 9 and dict(scheduler.config) == config


def test_a_callback_gets_a_view_that_is_its_call_s_own(pipeline):
    """Catches a flag or a scale that a callback of one call sets for another one."""
    seen = []

    def stop(pipe, i, t, tensors):
        seen.append((pipe is pipeline, pipe.denoiser is pipeline.denoiser, pipe.num_timesteps, pipe.guidance_scale))
        inner = draw(pipeline, num_inference_steps=2, guidance_scale=3.0)  # a call within the call
        assert inner.isfinite().all()
        pipe._interrupt = i == 1

    draw(pipeline, num_inference_steps=4, guidance_scale=2.0, callback_on_step_end=stop)
    assert seen == [(False, True, 4, 2.0)] * 2  # not stopped by the inner call, nor scaled, and over after the second


# --- what goes along with components -----------------------------------------------------------------------------


def test_components_take_names_and_defaults_along(pipeline, tmp_path):
    """Catches `Pipeline(**pipe.components)` that guides by 2.0 where the weights were saved with 1.3."""
    names = {0: "zero, nought", 1: "one"}
    options = {"default_guidance_scale": 1.3, "default_num_inference_steps": 7, "default_guidance_interval": (0.1, 0.6)}
    first = ClassConditionedDigitPipeline(pipeline.denoiser, pipeline.scheduler, id2label=names, **options)
    for other in (ClassConditionedDigitPipeline(**first.components), DigitImg2ImgPipeline(**first.components)):
        assert {name: other.config[name] for name in options} == options
        assert other.get_label_ids("nought") == [0]
    first.save_pretrained(tmp_path)
    loaded = type(first.denoiser).from_pretrained(tmp_path, subfolder="denoiser")
    again = ClassConditionedDigitPipeline(loaded, first.scheduler)
    assert again.config.default_guidance_scale == 1.3 and again.get_label_ids(["one"]) == [1]
    assert tuple(again.config.default_guidance_interval) == (0.1, 0.6)


@pytest.mark.filterwarnings("error")
def test_from_pipe_keeps_the_dtype_and_says_nothing(pipeline, capfd):
    """Catches a cast to float32 that nobody asked for, and the remark on an empty list of modules."""
    pipeline.denoiser.to(torch.bfloat16)
    capfd.readouterr()
    again = DigitImg2ImgPipeline.from_pipe(pipeline)
    assert again.denoiser.dtype == pipeline.denoiser.dtype == torch.bfloat16
    assert capfd.readouterr() == ("", "")
    assert DigitImg2ImgPipeline.from_pipe(pipeline, torch_dtype=torch.float32).denoiser.dtype == torch.float32
    with pytest.raises(ValueError, match="from_pipe: got stepz, expected some of denoiser, scheduler"):
        DigitImg2ImgPipeline.from_pipe(pipeline, stepz=3)


def test_diffusers_tools_find_the_denoiser_by_its_kind():
    """Catches tools that look for `pipe.unet` or `pipe.transformer` and find none, or both."""
    for model_type, name, other in (("UNet", "unet", "transformer"), ("DiT", "transformer", "unet")):
        pipe = made(DDIMScheduler(**V), model_type)
        assert getattr(pipe, name) is pipe.denoiser and not hasattr(pipe, other)
        assert name not in pipe.components


# --- noise at the ends -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler_class", [DDIMScheduler, DDPMScheduler, UniPCMultistepScheduler])
@pytest.mark.parametrize("schedule, clean", [("squaredcos_cap_v2", -1), ("flow", 0)])
def test_the_clean_timestep_adds_no_noise(scheduler_class, schedule, clean):
    """Catches timestep -1 that is looked up as the last level, which is pure noise."""
    scheduler = scheduler_class(beta_schedule=schedule)
    image, noise = torch.randn(2, 2, 1, 4, 4)
    assert torch.equal(scheduler.add_noise(image, noise, torch.tensor([clean, clean])), image)
    mixed = scheduler.add_noise(image, noise, torch.tensor([clean, clean + 500]))
    assert torch.equal(mixed[0], image[0]) and not torch.allclose(mixed[1], image[1], atol=1e-2)


# --- numbers and sequences of any kind ---------------------------------------------------------------------------


def test_numpy_counts_scales_classes_and_seeds(pipeline):
    """Catches checks by `int` and `float`, which numpy's numbers are not."""
    expected = draw(pipeline, [0, 1, 2], num_inference_steps=5, guidance_scale=1.5)
    call = {"num_inference_steps": np.int64(5), "guidance_scale": np.float32(1.5), "output_type": "pt"}
    for generator in (np.int64(0), np.arange(3), torch.arange(3), range(3), (0, 1, 2)):
        assert torch.equal(pipeline(np.arange(3), generator=generator, **call).images, expected)
    one = pipeline(3, num_images_per_prompt=np.int32(2), guidance_interval=np.array([0.0, 0.5]), generator=0, **call)
    assert one.images.shape == (2, 1, 28, 28)
    grid = pipeline([3], timesteps=np.array([900, 500, 20]), generator=0, output_type="pt").images
    assert torch.equal(grid, draw(pipeline, [3], timesteps=[900, 500, 20]))


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, 10**5000, 1.5, "7", None], ids=range(6))
def test_a_seed_out_of_range_says_what_was_expected(pipeline, seed):
    with pytest.raises(ValueError, match=r"generator: got .{0,100}, expected a whole number from -2\^63"):
        draw(pipeline, [3], generator=[seed])


WRONG = [
    *(("timesteps", value) for value in ("abc", [None], {900: 1}, [10**30])),
    *(("guidance_interval", value) for value in (0.5, True, "ab")),
    *(("generator", value) for value in (3.5, np.float64(3), torch.tensor(3.5), [1.5])),
    *(("latents", value) for value in ("x", [1], np.zeros((1, 1, 28, 28), np.float32))),
    *(("guidance_scale", value) for value in (1e308, -1e30, 10**5000, "2")),
    *(("weak_denoiser", value) for value in ("unet-mnist", 5)),
    *(("callback_on_step_end", value) for value in (5, "x")),
    *(("callback_on_step_end_tensor_inputs", value) for value in (5, "latents", [None])),
    *(("guidance", value) for value in (["cfg"], 5)),
    ("eta", 10**5000),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name} {i}" for i, (name, _) in enumerate(WRONG)])
def test_an_argument_of_another_kind_is_named(pipeline, name, value):
    with pytest.raises(ValueError, match=f"^{name}: got "):
        draw(pipeline, [3], **{name: value})


@pytest.mark.parametrize("steps", [1_001, 10**7, 10**5000], ids=range(3))
def test_no_scheduler_takes_more_steps_than_it_has_levels(pipeline, steps):
    """UniPC made NaN of 1,001 steps, and was busy for minutes with 10 million."""
    pipe = type(pipeline)(pipeline.denoiser, diffusers.UniPCMultistepScheduler())
    with pytest.raises(ValueError, match="num_inference_steps: got .*, expected at most num_train_timesteps = 1000"):
        pipe(3, num_inference_steps=steps)


# --- callbacks of diffusers --------------------------------------------------------------------------------------


class Halve(PipelineCallback):
    """A user's own, as diffusers' guide shows."""

    tensor_inputs = ["latents", "model_output"]

    def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):
        assert callback_kwargs["model_output"].shape == callback_kwargs["latents"].shape
        return {**callback_kwargs, "latents": callback_kwargs["latents"] / 2}


def test_callbacks_of_diffusers_name_their_tensors_themselves(pipeline):
    """Catches a callback that is called without the tensors of its `tensor_inputs`."""

    def halve(pipe, i, t, tensors):
        return {"latents": tensors["latents"] / 2}

    expected = draw(pipeline, callback_on_step_end=halve)
    assert torch.equal(draw(pipeline, callback_on_step_end=Halve()), expected)
    several = draw(pipeline, callback_on_step_end=MultiPipelineCallbacks([Halve(), Halve()]))
    assert several.isfinite().all() and not torch.equal(several, expected)


@pytest.mark.parametrize("cutoff", [SDCFGCutoffCallback, SDXLCFGCutoffCallback])
def test_cutoffs_of_diffusers_are_refused_by_what_to_use(pipeline, cutoff):
    """Their 0.0 means off, and here unconditional: catches images that are of no class from there on."""
    for callback in (cutoff(cutoff_step_ratio=0.4), MultiPipelineCallbacks([cutoff(cutoff_step_ratio=0.4)])):
        with pytest.raises(ValueError, match=r"pass guidance_interval=\(0.0, 0.4\)"):
            draw(pipeline, callback_on_step_end=callback)


def test_a_callback_may_look_at_what_a_step_was_made_of(pipeline):
    """The two predictions that guidance combines; catches an order that is exchanged, and one that is kept from an
    earlier step where guidance is off."""
    seen = []
    names = ["model_input", "cond_output", "weak_output", "model_output"]

    def look(pipe, i, t, tensors):
        seen.append(tensors)

    arguments = {"callback_on_step_end": look, "callback_on_step_end_tensor_inputs": names}
    draw(pipeline, guidance_scale=3.0, guidance_interval=(0.0, 0.5), **arguments)
    guided = seen[0]["weak_output"] + 3.0 * (seen[0]["cond_output"] - seen[0]["weak_output"])
    assert torch.allclose(guided, seen[0]["model_output"], atol=1e-5)
    assert seen[2]["weak_output"] is None and torch.equal(seen[2]["cond_output"], seen[2]["model_output"])
    assert seen[0]["model_input"].shape == (2, 1, 28, 28)


# --- prompts -----------------------------------------------------------------------------------------------------


def test_encoded_prompts_give_the_images_of_the_prompts(tokenizer):
    """As diffusers' `test_encode_prompt_works_in_isolation`; catches a reading that a call does and this does not."""
    pipe = make_text_pipeline(tokenizer)
    for digit_guidance in (False, True):
        pipe.register_to_config(digit_guidance=digit_guidance)
        embeds, mask, negative, negative_mask = pipe.encode_prompt(["a thin VII", "굵은 칠"])
        by_embeddings = pipe(
            prompt_embeds=embeds,
            prompt_attention_mask=mask,
            negative_prompt_embeds=negative,
            negative_prompt_attention_mask=negative_mask,
            generator=0,
            **FAST,
        ).images
        assert torch.allclose(by_embeddings, pipe(["a thin VII", "굵은 칠"], generator=0, **FAST).images, atol=1e-5)
    assert pipe.encode_prompt("7", do_classifier_free_guidance=False)[2:] == (None, None)
    assert len(pipe.encode_prompt("305", num_images_per_prompt=2)[0]) == 6


def test_public_steps_put_together_are_the_call(pipeline):
    """`check_inputs`, `encode_conditions`, `prepare_latents`, `denoise` and `decode_latents`, as the call uses them."""
    from text2digit.pipelines.options import make_generators

    options = pipeline.check_inputs(num_inference_steps=3)
    conditions = pipeline.encode_conditions(["three", 7])
    generators = make_generators(0, len(conditions))
    latents = pipeline.denoise(pipeline.prepare_latents(2, generators), conditions, options, generators)
    assert torch.equal(pipeline.decode_latents(latents, "pt"), draw(pipeline))
    assert pipeline.conditioner.inputs_for_classes([1, 2]) == [1, 2] and pipeline.conditioner.class_names[3] == "three"
