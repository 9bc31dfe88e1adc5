"""Recipes in, checked runs out."""

import pytest

from text2digit import config as declarations
from text2digit.config import (
    OPTIONS,
    RECIPE_FOLDER,
    SECTIONS,
    DataConfig,
    RunConfig,
    config_from_dict,
    config_to_dict,
    load_config,
    save_config,
)
from text2digit.data import SOURCES
from text2digit.models import MODEL_TYPES, build_model
from text2digit.options import reference
from text2digit.schedulers.noise import MOST_TIMESTEPS, NOISE_SCHEDULES
from text2digit.schedulers.prediction import PREDICTION_TYPES
from text2digit.schedulers.spacing import TIMESTEP_SPACINGS

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
        ("training.epoch=3", "training.epoch: unknown. Did you mean training.epochs\\? Known: epochs, max"),
        ("trainin.epochs=3", "trainin: unknown. Did you mean training\\? Known: data, model"),
        ("training.lr=3", "training.lr: unknown. Did you mean optim.lr\\?"),
        ("training.epochs=many", "training.epochs: got 'many', expected a whole number, 1 or more"),
        ("training.epochs=2.5", "training.epochs: got 2.5, expected a whole number"),
        ("training.epochs=true", "training.epochs: got True, expected a whole number"),
        ("training.epochs=0", "training.epochs: got 0, expected a whole number, 1 or more"),
        ("training.seed=12345678901234567890123", "training.seed: got 1234.*, expected a whole number, 0 or more and"),
        ("training.guidance_scale=.nan", "training.guidance_scale: got nan, expected a finite number, 0 or more"),
        ("optim.lr=inf", "optim.lr: got 'inf', expected a finite number, more than 0"),
        ("optim.lr=1" + "0" * 400, "optim.lr: got 10+, expected a finite number"),
        ("optim.betas={0.1: 1, 0.2: 2}", "optim.betas: got {.*}, expected a list of 2 finite numbers, each 0"),
        ("optim.betas=[0.9, 1]", r"optim.betas: got \[0.9, 1\], expected a list of 2 .* less than 1"),
        ("objective.logit_std=-1", "objective.logit_std: got -1, expected a finite number, more than 0"),
        ("scheduler.num_train_timesteps=0", "scheduler.num_train_timesteps: got 0, expected a whole number, 1 or"),
        ("text.vocab_size=0", "text.vocab_size: got 0, expected a whole number of tokens, 259 or more"),
        ("data.channels=2", "data.channels: got 2, expected one of 1, 3"),
        ("optim.lr=2026-99-99", "optim.lr: is no YAML: month must be in 1..12"),
        ("optim.ema_sigma_rels=[0.1, 0.1]", "optim.ema_sigma_rels: got .*, expected two different widths"),
        ("training.max_train_steps=-1", "training.max_train_steps: got -1"),
        (
            "objective.uniform_share=-0.1",
            "objective.uniform_share: got -0.1, expected a finite number, 0 or more and at most 1",
        ),
        (
            "training.label_dropout=1.5",
            "training.label_dropout: got 1.5, expected a finite number, 0 or more and at most 1",
        ),
        ("optim.lr=fast", "optim.lr: got 'fast', expected a finite number"),
        ("optim.lr=0", "optim.lr: got 0, expected a finite number, more than 0"),
        (
            "training.quality_images=7",
            "training.quality_images: got 7, expected a whole number, 20 or more, or 0 to switch it off",
        ),
        ("optim.ema_decay=1", "optim.ema_decay: got 1, expected a finite number, 0 or more and less than 1"),
        ("optim.betas=[0.9]", r"optim.betas: got \[0.9\]"),
        ("scheduler.clip_sample=1", "scheduler.clip_sample: got 1, expected true or false"),
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


# --- declarations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", OPTIONS)
def test_every_option_says_all_that_it_takes(key):
    """A default that its own range accepts, help, and a bound, choice or type that refuses something.

    Would catch a field that is declared without a range: a number must refuse at least NaN and text.
    """
    option = OPTIONS[key]
    assert option.read(option.default) == option.default and option.help
    assert option.choices or option.base in (str, bool, int, float) or option.base == tuple[float, float]
    if option.base in (int, float):
        assert any(bound is not None for bound in (option.at_least, option.over)) or key.startswith("objective.")
        for value in (float("nan"), float("inf"), "many", [1], True):
            with pytest.raises(ValueError, match=f"{key}: got .*, expected "):
                option.read(value)


@pytest.mark.parametrize(
    "key, values",
    {
        "data.dataset": [*SOURCES, "folder"],
        "model.type": MODEL_TYPES,
        "scheduler.beta_schedule": NOISE_SCHEDULES,
        "scheduler.prediction_type": PREDICTION_TYPES,
        "scheduler.timestep_spacing": TIMESTEP_SPACINGS,
    }.items(),
)
def test_choices_are_those_of_the_layers_above(key, values):
    """Would catch a sampler's spacing or a dataset that is added and cannot be chosen."""
    assert set(OPTIONS[key].choices) == set(values)
    assert OPTIONS["scheduler.num_train_timesteps"].at_most == MOST_TIMESTEPS


def test_sections_check_themselves_however_they_are_made():
    """Would catch a range that is checked for YAML alone."""
    with pytest.raises(ValueError, match="data.dataset: got 'minst', expected one of mnist"):
        DataConfig(dataset="minst")


def test_the_reference_page_is_the_code_s():
    """Would catch a page that was not made again: python -m text2digit.config > configs/README.md."""
    assert (RECIPE_FOLDER / "README.md").read_text(encoding="utf-8") == reference(
        declarations.__doc__, SECTIONS.values()
    ) + "\n"


def test_a_config_of_an_earlier_version_still_loads():
    """0.1.0 saved `compile: auto`, which meant off. Would catch a run of 0.1.0 that cannot be continued."""
    assert load_config("unet", ["training.compile=auto"]).training.compile == "off"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"training: 5", "training: got 5, expected keys with values"),
        (b"[1]", r"recipe.yaml: got \[1\], expected keys with values"),
        (b"training: {1: 2}", "training.1: unknown"),
        (b"7: {a: 1}", "7: unknown"),
        (b"\xff\xfe", "recipe.yaml: is no UTF-8 text"),
        (b"training: {epochs: " + b"[" * 5000, "recipe.yaml: is no YAML"),
        (b"training: !!python/object:os.system {}", "recipe.yaml: is no YAML"),
    ],
)
def test_broken_recipes_are_named(tmp_path, content, message):
    """Would catch a TypeError or RecursionError in place of an answer."""
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_config(tmp_path / "recipe.yaml")


def test_empty_sections_and_a_byte_order_mark_are_no_mistakes(tmp_path):
    """Would catch a recipe that Notepad saved, and one whose section is commented out."""
    (tmp_path / "recipe.yaml").write_text("\ufefftraining:\n", encoding="utf-8")
    assert load_config(tmp_path / "recipe.yaml", ["training.epochs=3"]).training.epochs == 3
