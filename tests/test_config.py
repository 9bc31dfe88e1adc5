"""Recipes in, checked runs out."""

import pytest

from text2digit.config import (
    RECIPE_FOLDER,
    DataConfig,
    RunConfig,
    config_from_dict,
    config_to_dict,
    load_config,
    save_config,
)
from text2digit.models import build_model

RECIPES = sorted(path.stem for path in RECIPE_FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_load_and_build(name):
    config = load_config(name)
    build_model(config.model.type, config.model.options)
    head = (RECIPE_FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert head[0].startswith("# ") and "minutes" in "".join(line for line in head if line.startswith("#"))


def test_overrides_win_in_order():
    config = load_config("unet", ["training.epochs=2", "optim.lr=1e-4", "training.epochs=3", "model.dropout=0.1"])
    assert (config.training.epochs, config.optim.lr, config.model.options["dropout"]) == (3, 1e-4, 0.1)
    assert load_config("unet", ["data.data_dir=null", "optim.betas=[0.8, 0.9]"]).optim.betas == (0.8, 0.9)


def test_no_is_a_word_and_false_is_not():
    """YAML 1.1 reads `no` as false; catches a mixed_precision that cannot be switched off."""
    config = load_config("unet", ["training.mixed_precision=no", "scheduler.clip_sample=false"])
    assert config.training.mixed_precision == "no" and config.scheduler.clip_sample is False


def test_saved_configs_read_back_equal(tmp_path):
    config = load_config("unet", ["model.block_out_channels=[16, 32]", "training.max_train_steps=7"])
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    assert config_from_dict(config_to_dict(RunConfig())) == RunConfig()


@pytest.mark.parametrize(
    "override, message",
    [
        ("training.epoch=3", "epoch: unknown key of training. Did you mean 'epochs'"),
        ("trainin.epochs=3", "trainin: unknown section. Did you mean 'training'"),
        ("training.epochs=many", "training.epochs: got 'many', expected int"),
        ("training.epochs=2.5", "training.epochs: got 2.5, expected int"),
        ("training.epochs=true", "training.epochs: got True, expected int"),
        ("training.epochs=0", "training.epochs: got 0, expected 1 or more"),
        ("training.max_train_steps=-1", "training.max_train_steps: got -1"),
        ("objective.uniform_share=-0.1", "objective.uniform_share: got -0.1, expected a probability"),
        ("training.label_dropout=1.5", "training.label_dropout: got 1.5, expected a probability"),
        ("optim.lr=fast", "optim.lr: got 'fast', expected float"),
        ("optim.lr=0", "optim.lr: got 0.0, expected more than 0"),
        ("training.quality_images=7", "training.quality_images: got 7, expected 0 for none, or 20 or more"),
        ("optim.ema_decay=1", "optim.ema_decay: got 1.0"),
        ("optim.betas=[0.9]", r"optim.betas: got \[0.9\]"),
        ("scheduler.clip_sample=1", "scheduler.clip_sample: got 1, expected bool"),
        ("optim.betas=[0.9", "optim.betas: is no YAML"),
        ("epochs=3", "got 'epochs=3', expected section.key=value"),
    ],
)
def test_mistakes_say_what_was_expected(override, message):
    with pytest.raises(ValueError, match=message):
        load_config("unet", [override])


def test_unknown_recipes_list_the_recipes():
    with pytest.raises(ValueError, match=f"neither a file nor a recipe that ships: {', '.join(RECIPES)}"):
        load_config("no-such-recipe")


def test_configs_are_frozen():
    with pytest.raises(AttributeError):
        DataConfig().dataset = "other"
