"""Whether words are obeyed: the figures on drawn and on real digits, and the command on a pipeline of texts."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from text2digit import cli
from text2digit.config import DataConfig
from text2digit.data import load_dataset
from text2digit.data.captions import LEVELS, is_held_out
from text2digit.data.prompts import read_prompt
from text2digit.evaluation import prompts
from text2digit.evaluation.prompts import RealStrokes, measure_prompts, rank_correlation

from ..conftest import make_text_pipeline


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def real():
    return RealStrokes(load_dataset(DataConfig(dataset="digits")))


def test_places_are_within_the_class(real):
    """Catches places among all digits: a 1 would be narrow whatever it looks like."""
    values = real.measured["width"]
    places = real.places("width", values, real.labels)
    for digit in range(10):
        own = places[real.labels == digit]
        assert own.mean() == pytest.approx(0.5, abs=0.01) and own.min() < 0.05 and own.max() > 0.95
    assert real.places("width", np.array([-1.0, 1e6]), np.array([3, 3])).tolist() == [0, 1]


def test_real_digits_follow_their_captions_as_far_as_levels_can(real):
    captions = real.captions("thickness")
    assert {level for _, level in captions} == set(LEVELS)
    assert 0.85 < real.correlation("thickness", captions, 10) < 0.99
    assert all(level in (-1, 1) for _, level in real.captions("loops"))


def test_rank_correlation_by_hand():
    assert rank_correlation(np.array([-1, 0, 1]), np.array([5.0, 6.0, 70.0])) == 1
    assert rank_correlation(np.array([-1, 0, 1]), np.array([3.0, 2.0, 1.0])) == -1
    assert rank_correlation(np.array([1, 1]), np.array([3.0, 2.0])) == 0  # not a number otherwise


def test_captions_of_an_evaluation_say_what_real_digits_are(real):
    """Each names the digit that is asked for; catches levels of another class, the seed's being of no use, and captions
    that leave the digit open, as some of training do."""
    labels = torch.arange(10).repeat_interleave(20)
    texts = real.texts_for(labels, 0)
    readings = [read_prompt(text) for text in texts]
    assert [reading.digits for reading in readings] == [(label,) for label in labels.tolist()]
    assert texts == real.texts_for(labels, 0) != real.texts_for(labels, 1)
    mentioned = sum("thickness" in reading.properties for reading in readings)
    assert 20 < mentioned < 180  # some say it and some do not, as in training


def test_a_pipeline_that_obeys_and_one_that_does_not(real, judge, monkeypatch):
    """Draws real digits by what the prompt says of their level, or whatever; catches figures of another asked level."""
    data = judge.training

    def obey(pipeline, texts, seeds, settings):
        chosen = []
        for text, seed in zip(texts, seeds, strict=False):
            (digit,), words = read_prompt(text).digits, text.split()
            fits = real.labels == digit
            for name, low, high in (
                ("thickness", "thin", "thick"),
                ("slant", "left", "right"),
                ("width", "narrow", "wide"),
            ):
                if name in read_prompt(text).properties and text.isascii():
                    side = 1 if high in words else -1 if low in words else 0
                    fits &= np.sign(real.levels[name]) == side * (1 if pipeline == "good" else -1)
            options = np.flatnonzero(fits) if fits.any() else np.flatnonzero(real.labels == digit)
            chosen.append(options[seed % len(options)])
        return data.images[torch.tensor(chosen)]

    monkeypatch.setattr(prompts, "_sample", obey)
    good, bad = (measure_prompts(kind, judge, RealStrokes(data), 500, range(10_000)) for kind in ("good", "bad"))
    assert good["held_out"]["accuracy"] > 0.9 and good["held_out"]["n"] == 100
    assert good["properties"]["thickness"]["correlation"] > 0.7 > 0 > bad["properties"]["thickness"]["correlation"]
    assert good["properties"]["slant"]["correlation"] > 0.7 and good["properties"]["slant"]["real"] > 0.85
    assert set(good["held_out"]["accuracy_by_language"]) == {"en", "ko"}
    assert good["by_guidance"] == [] and 0.5 < good["held_out"]["real_accuracy"] <= 1


def test_real_digits_of_the_held_out_combinations_are_found(real):
    """Catches a sign turned around, and the combination of another digit."""
    levels = [{name: values[i] for name, values in real.levels.items()} for i in range(len(real.labels))]
    expected = [is_held_out(label, own) for label, own in zip(real.labels.tolist(), levels, strict=True)]
    assert real.in_held_out_corner().tolist() == expected and 0 < sum(expected) < len(expected) / 8


def test_the_command_measures_words_too(classifier_folder, tokenizer, tmp_path, capsys):
    make_text_pipeline(tokenizer, sample_size=8).save_pretrained(tmp_path / "model")
    flags = ["--dataset", "digits", "--classifier", str(classifier_folder), "--out", str(tmp_path / "out")]
    flags += ["--sweep-guidance", "2", "3.5"]
    assert cli.main(["evaluate", "--model", str(tmp_path / "model"), "--num", "40", "--steps", "1", *flags]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert (
        report["settings"]["prompts"] == "captions of training digits"
        and len(report["settings"]["text_encoder_sha256"]) == 64
    )
    by_captions, by_numerals = (report["sets"][str(tmp_path / "model") + kind] for kind in ("", ", numerals alone"))
    assert by_captions["mean"] != by_numerals["mean"] and by_captions["n"] == by_numerals["n"] == 40
    assert set(report["prompts"]["held_out"]["correlation"]) == {"thickness", "slant", "width"}
    assert [each["guidance_scale"] for each in report["prompts"]["by_guidance"]] == [2, 3.5]
    assert {"thickness", "slant", "width", "size", "ink"} <= set(report["prompts"]["properties"])
    output = capsys.readouterr().out
    assert "Combinations of thickness, slant and width that no caption had" in output and "| slant |" in output
    assert "At guidance scale 3.5:" in output
    assert Image.open(tmp_path / "out" / "sweeps.png").width > 15 * 8
