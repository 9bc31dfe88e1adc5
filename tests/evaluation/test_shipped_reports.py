"""The cards of the weights that ship say what was measured of these weights, by the classifier that ships."""

import json

import pytest

from text2digit.evaluation.classifier import CLASSIFIER_FOLDER, pipeline_identity, weights_sha256
from text2digit.evaluation.report import sweep_table, table
from text2digit.pipelines.loading import SHIPPED_FOLDER, shipped_names

from ..conftest import ROOT


def short(figures):
    """A row of README's table, without its name."""
    quality = f"{figures['precision']:.3f} / {figures['recall']:.3f}"
    return f"{figures['frechet_distance']:.4f} | {figures['accuracy']:.2%} | {quality} |"


@pytest.mark.parametrize("name", shipped_names())
def test_the_card_holds_the_report_s_figures(name):
    """Catches a card edited by hand, and figures of weights or of a classifier that were since replaced.

    To measure anew: text2digit evaluate --model NAME --out pretrained/NAME/evaluation; its report.md has the table.
    """
    folder = SHIPPED_FOLDER / name
    if not (folder / "evaluation").is_dir():
        pytest.skip(f"{name} has not been measured, and its card says so")
    report = json.loads((folder / "evaluation" / "report.json").read_text(encoding="utf-8"))
    assert report["settings"]["model"] == name
    assert report["settings"].items() >= pipeline_identity(folder).items()
    assert report["classifier_sha256"] == weights_sha256(CLASSIFIER_FOLDER)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert table(report["sets"]) in card and report["sets"][name]["n"] == 10_000
    for page in ("README.md", "README.ko.md"):  # the row of drawn digits, and those of real ones
        text = (ROOT / page).read_text(encoding="utf-8")
        assert f"| `{name}` | {short(report['sets'][name]['mean'])}" in text
        assert all(short(entry["mean"]) in text for entry in report["sets"].values())


@pytest.mark.parametrize("name", ["dit-mnist", "unet-mnist"])
def test_the_card_holds_the_curve_over_steps(name):
    """Catches a curve of other weights or another guidance than what is saved with these, and missing points.

    To measure anew: text2digit evaluate --model NAME --num 2000 --sweep-steps 1 2 4 6 8 10 20 50 --sweep-scheduler ddim
    dpm++ unipc --out pretrained/NAME/evaluation/steps; report.json and quality-steps.png are kept.
    """
    folder = SHIPPED_FOLDER / name
    steps = folder / "evaluation" / "steps"
    report = json.loads((steps / "report.json").read_text(encoding="utf-8"))
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    assert report["settings"].items() >= pipeline_identity(folder).items()
    for setting in ("guidance_scale", "guidance_interval"):
        assert report["settings"][setting] == index[f"default_{setting}"]
    curve = report["sweeps"]["steps"]
    assert [entry["steps"] for entry in curve] == 3 * [1, 2, 4, 6, 8, 10, 20, 50]
    assert len({entry["scheduler"] for entry in curve}) == 3
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert sweep_table("steps", curve) in card
    assert "evaluation/steps/quality-steps.png" in card and (steps / "quality-steps.png").is_file()


def test_the_floor_is_of_the_classifier_that_ships():
    floor = json.loads((CLASSIFIER_FOLDER / "floor.json").read_text(encoding="utf-8"))
    assert floor["classifier_sha256"] == weights_sha256(CLASSIFIER_FOLDER)
    assert table(floor["sets"]) in (CLASSIFIER_FOLDER / "README.md").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for entry in floor["sets"].values():
        assert f"{entry['mean']['frechet_distance']:.4f}" in changes and f"{entry['n']:,}" in changes
