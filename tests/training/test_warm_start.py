"""A run that starts from a saved pipeline: as what it was without a class, and only where its weights have a place."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from text2digit.config import load_config
from text2digit.models.text import TextDenoiser, build_text_encoder
from text2digit.training import prepare_run, train
from text2digit.training.warm_start import start_from

from ..conftest import TINY, randomize
from .conftest import TINY_RUN, cut_at

NAME = "training.pretrained_model_name_or_path"


@pytest.fixture
def folder(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "source")
    return str(tmp_path / "source")


def test_a_model_of_words_starts_as_the_model_of_classes_without_a_class(pipeline, folder, tokenizer):
    """Catches a table of classes that is left out with its null row, and the row of another class in its place."""
    denoiser = TINY["UNet"](num_classes=None, cross_attention_dim=16)
    encoder = build_text_encoder(tokenizer, width=16, layers=1, heads=2)
    words = {name: p.clone() for name, p in encoder.named_parameters()}
    start_from(TextDenoiser(denoiser, encoder), folder)
    assert all(torch.equal(p, words[name]) for name, p in encoder.named_parameters())
    sample, timestep = torch.randn(3, 1, 28, 28), torch.tensor([5, 400, 999])
    with torch.no_grad():  # silence what is fresh and not zero: the way of a text's gist
        denoiser.condition_embedding.text_in.weight.zero_()
        denoiser.condition_embedding.text_in.bias.zero_()
        found = denoiser.eval()(sample, timestep, encoder_hidden_states=torch.randn(3, 4, 16)).sample
        expected = pipeline.denoiser(sample, timestep).sample
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_model_of_classes_keeps_them(pipeline, folder):
    model = TINY["UNet"]()
    start_from(model, folder)
    for name, weight in pipeline.denoiser.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: TINY["UNet"](block_out_channels=(16, 48)),
            r"a model of block_out_channels=\[16,32\] \(here \[16,48\]\).* Pass model.block_out_channels=\[16,32\]",
        ),
        (lambda: TINY["UNet"](num_classes=7), r"of num_classes=10 \(here 7\).* num_classes follow from the data"),
        (lambda: TINY["DiT"](), "expected a pipeline whose denoiser is a DigitDiT2DModel: it is a DigitUNet2DModel"),
    ],
    ids=["other widths", "other classes", "other type"],
)
def test_weights_without_a_place_are_refused(model, message, folder):
    """Catches a start from half of the weights, which nobody would notice."""
    fresh = randomize(model())
    before = {name: weight.clone() for name, weight in fresh.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        start_from(fresh, folder)
    assert all(torch.equal(weight, before[name]) for name, weight in fresh.state_dict().items())


@pytest.mark.parametrize("weight", ["conv_in.weight", "condition_embedding.time_out.bias"])
@pytest.mark.parametrize("change", ["missing", "left over"])
def test_only_layers_for_words_stay_fresh(folder, weight, change):
    """A file without a weight, or with one too many: diffusers warns. Would catch a start from most of the weights."""
    path = Path(folder, "denoiser", "diffusion_pytorch_model.safetensors")
    weights = load_file(path)
    weights[f"{weight}_more"] = weights[weight].clone()
    if change == "missing":
        weights.pop(f"{weight}_more"), weights.pop(weight)
    save_file(weights, path, metadata={"format": "pt"})
    for model in (TINY["UNet"](), TINY["UNet"](num_classes=None, cross_attention_dim=16)):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(ValueError, match=f"does not fit .*config.json: .*{weight}"):
            start_from(model, folder)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_fresh_weights_are_named(folder):
    """Would catch a start that does not say what it did not have."""
    assert start_from(TINY["UNet"](), folder) == []
    fresh = start_from(TINY["UNet"](num_classes=None, cross_attention_dim=16), folder)
    assert "condition_embedding.text_in.weight" in fresh
    assert {re.search("text_in|cross_attention|cross_norm", name)[0] for name in fresh} == {
        "text_in",
        "cross_attention",
        "cross_norm",
    }


def test_a_layer_that_nobody_expected_is_refused(folder):
    """Would catch `strict=False`, by which a layer that a later version adds would stay fresh without a word."""
    model = TINY["UNet"]()
    model.register_parameter("gate", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(ValueError, match="do not share the weights gate"):
        start_from(model, folder)


@pytest.mark.parametrize("content", ["[]", "{}", "5", "null", '{"_class_name": ["DigitUNet2DModel"]}', "{"])
def test_a_damaged_config_is_named(folder, content):
    Path(folder, "denoiser", "config.json").write_text(content)
    with pytest.raises(ValueError, match=rf"{NAME}: got .*config.json: (names no class|is no JSON)"):
        start_from(TINY["UNet"](), folder)


def test_a_config_outside_of_the_folder_is_not_opened(folder, tmp_path):
    config = Path(folder, "denoiser", "config.json")
    config.rename(tmp_path / "elsewhere.json")
    config.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ValueError, match="config.json: is a link to"):
        start_from(TINY["UNet"](), folder)


def test_a_resumed_run_goes_on_and_does_not_start_again(tmp_path, pipeline):
    """Catches a checkpoint that the weights which the run began with overwrite; and averages that began fresh."""
    sizes = {"sample_size": 8, "block_out_channels": (8, 16), "attention_head_dim": 8, "class_channels": None}
    source = randomize(TINY["UNet"](**sizes))
    type(pipeline)(source, pipeline.scheduler).save_pretrained(tmp_path / "source")
    whole, cut = (
        load_config("unet", [*TINY_RUN, f"training.output_dir={tmp_path / name}", f"{NAME}={tmp_path / 'source'}"])
        for name in ("whole", "cut")
    )
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="cut off"):
        cut_at(7, patch)
        train(prepare_run(cut))
    ends = []
    for config in (whole, cut):
        run = prepare_run(config)
        kept = run.average.state()["conv_in.weight"].clone()
        assert torch.equal(kept, source.state_dict()["conv_in.weight"]) == (config is whole)
        train(run)
        ends.append(torch.cat([p.detach().flatten() for p in run.model.parameters()]))
    assert torch.equal(*ends)


def test_weights_outside_of_the_folder_are_refused(folder):
    """Catches a start that opens files which a pipeline's own loading refuses."""
    index = {"metadata": {}, "weight_map": {"conv_in.weight": "../../elsewhere.safetensors"}}
    path = Path(folder) / "denoiser" / "diffusion_pytorch_model.safetensors.index.json"
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="expected a safetensors file beside it"):
        start_from(TINY["UNet"](), folder)


def test_a_pipeline_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no-such: no such folder and no such shipped weights"):
        start_from(TINY["UNet"](), "no-such")
