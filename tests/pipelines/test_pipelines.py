"""What diffusers asks of every pipeline, and what this one promises beyond."""

import json
import subprocess
import sys

import diffusers
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from text2digit import ClassConditionedDigitPipeline, DDIMScheduler, DDPMScheduler, DigitPipeline
from text2digit.pipelines.guidance import classifier_free_guidance
from text2digit.pipelines.images import image_grid, to_uint8
from text2digit.pipelines.loading import find_pipeline_folder

from ..conftest import TINY, randomize

SCHEDULERS = (
    *("DDIM", "DDPM", "DPMSolverMultistep", "UniPCMultistep"),
    *("EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "PNDM", "LMSDiscrete"),
)
FAST = {"num_inference_steps": 3, "output_type": "pt"}


def draw(pipeline, labels=(3, 7), **arguments):
    return pipeline(list(labels), **{**FAST, "generator": 0, **arguments}).images


class Spy:
    """Counts the forwards of a denoiser and the images in them."""

    def __init__(self, pipeline):
        self.batches = []
        pipeline.denoiser.register_forward_pre_hook(lambda module, args: self.batches.append(len(args[0])))


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


# --- saving, loading, converting -------------------------------------------------------------------------------------

LOAD_AND_DRAW = """
import sys, torch
from text2digit import DigitPipeline
pipe = DigitPipeline.from_pretrained(sys.argv[1])
pipe.set_progress_bar_config(disable=True)
torch.save(pipe([3, 7], num_inference_steps=3, generator=0, output_type="pt").images, sys.argv[2])
print(type(pipe).__name__, type(pipe.denoiser).__module__, type(pipe.scheduler).__module__)
"""


@pytest.mark.parametrize("model_type", list(TINY))
def test_loads_in_a_fresh_process_away_from_the_checkout(model_type, tmp_path):
    """diffusers finds classes of other packages only if they are imported already; catches a pipeline that does not."""
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing")
    pipe = ClassConditionedDigitPipeline(randomize(TINY[model_type]()), scheduler)
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(tmp_path / "model")
    command = [sys.executable, "-c", LOAD_AND_DRAW, str(tmp_path / "model"), str(tmp_path / "images.pt")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    module = {"UNet": "unet", "DiT": "dit"}[model_type]
    assert result.stdout.split() == [
        "ClassConditionedDigitPipeline",
        f"text2digit.models.{module}",
        "text2digit.schedulers.scheduling_ddim",
    ]
    assert torch.allclose(torch.load(tmp_path / "images.pt", weights_only=True), draw(pipe), atol=1e-5)
    assert not list(tmp_path.rglob("*.bin"))


def test_save_load_save_is_stable(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "a")
    DigitPipeline.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    for path in (tmp_path / "a").rglob("*.*"):
        twin = tmp_path / "b" / path.relative_to(tmp_path / "a")
        if path.suffix == ".json":
            a, b = ({**json.loads(p.read_text()), "_name_or_path": ""} for p in (path, twin))
            assert a == b, path
        else:
            assert path.read_bytes() == twin.read_bytes(), path
    assert DigitPipeline.from_pretrained(tmp_path / "b").get_label_ids("three") == [3]


def test_variants_and_dtypes(pipeline, tmp_path):
    expected = draw(pipeline)
    pipeline.to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    loaded = DigitPipeline.from_pretrained(tmp_path, variant="fp16", torch_dtype=torch.float16)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.denoiser.dtype == torch.float16
    images = draw(loaded)
    assert images.dtype == torch.float32  # the sampler's arithmetic, whatever the model's
    assert (images - expected).abs().mean() < 0.02
    with pytest.raises(ValueError, match="variant=bf16"):
        DigitPipeline.from_pretrained(tmp_path, variant="bf16")


def test_components_may_be_replaced_on_loading(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    scheduler = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config)
    assert DigitPipeline.from_pretrained(tmp_path, scheduler=scheduler).scheduler is scheduler


def test_a_subclass_may_be_asked_for_by_name(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    assert type(ClassConditionedDigitPipeline.from_pretrained(tmp_path)) is ClassConditionedDigitPipeline

    class Special(ClassConditionedDigitPipeline):
        pass

    assert type(Special.from_pretrained(tmp_path)) is Special

    class Other(DigitPipeline):
        pass

    with pytest.raises(ValueError, match="is a ClassConditionedDigitPipeline, not a Other"):
        Other.from_pretrained(tmp_path)


def test_dtypes_per_component(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    dtypes = {"denoiser": torch.bfloat16, "default": torch.float32}
    assert DigitPipeline.from_pretrained(tmp_path, torch_dtype=dtypes).denoiser.dtype == torch.bfloat16


def test_from_pipe_shares_the_weights(pipeline):
    twin = ClassConditionedDigitPipeline.from_pipe(pipeline)
    assert twin.denoiser is pipeline.denoiser and twin.config.id2label == pipeline.config.id2label
    assert set(twin.components) == {"denoiser", "scheduler", "vae"}


def test_unknown_models_say_what_there_is(pipeline, tmp_path):
    with pytest.raises(ValueError, match="no such folder and no such shipped weights.*Hub"):
        DigitPipeline.from_pretrained("no-such-model")
    with pytest.raises(FileNotFoundError, match="runs/none: no such folder, and the Hub does not give it"):
        DigitPipeline.from_pretrained("runs/none")  # tests run with HF_HUB_OFFLINE
    with pytest.raises(ValueError, match="holds no model_index.json"):
        DigitPipeline.from_pretrained(tmp_path)
    pipeline.save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    index.write_text(index.read_text().replace("ClassConditionedDigitPipeline", "OtherPipeline"))
    with pytest.raises(ValueError, match="is a OtherPipeline, expected one of ClassConditionedDigitPipeline"):
        DigitPipeline.from_pretrained(tmp_path)


def test_a_hub_name_is_looked_for_on_the_hub(monkeypatch, tmp_path):
    """Only what a pipeline is made of is asked for, and the Hub's own arguments get there."""
    asked = {}
    monkeypatch.setattr(
        "text2digit.pipelines.loading.snapshot_download", lambda name, **k: asked.update(name=name, **k) or tmp_path
    )
    assert find_pipeline_folder("user/digits", {"revision": "v1"}) == tmp_path
    assert asked == {"name": "user/digits", "revision": "v1", "allow_patterns": ["*.json", "*.txt", "*.safetensors"]}


# --- devices ---------------------------------------------------------------------------------------------------------


def test_no_float64_reaches_the_denoiser(pipeline):
    """mps has none. Euler's timesteps are real numbers; catches one that travels as float64."""
    pipeline.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    dtypes = set()
    pipeline.denoiser.register_forward_pre_hook(
        lambda module, args, kwargs: dtypes.update(x.dtype for x in [*args, *kwargs.values()] if torch.is_tensor(x)),
        with_kwargs=True,
    )
    draw(pipeline)
    assert torch.float64 not in dtypes and torch.float32 in dtypes


def test_model_cpu_offload_hooks_run(pipeline):
    expected = draw(pipeline)
    pipeline.enable_model_cpu_offload(device="cpu")
    assert torch.allclose(draw(pipeline), expected, atol=1e-6)
    assert torch.allclose(draw(pipeline), expected, atol=1e-6)  # the hooks were freed and set again
    pipeline.remove_all_hooks()


def test_group_offload_of_a_pipeline(pipeline):
    expected = draw(pipeline)
    pipeline.enable_group_offload(onload_device=torch.device("cpu"), offload_type="leaf_level")
    assert torch.allclose(draw(pipeline), expected, atol=1e-6)


def test_layerwise_casting_of_a_pipeline(pipeline):
    """Weights in 8 bits, arithmetic in bfloat16, as in diffusers' test_layerwise_casting_inference."""
    expected = draw(pipeline)
    pipeline.to(torch.bfloat16)
    pipeline.denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    assert (draw(pipeline) - expected).abs().mean() < 0.1


def test_a_compiled_denoiser_draws_and_saves_the_same(pipeline, tmp_path):
    """Catches `_orig_mod` in what is saved."""
    expected = draw(pipeline)
    pipeline.denoiser = torch.compile(pipeline.denoiser, backend="eager", fullgraph=True)
    assert torch.allclose(draw(pipeline), expected, atol=1e-5)
    pipeline.save_pretrained(tmp_path)
    loaded = DigitPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert torch.allclose(draw(loaded), expected, atol=1e-5)


def test_a_vae_decodes():
    """The optional component: 3-channel images from 4-channel latents of half the size."""
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )
    model = randomize(TINY["UNet"](sample_size=8, in_channels=4, out_channels=4))
    pipe = ClassConditionedDigitPipeline(model, DDIMScheduler(), vae)
    pipe.set_progress_bar_config(disable=True)
    assert draw(pipe).shape == (2, 3, 16, 16)
    assert draw(pipe, output_type="latent").shape == (2, 4, 8, 8)


# --- pictures --------------------------------------------------------------------------------------------------------


def test_grid_has_a_row_per_class():
    images = torch.zeros(6, 1, 8, 8)
    images[4] = 1.0  # second row, second column
    grid = np.asarray(image_grid(images, columns=3, scale=1))
    assert grid.shape == (2 * 9 + 1, 3 * 9 + 1) and grid.dtype == np.uint8
    assert (grid[10:18, 10:18] == 255).all() and (grid == 255).sum() == 64


def test_uint8_rounds():
    assert to_uint8(torch.tensor([0.0, 0.499 / 255, 0.501 / 255, 1.0, 2.0]).reshape(1, 1, 1, 5)).tolist() == [
        [[0, 0, 1, 255, 255]]
    ]
