"""Folders that others made: our own classes come out of them, their code and pickles do not run."""

import json
import pickle

import pytest
import torch

from text2digit import ClassConditionedDigitPipeline, DDIMScheduler, DigitPipeline, DigitUNet2DModel
from text2digit.pipelines.allowed import OWN_CLASSES, TRANSFORMERS_CLASSES, allowed_index

from .helpers import draw

TRAP = "from pathlib import Path\nPath({!r}).write_text('ran')\n"


@pytest.fixture
def saved(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change_index(folder, **changes):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("trust", [{}, {"trust_remote_code": True}])
def test_code_files_give_our_own_classes_and_never_run(pipeline, saved, tmp_path, trust):
    """The layout for people without the package; catches a loader that runs it, or is refused because it is there."""
    pipeline.set_progress_bar_config(disable=True)
    trap = TRAP.format(str(tmp_path / "trap"))
    for name in ("pipeline.py", "denoiser/unet_digit.py", "scheduler/scheduling_ddim_digit.py"):
        (saved / name).write_text(trap)
    change_index(
        saved,
        _class_name=["pipeline", "ClassConditionedDigitPipeline"],
        denoiser=["unet_digit", "DigitUNet2DModel"],
        scheduler=["scheduling_ddim_digit", "DDIMScheduler"],
    )
    loaded = DigitPipeline.from_pretrained(saved, **trust)
    assert type(loaded) is ClassConditionedDigitPipeline
    assert type(loaded.denoiser) is DigitUNet2DModel and type(loaded.scheduler) is DDIMScheduler
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(draw(loaded), draw(pipeline))
    loaded.save_pretrained(tmp_path / "again")  # load, save, load again
    assert torch.equal(draw(DigitPipeline.from_pretrained(tmp_path / "again")), draw(pipeline))
    assert not (tmp_path / "trap").exists()


def test_a_file_named_like_our_module_does_not_run(saved, tmp_path):
    """diffusers looks beside the weights for MODULE.py before it looks among modules."""
    (saved / "denoiser" / "text2digit.models.unet.py").write_text(TRAP.format(str(tmp_path / "trap")))
    with pytest.raises(ValueError, match="custom code"):
        DigitPipeline.from_pretrained(saved, trust_remote_code=True)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    "entry",
    [
        ["os", "system"],
        ["builtins", "eval"],
        ["diffusers", "StableDiffusionPipeline"],
        ["diffusers", "UNet2DModel"],
        ["transformers", "AutoModel"],
        ["transformers", "LlamaForCausalLM"],
        ["text2digit.training.run", "Run"],
        ["my_code", "MyDenoiser"],
    ],
)
def test_a_class_outside_the_list_is_refused(saved, entry):
    change_index(saved, denoiser=entry)
    with pytest.raises(
        ValueError, match=rf"denoiser is a {entry[0]}.{entry[1]}, expected DigitUNet2DModel, .*CLIPText"
    ):
        DigitPipeline.from_pretrained(saved)


def test_what_is_on_the_list_passes_as_it_is():
    entries = {f"part_{i}": ["transformers", name] for i, name in enumerate(TRANSFORMERS_CLASSES)}
    entries |= {"scheduler": ["diffusers", "EulerDiscreteScheduler"], "vae": [None, None], "id2label": None}
    assert allowed_index(entries) == entries
    for name, own in OWN_CLASSES.items():
        assert allowed_index({"part": ["anything", name]}) == {"part": [own.__module__, name]}


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", "a/b", "..", ""])
def test_a_component_that_is_a_path_is_refused(saved, name):
    change_index(saved, **{name: ["diffusers", "DDIMScheduler"]})
    with pytest.raises(ValueError, match="got a component named .*, expected a plain name"):
        DigitPipeline.from_pretrained(saved)


@pytest.mark.parametrize(
    "shard", ["../../secret.safetensors", "/etc/passwd", "sub/x.safetensors", "weights.bin", "..\\x"]
)
def test_an_index_of_weights_stays_in_its_folder(saved, shard):
    """diffusers joins these names to the folder and opens what comes out."""
    folder = saved / "denoiser"
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": {"conv_in.weight": shard}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="expected a safetensors file beside it"):
        DigitPipeline.from_pretrained(saved)


def test_sharded_weights_load(pipeline, saved, tmp_path):
    pipeline.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    assert len(list((tmp_path / "shards" / "denoiser").glob("*.safetensors"))) > 1
    loaded = DigitPipeline.from_pretrained(tmp_path / "shards")
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(draw(loaded), draw(pipeline))


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("arguments", [{}, {"use_safetensors": False}, {"use_safetensors": None}])
def test_pickles_are_never_opened(saved, tmp_path, arguments):
    """Not even where there is nothing else, or where they are asked for."""
    weights = saved / "denoiser" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.with_suffix(".bin").write_bytes(pickle.dumps(Trap(str(tmp_path / "trap"))))
    with pytest.raises((ValueError, OSError), match="safetensors"):
        DigitPipeline.from_pretrained(saved, **arguments)
    assert not (tmp_path / "trap").exists()


def test_pickles_are_not_written(pipeline, tmp_path):
    with pytest.raises(ValueError, match="safe_serialization: got False"):
        pipeline.save_pretrained(tmp_path / "x", False)
    assert not (tmp_path / "x").exists()


def test_custom_pipelines_are_refused(saved):
    with pytest.raises(ValueError, match="custom_pipeline: got 'user/other', but DigitPipeline runs no code"):
        DigitPipeline.from_pretrained(saved, custom_pipeline="user/other")
