"""`text2digit evaluate`, whole: a tiny pipeline, real 8x8 digits, and what a mistake in the flags ends in."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from text2digit import cli
from text2digit.data import load_dataset
from text2digit.evaluation import SEED_STRIDE, measure
from text2digit.evaluation.classifier import pipeline_identity, weights_sha256
from text2digit.evaluation.judge import even_labels, evenly
from text2digit.evaluation.measure import draw
from text2digit.evaluation.report import FIGURES, summarise, sweep_table, table
from text2digit.pipelines import ClassConditionedDigitPipeline
from text2digit.pipelines.drawing import draw_images
from text2digit.schedulers import DDIMScheduler

from ..conftest import TINY, randomize
from .conftest import DIGITS


@pytest.fixture
def small():
    """A pipeline of 8x8 digits with random weights."""
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False)
    pipe = ClassConditionedDigitPipeline(randomize(TINY["DiT"](sample_size=8)), scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def evaluate(classifier_folder, tmp_path, monkeypatch):
    """The command, on 8x8 digits, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    common = ["--dataset", "digits", "--classifier", str(classifier_folder), "--out", str(tmp_path / "out")]
    return lambda *flags: cli.main(["evaluate", *common, *flags])


def read(tmp_path):
    return json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))


def test_a_model(evaluate, small, classifier_folder, tmp_path, capsys):
    """Everything that a figure is worthless without is in the report."""
    small.save_pretrained(tmp_path / "model")
    flags = ["--num", "40", "--seeds", "0", "1", "--steps", "2", "--guidance_scale", "1.5", "--scheduler", "ddpm"]
    flags += ["--guidance-interval", "0.5", "1"]
    sweeps = ["--sweep-steps", "1", "3", "--sweep-scheduler", "ddim", "dpm++", "--sweep_guidance", "1", "2", "4"]
    assert evaluate("--model", str(tmp_path / "model"), *flags, *sweeps) == 0
    report = read(tmp_path)
    assert report["settings"] == {
        "model": str(tmp_path / "model"),
        **pipeline_identity(tmp_path / "model"),
        "scheduler": "text2digit.DDPMScheduler",
        "timestep_spacing": "trailing",
        "steps": 2,
        "guidance_scale": 1.5,
        "guidance_interval": [0.5, 1.0],
        "seeds": [0, 1],
    }
    assert report["classifier_sha256"] == weights_sha256(classifier_folder)
    drawn = report["sets"][str(tmp_path / "model")]
    assert drawn["n"] == 40 and len(drawn["per_seed"]) == 2 and set(drawn["mean"]) == set(FIGURES)
    assert drawn["per_seed"][0] != drawn["per_seed"][1] and drawn["spread"]["frechet_distance"] > 0
    assert set(report["sets"]) == {str(tmp_path / "model"), "real, held out", "real, test"}
    by_steps = [(entry["scheduler"], entry["steps"]) for entry in report["sweeps"]["steps"]]
    ours, other = "text2digit.DDIMScheduler", "diffusers.DPMSolverMultistepScheduler"
    assert by_steps == [(ours, 1), (ours, 3), (other, 1), (other, 3)]
    assert report["sweeps"]["steps"][1] != {**report["sweeps"]["steps"][3], "scheduler": ours}  # it was really used
    assert [entry["guidance_scale"] for entry in report["sweeps"]["guidance_scale"]] == [1, 2, 4]
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert all(sweep_table(name, entries) in page for name, entries in report["sweeps"].items())
    assert np.sum(report["confusion"]) == 40
    pictures = {"confusion.png", "nearest.png", "samples.png", "worst.png"}
    sweeps = {"quality-guidance_scale.png", "quality-steps.png"}
    others = {"report.json", "report.md", "samples.npz"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == pictures | sweeps | others
    # The digits of the first seed score the same from their file.
    (tmp_path / "out" / "samples.npz").rename(tmp_path / "samples.npz")
    assert evaluate("--samples", str(tmp_path / "samples.npz")) == 0
    assert read(tmp_path)["sets"]["samples.npz"]["per_seed"][0] == drawn["per_seed"][0]
    assert "| Fréchet distance | lower | " in capsys.readouterr().out


def test_samples_of_the_sample_verb_and_the_accuracy_score(evaluate, small, tmp_path, monkeypatch, capsys):
    """The two verbs fit together, and a classifier trained on noise knows nothing of digits."""
    monkeypatch.setattr(measure, "EPOCHS", 25)
    small.save_pretrained(tmp_path / "model")
    file = str(tmp_path / "digits.npz")
    assert cli.main(["sample", "--model", str(tmp_path / "model"), "--steps", "2", "--num", "20", "-o", file]) == 0
    assert evaluate("--samples", file, "--accuracy-score") == 0
    report = read(tmp_path)
    assert report["settings"]["samples"] == "digits.npz" and report["sets"]["digits.npz"]["n"] == 200
    score = report["accuracy_score"]
    assert score["train_images"] == score["real_train_images"] == 200
    assert score["drawn"] < 0.5 < 0.75 < score["real"]
    assert "Classification-accuracy score, on 296 real test digits" in capsys.readouterr().out


def test_real_samples_from_a_file_score_like_the_floor(evaluate, tmp_path):
    """A file of the test digits is the set "real, test"; catches settings that leak into a figure."""
    test = evenly(load_dataset(DIGITS, "test"), 200)
    np.savez(tmp_path / "real.npz", images=test.images[:, 0].numpy(), labels=test.labels.numpy())
    assert evaluate("--samples", str(tmp_path / "real.npz")) == 0
    sets = read(tmp_path)["sets"]
    assert sets["real.npz"]["mean"] == sets["real, test"]["mean"]


def test_real_alone(evaluate, tmp_path):
    assert evaluate("--real", "--num", "100") == 0
    assert {name: entry["n"] for name, entry in read(tmp_path)["sets"].items()} == {
        "real, held out": 100,
        "real, test": 100,
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.json", "report.md"]


def test_one_seed_is_one_image(small, monkeypatch):
    """Whatever the batch; and seeds do not run into each other, as SEED + i would."""
    labels = even_labels(7, 10).tolist()
    choice = {"steps": 2, "guidance_scale": 1.5, "guidance_interval": (0, 1)}
    whole = draw(small, labels, 1, **choice)
    monkeypatch.setattr(measure, "draw_images", partial(draw_images, batch_size=3))
    assert (draw(small, labels, 1, **choice).int() - whole.int()).abs().max() <= 1
    alone = small([4], num_inference_steps=2, guidance_scale=1.5, generator=SEED_STRIDE + 4, output_type="pt").images
    assert (whole[4].int() - (alone[0] * 255).round().int()).abs().max() <= 1
    assert not torch.equal(draw(small, labels[1:2], 0, **choice), draw(small, labels[1:2], 1, **choice))


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--real", "--num", "3"], "--num: got 3, expected 20 to 1000002"),
        (["--real", "--steps", "3"], "--steps: got a value without --model"),
        (["--real", "--seeds", "1"], "--seeds: got a value without --model"),
        (["--samples", "half.npz", "--num", "30"], "--num: got it with --samples"),
        (["--samples", "flat.npz"], "--samples: flat.npz is no .npz with images and labels"),
        (["--real", "--accuracy-score"], "--accuracy-score: got it with --real"),
        (["--model", "nothing"], "no such folder and no such shipped weights"),
        (["--model", "M", "--seeds", "1", "1"], "--seeds: got [1, 1], expected different numbers"),
        (["--model", "M", "--sweep-scheduler", "unipc"], "without --sweep-steps"),
        (["--model", "M", "--sweep-steps", "4", "0"], "--sweep-steps: got 0, expected 1 or more"),
        (["--model", "M", "--sweep-steps", "2", "5000"], "5000"),
        (["--model", "M", "--guidance-scale", "nan"], "--guidance-scale: got nan, expected a finite number"),
        (["--model", "M", "--scheduler", "ddmi"], "--scheduler: invalid choice: 'ddmi'"),
        (["--samples", "nothing.npz"], "--samples: no file nothing.npz"),
        (["--samples", "text.npz"], "--samples: text.npz is no .npz with images and labels"),
        (["--samples", "half.npz"], "--samples: half.npz is no .npz with images and labels"),
        (["--real", "--dataset", "mnits"], "data.dataset: got 'mnits'"),
        (["--real", "--classifier", "nowhere"], "nowhere: no config.json"),
        (["--real", "--out", "text.npz"], "--out: got text.npz, which is a file, expected a folder"),
    ],
)
def test_mistakes_end_before_anything_is_written(evaluate, small, tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    small.save_pretrained("M")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "half.npz", images=np.zeros((20, 8, 8), np.uint8))
    np.savez(tmp_path / "flat.npz", images=np.zeros(20, np.uint8), labels=np.zeros(20, np.int64))
    assert evaluate(*flags) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_model_of_other_images(evaluate, pipeline, tmp_path, capsys):
    """28x28 against a reference of 8x8: refused at the first image."""
    pipeline.save_pretrained(tmp_path / "model")
    assert evaluate("--model", str(tmp_path / "model"), "--num", "2000") == 2
    assert "images: got (1, 1, 28, 28) torch.uint8, expected (N, 1, 8, 8)" in capsys.readouterr().err


def test_mean_and_spread():
    """The spread is that of a sample; one seed has none, rather than 0."""
    summary = summarise([{"accuracy": 0.5}, {"accuracy": 0.7}])
    assert summary["mean"]["accuracy"] == pytest.approx(0.6)
    assert summary["spread"]["accuracy"] == pytest.approx(0.02**0.5)
    assert summarise([{"accuracy": 0.5}])["spread"]["accuracy"] is None
    text = table({"a": {"n": 1000, **summary}})
    assert "| a (n = 1,000) |" in text and "| accuracy of the asked class | higher | 60.00% ± 14.14% |" in text
    assert "| recall, k = 3 | higher | – |" in text


def test_a_sweep_as_a_table():
    """Catches figures that slide into another scheduler's row, or another column, where one was not measured."""
    entries = [
        {"scheduler": "text2digit.DDIMScheduler", "steps": 10, "frechet_distance": 0.25, "accuracy": 0.975},
        {"scheduler": "diffusers.UniPCMultistepScheduler", "steps": 2, "frechet_distance": 1.5, "accuracy": 0.5},
        {"scheduler": "diffusers.UniPCMultistepScheduler", "steps": 10, "frechet_distance": 0.125, "accuracy": 1.0},
    ]
    assert sweep_table("steps", entries).splitlines() == [
        "| steps | 2 | 10 |",
        "|---|---|---|",
        "| DDIM | – | 0.2500 · 97.50% |",
        "| UniPCMultistep | 1.5000 · 50.00% | 0.1250 · 100.00% |",
    ]
