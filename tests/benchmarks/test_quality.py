"""The benchmark of quality: every variant may spend the same, and the page says what was measured."""

import json

import pytest

from text2digit.benchmarks import five_minutes, quality
from text2digit.config import load_config
from text2digit.evaluation.page import marked, write_table

from ..conftest import ROOT

PAGE = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("variant", quality.VARIANTS)
def test_all_variants_spend_the_same(variant, tmp_path):
    """Catches a variant that can't be built, and one that is given more compute than the others."""
    config, flops = quality.recipe(variant, 0, tmp_path)
    one_step = flops / config.training.max_train_steps
    budget = quality.TRAINING_FLOPS[config.model.type]
    assert budget - one_step < flops <= budget
    assert config.training.max_train_steps > 50
    # The base is written out where the recipe that it is made of has something of its own.
    assert config.objective.timesteps == quality.VARIANTS[variant].get("objective.timesteps", "uniform")
    for name in ("logit_mean", "uniform_share"):
        assert getattr(config.objective, name) == float(quality.VARIANTS[variant].get(f"objective.{name}", 0))


def test_the_page_is_the_result():
    """Catches a table edited by hand, and a result of a variant that is no longer what it was called."""
    results = json.loads(quality.STUDY.file.read_text(encoding="utf-8"))["results"]
    assert marked("quality", quality.table(results)) in PAGE
    for each in results:
        config, _ = quality.recipe(each["variant"], each["seed"], ROOT)
        assert each["steps"] == config.training.max_train_steps, each["variant"]


def test_five_minutes_are_as_the_page_says():
    """Catches a table edited by hand, and figures of another recipe than the preset's."""
    results = json.loads(five_minutes.STUDY.file.read_text(encoding="utf-8"))["results"]
    assert marked("five-minutes", five_minutes.table(results)) in PAGE
    ours = load_config("five-minutes").training
    for each in results:
        if each["system"] == "five-minutes":
            assert each["images"] == ours.batch_size * (ours.max_train_steps or 0)


def test_a_table_takes_the_place_of_another(tmp_path):
    """Catches text around a table that is lost, and a table that is lost on a page without its marks."""
    page = tmp_path / "page.md"
    page.write_text("before\n" + marked("a", "old\n") + "between\n" + marked("b", "kept\n") + "after\n")
    write_table("a", "new\n", page)
    assert page.read_text() == "before\n" + marked("a", "new\n") + "between\n" + marked("b", "kept\n") + "after\n"
    with pytest.raises(ValueError, match="<!-- c -->"):
        write_table("c", "lost\n", page)


def test_the_plain_recipe_is_as_large_and_trains_longer():
    """Catches a comparison that the baseline lost by its size."""
    ours = load_config("five-minutes")
    plain = load_config("unet", five_minutes.PLAIN)
    assert plain.training.batch_size * (plain.training.max_train_steps or 0) >= 1.2 * 290 * 400
    assert plain.objective.timesteps == plain.objective.weighting == "uniform"  # and not what the UNet's recipe has
    assert list(ours.model.options["block_out_channels"]) == list(plain.model.options["block_out_channels"])
