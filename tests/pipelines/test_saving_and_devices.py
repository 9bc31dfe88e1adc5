"""Saving, loading, converting, dtypes, offloading, pictures."""

import json
import subprocess
import sys

import diffusers
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from text2digit import ClassConditionedDigitPipeline, DDIMScheduler, DigitPipeline
from text2digit.pipelines.images import image_grid, to_uint8
from text2digit.pipelines.loading import find_pipeline_folder

from ..conftest import TINY, randomize
from .helpers import draw

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
    patterns = ["*.json", "*.jsonl", "*.txt", "*.yaml", "*.safetensors"]
    assert asked == {"name": "user/digits", "revision": "v1", "allow_patterns": patterns}


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
