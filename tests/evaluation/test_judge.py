"""Which real digits measure, and whether the figures tell the failures of generative models apart."""

import pytest
import torch

from text2digit.config import DataConfig
from text2digit.data import load_dataset
from text2digit.evaluation import judge as judge_module
from text2digit.evaluation.judge import Judge, even_labels, evenly, split_training

from ..conftest import needs_mnist
from .conftest import DIGITS


def test_the_split_is_fixed_and_in_the_shares_of_the_classes():
    data = load_dataset(DIGITS)
    reference, held_out = split_training(data)
    assert len(reference) + len(held_out) == len(data)
    for label in range(10):
        assert int((held_out.labels == label).sum()) == int((data.labels == label).sum()) // 6
    together = torch.cat([reference.images, held_out.images]).flatten(1)
    assert torch.equal(together.double().sum(0), data.images.flatten(1).double().sum(0))


@needs_mnist
def test_the_numbers_that_readme_gives():
    reference, held_out = split_training(load_dataset(DataConfig()))
    assert (len(reference), len(held_out)) == (50_004, 9_996)
    assert len(evenly(held_out, 10_000)) == 9_808 and len(evenly(load_dataset(DataConfig(), "test"), 10_000)) == 9_786


def test_evenly():
    """Class by class in turn, and each image once."""
    data = load_dataset(DIGITS)
    chosen = evenly(data, 25)
    assert chosen.labels.tolist() == even_labels(25, 10).tolist()
    assert len(torch.unique(chosen.images.flatten(1), dim=0)) == 25
    everything = evenly(data, 100_000)
    assert torch.equal(torch.bincount(everything.labels), torch.bincount(data.labels))


def test_real_digits_score_as_real(judge):
    """The two sets of real digits that stand beside everything."""
    floors = judge.floors(270)
    assert {name: count for name, (count, _) in floors.items()} == {"train": 247, "test": 270}
    for _, scores in floors.values():
        assert scores.figures["accuracy"] > 0.9 and scores.figures["precision"] > 0.7
        assert scores.figures["diversity"] == pytest.approx(1, abs=0.35)  # an overfitted classifier
    test = floors["test"][1].figures
    assert test["nearest_ratio"] == pytest.approx(1, abs=0.05) and test["nearest_share"] < 0.03
    assert "nearest_ratio" not in floors["train"][1].figures  # they are training images themselves


def test_each_failure_shows_in_its_figure(judge):
    """Noise, copies, one mode and wrong classes; catches figures that were exchanged on their way out."""
    count, labels = 240, even_labels(240, 10)
    real = judge.score(evenly(judge.test, count).images, labels).figures
    noise = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = judge.score(noise, labels).figures
    assert found["frechet_distance"] > 5 * real["frechet_distance"] and found["kernel_distance"] > 0.01
    assert found["precision"] < 0.6 * real["precision"] and found["density"] < 0.6 * real["density"]
    assert found["accuracy"] < 0.3
    assert found["nearest_share"] == 0 and found["nearest_ratio"] > 2

    copies = judge.score(evenly(judge.training, count).images, labels)
    assert copies.figures["nearest_ratio"] == 0 and copies.figures["nearest_share"] == 1
    assert copies.figures["precision"] > 0.7 and torch.equal(
        judge.training.images[copies.nearest[0]], evenly(judge.training, count).images
    )

    modes = judge.score(evenly(judge.test, 10).images.repeat(count // 10, 1, 1, 1), labels).figures
    assert modes["diversity"] == pytest.approx(0, abs=1e-4)
    assert modes["recall"] < 0.1 < real["recall"] and modes["coverage"] < 0.6 * real["coverage"]

    exchanged = judge.score(evenly(judge.test, count).images, (labels + 1) % 10)
    assert exchanged.figures["accuracy"] < 0.1 and exchanged.confusion.diagonal().sum() < 24
    assert exchanged.figures["frechet_distance"] == pytest.approx(real["frechet_distance"])
    assert exchanged.confusion[1, 0] > 12  # asked for one, a zero was seen


def test_features_are_kept(classifier_folder, judge, tmp_path, monkeypatch):
    """The second judge computes none; catches a cache that serves other weights."""
    first = Judge(DIGITS, classifier_folder, tmp_path / "cache")
    assert torch.equal(first.features, judge.features)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".safetensors"]
    monkeypatch.setattr(judge_module, "classify", None)
    assert torch.equal(Judge(DIGITS, classifier_folder, tmp_path / "cache").features, judge.features)
    monkeypatch.setattr(judge_module, "weights_sha256", lambda folder: "other")
    with pytest.raises(TypeError):
        Judge(DIGITS, classifier_folder, tmp_path / "cache")


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (
            torch.zeros(20, 1, 9, 9, dtype=torch.uint8),
            even_labels(20, 10),
            r"got \(20, 1, 9, 9\) torch.uint8, expected",
        ),
        (torch.zeros(20, 1, 8, 8), even_labels(20, 10), r"float32, expected \(N, 1, 8, 8\) uint8"),
        (torch.zeros(20, 1, 8, 8, dtype=torch.uint8), even_labels(19, 10), r"labels: got \(19,\) torch.int64"),
        (torch.zeros(20, 1, 8, 8, dtype=torch.uint8), even_labels(20, 11), r"expected two or more of each of the 10"),
        (torch.zeros(20, 1, 8, 8, dtype=torch.uint8), even_labels(20, 5), r"got \[4, 4, 4, 4, 4, 0, 0, 0, 0, 0\]"),
    ],
)
def test_what_cannot_be_scored_says_why(judge, images, labels, message):
    with pytest.raises(ValueError, match=message):
        judge.score(images, labels)
