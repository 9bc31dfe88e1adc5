"""The classifier: what it gives, its recipe, and the weights that ship."""

import json
import shutil

import diffusers
import pytest
import torch

from text2digit.config import DataConfig
from text2digit.data import ImageData, counter_generator, load_dataset
from text2digit.evaluation.classifier import (
    CLASSIFIER_FOLDER,
    DigitClassifier,
    classify,
    load_classifier,
    weights_sha256,
)
from text2digit.evaluation.judge import split_training
from text2digit.evaluation.train_classifier import accuracy, main, random_affine, train_classifier

from ..conftest import needs_mnist


@pytest.mark.parametrize("channels, classes, side", [(1, 10, 28), (3, 100, 32), (1, 10, 8), (1, 4, 4)])
def test_any_size(channels, classes, side):
    model = DigitClassifier(channels, classes, (4, 8, 12)).eval()
    output = model(torch.zeros(5, channels, side, side))
    assert output.logits.shape == (5, classes) and output.features.shape == (5, 12)
    assert torch.equal(model.head(output.features), output.logits)  # the features are what the last layer sees
    assert torch.equal(model(torch.zeros(5, channels, side, side), return_dict=False)[0], output.logits)


def test_diffusers_loads_it(tmp_path):
    model = DigitClassifier(block_out_channels=(4, 8, 12)).eval()
    model.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    loaded = load_classifier(tmp_path)
    x_0 = torch.randn(2, 1, 28, 28)
    assert torch.equal(loaded(x_0).logits, model(x_0).logits) and not loaded.training
    assert isinstance(loaded, diffusers.ModelMixin) and DigitClassifier.__module__ == "text2digit.evaluation.classifier"


def test_classify_sees_what_training_sees():
    """Batches and bytes change nothing; catches another scale of the pixels."""
    model = DigitClassifier(block_out_channels=(4, 8, 12)).eval()
    images = torch.randint(0, 256, (503, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = ImageData(images, torch.zeros(503, dtype=torch.int64), tuple("0123456789"))
    with torch.no_grad():
        assert torch.allclose(classify(model, images).logits, model(data.x_0(torch.arange(503))).logits, atol=1e-5)


def test_affine_maps_are_small_and_by_seed():
    """A dot in the middle moves by two pixels and what stretching adds; the ground stays -1."""
    x_0 = torch.full((200, 1, 28, 28), -1.0)
    x_0[:, :, 13:15, 13:15] = 1
    maps = [random_affine(x_0, counter_generator(seed, "affine", 0)) for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])
    mass = (maps[0][:, 0] + 1) / (maps[0] + 1).sum(dim=(1, 2, 3))[:, None, None]
    places = torch.arange(28.0) - 13.5
    across, down = (mass.sum(dim=1) @ places, mass.sum(dim=2) @ places)
    for shift in (across, down):
        assert 1.5 < shift.abs().max() < 3 and abs(shift.mean()) < 0.4
    assert maps[0].min() == -1 and maps[0][:, :, 0].max() == -1


def test_the_recipe_learns_and_repeats():
    """Real 8x8 digits, a second; the seed decides, whatever torch's own generator is at."""
    data, held_out = split_training(load_dataset(DataConfig(dataset="digits")))
    first = train_classifier(data, epochs=1, progress=False)
    torch.rand(3)
    again, other = (train_classifier(data, epochs=1, seed=seed, progress=False) for seed in (0, 1))
    assert torch.equal(first.head.weight, again.head.weight) and not torch.equal(first.head.weight, other.head.weight)


def test_the_command_writes_the_model_and_its_record(tmp_path, capsys):
    assert main(["--dataset", "digits", "--epochs", "10", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["held_out_accuracy"] > 0.9 and record["test_accuracy"] > 0.9
    assert record["weights_sha256"] == weights_sha256(tmp_path)
    data, held_out = split_training(load_dataset(DataConfig(dataset="digits")))
    assert accuracy(load_classifier(tmp_path), held_out) == record["held_out_accuracy"]
    assert record["train_images"] == len(data) and record["held_out_images"] == len(held_out)
    assert main(["--dataset", "digit", "--out", str(tmp_path)]) == 2
    assert "data.dataset: got 'digit'" in capsys.readouterr().err


def test_a_folder_without_a_classifier(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config.json; pass a folder that python -m"):
        load_classifier(tmp_path)
    with pytest.raises(FileNotFoundError, match="no safetensors"):
        weights_sha256(tmp_path)


# The weights that ship


def test_the_card_tells_of_the_weights_that_ship():
    """Catches weights that were exchanged, and figures that were edited by hand."""
    card = (CLASSIFIER_FOLDER / "README.md").read_text(encoding="utf-8")
    record = json.loads((CLASSIFIER_FOLDER / "training.json").read_text(encoding="utf-8"))
    assert record["weights_sha256"] == weights_sha256(CLASSIFIER_FOLDER) and record["weights_sha256"] in card
    for name in ("held_out_accuracy", "test_accuracy"):
        assert f"{record[name]:.2%}".replace("%", " %") in card
    assert (CLASSIFIER_FOLDER / "diffusion_pytorch_model.safetensors").stat().st_size < 2e6


@needs_mnist
def test_the_weights_are_as_good_as_the_card_says():
    record = json.loads((CLASSIFIER_FOLDER / "training.json").read_text(encoding="utf-8"))
    found = accuracy(load_classifier(), load_dataset(DataConfig(), "test"))
    assert found == pytest.approx(record["test_accuracy"], abs=3e-4)  # kernels differ between machines
    assert found >= 0.996


def test_loading_is_strict(tmp_path):
    """Weights of another shape are an error, not random ones."""
    shutil.copytree(CLASSIFIER_FOLDER, tmp_path / "c")
    config = json.loads((tmp_path / "c" / "config.json").read_text())
    (tmp_path / "c" / "config.json").write_text(json.dumps({**config, "num_classes": 11}))
    with pytest.raises((ValueError, RuntimeError)):
        load_classifier(tmp_path / "c")
