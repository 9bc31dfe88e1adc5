"""The benchmark: peers of the same size, arithmetic by hand, and a page that says what was measured."""

import json
import time

import pytest

from text2digit.benchmarks import speed
from text2digit.evaluation.page import marked

from ..conftest import ROOT

NEWEST = sorted((ROOT / "benchmarks" / "results").glob("speed-*.json"))[-1]


@pytest.mark.parametrize("ours, theirs", [list(speed.SYSTEMS)[:2], list(speed.SYSTEMS)[2:]])
def test_peers_are_of_the_same_size(ours, theirs):
    sizes = [sum(p.numel() for p in speed.SYSTEMS[name]().parameters()) for name in (ours, theirs)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_the_page_is_the_newest_result():
    """Catches a table edited by hand, and a result that nobody is told of."""
    report = json.loads(NEWEST.read_text(encoding="utf-8"))
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert marked("speed", speed.table(report)) in page
    assert list(report["systems"]) == list(speed.SYSTEMS)
    assert report["machine"]["commit"] and report["rounds"] >= 3


def test_the_share_of_the_peak_by_hand():
    """A round's figures belong together: three forward passes' operations for each image of training."""
    report = json.loads(NEWEST.read_text(encoding="utf-8"))
    for figures in report["systems"].values():
        f = {key: value["median"] for key, value in figures.items()}
        share = 3 * f["mflop"] * 1e6 * f["train"] / (f["matmul_gflops"] * 1e9)
        assert f["share"] == pytest.approx(share, rel=0.3)  # medians over rounds, each by itself


def test_a_small_system_is_measured_whole(monkeypatch):
    monkeypatch.setattr(speed, "TRAIN_BATCH", 2)
    monkeypatch.setattr(speed, "seconds_per_call", lambda call, *_: (call(), 0.5)[1])
    from ..conftest import TINY

    monkeypatch.setitem(speed.SYSTEMS, "DigitDiT2DModel", lambda: TINY["DiT"]())
    figures = speed.measure("DigitDiT2DModel")
    assert (figures["train"], figures["sample_1"], figures["sample_100"]) == (4, 0.2, 20)
    peak = figures["matmul_gflops"] * 1e9
    assert figures["share"] == pytest.approx(3 * figures["mflop"] * 1e6 * 4 / peak)
    assert set(speed.FIGURES) <= set(figures) and figures["memory_gib"] > 0
    assert figures["loop"] > -1 and figures["pipeline"] > -1


def test_what_a_call_adds_to_the_work_inside_it():
    """Catches a share of the whole in place of the bare work, and a difference the wrong way round."""
    added = speed.cost_around(lambda: time.sleep(0.02), lambda: time.sleep(0.03), seconds=0.2)
    assert added == pytest.approx(0.5, abs=0.15)


def test_medians_and_cells():
    summary = speed.summarise(
        [
            {"train": 1.0, "pipeline_100": None},
            {"train": 9.0, "pipeline_100": None},
            {"train": 3.0, "pipeline_100": None},
        ]
    )
    assert summary == {"train": {"median": 3.0, "min": 1.0, "max": 9.0}}
    assert speed._cell("train", summary["train"]) == "3.0 (1.0 to 9.0)" and speed._cell("train", None) == "–"
