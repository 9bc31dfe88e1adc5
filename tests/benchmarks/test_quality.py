"""The benchmark of quality: every variant may spend the same, and the page says what was measured."""

import json

import pytest

from text2digit.benchmarks import five_minutes, quality
from text2digit.config import load_config

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


def test_the_page_is_the_result():
    """Catches a table edited by hand, and a result of a variant that is no longer what it was called."""
    results = json.loads(quality.RESULTS.read_text(encoding="utf-8"))["results"]
    assert quality.MARKS[0] + quality.table(results) + quality.MARKS[1] in PAGE
    for each in results:
        config, _ = quality.recipe(each["variant"], each["seed"], ROOT)
        assert each["steps"] == config.training.max_train_steps, each["variant"]


def test_the_plain_recipe_is_as_large_and_trains_longer():
    """Catches a comparison that the baseline lost by its size."""
    ours = load_config("five-minutes")
    plain = load_config("unet", five_minutes.PLAIN)
    assert plain.training.batch_size * (plain.training.max_train_steps or 0) >= 1.2 * 290 * 400
    assert list(ours.model.options["block_out_channels"]) == list(plain.model.options["block_out_channels"])
