"""Options of a run.

Every option is a key of a recipe (`section: {key: value}`) and a setting of the command line (`section.key=value`, in
YAML); some have a flag. The command line wins over the recipe, and the recipe over the default.

A run that is resumed keeps its options. Those marked `auto` may differ at any time, those marked `extend` with
`--resume extend`.

`config.py` declares the options, and `python -m text2digit.config > configs/README.md` makes the reference page.
"""

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from .options import Option, Section, as_section, check_known, option, options_of, parse_yaml, reference
from .shell import whole

RECIPE_FOLDER = Path(__file__).resolve().parent / "configs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """Which images."""

    dataset: Literal[
        "mnist",
        "fashion-mnist",
        "kmnist",
        "qmnist",
        "emnist-letters",
        "emnist-balanced",
        "usps",
        "svhn",
        "cifar10",
        "digits",
        "folder",
    ] = option(
        "mnist",
        "a dataset, or a folder of images (`data/folder.py`)",
        flag=True,
        also=(r"[\w.-]+/[\w.-]+|.+\.parquet", "a Hub id such as user/name, or a .parquet file"),
    )
    data_dir: str | None = option(
        None, "folder of the data; null is TEXT2DIGIT_DATA or else the user's cache", flag=True, resume="auto"
    )
    image_size: int | None = option(
        None,
        "side that images are brought to; null is their own, the most frequent",
        at_least=1,
        unit="pixels",
        flag=True,
    )
    channels: Literal[1, 3] | None = option(None, "1 is grey, 3 is colour; null is that of the images", flag=True)
    fit: Literal["pad", "crop", "stretch"] = option("pad", "how images of another shape are brought to a square")
    background: Literal["auto", "white", "black"] = option("auto", "ground under transparent pixels and around images")
    test_every: int = option(
        6,
        "set every n-th image of each class aside for evaluation, where a dataset has no test split",
        at_least=2,
        off=0,
        flag=True,
    )
    validation_every: int = option(30, "hold out every n-th training image of each class", at_least=2, off=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """Which denoiser. All other keys of this section are arguments of its class, which checks them."""

    type: Literal["UNet", "DiT"] = option(
        "UNet", "the denoiser's class; without --config it also chooses the recipe", flag="--model-type"
    )
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig(Section):
    """Captions in place of classes."""

    captions: bool = option(False, "condition on captions of the images; false conditions on their classes")
    encoder: str | None = option(
        None, "a frozen text encoder of transformers; null trains a small CLIPTextModel", flag="--text-encoder"
    )
    width: int = option(128, "width of the encoder that is trained; a multiple of heads", at_least=1)
    layers: int = option(2, "layers of the encoder that is trained", at_least=1)
    heads: int = option(4, "attention heads of the encoder that is trained", at_least=1)
    vocab_size: int = option(1024, "of its tokenizer: bytes, 3 marks, merges", at_least=259, unit="tokens")
    max_length: int = option(32, "a prompt is cut to this length", at_least=4, unit="tokens")
    digit_guidance: bool = option(False, "saved: guidance sharpens the digit and not the style", resume="auto")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SchedulerConfig(Section):
    """The forward process and what the denoiser predicts: arguments of `DDIMScheduler`, which is saved with it.

    For rectified flow set `beta_schedule: flow` and `prediction_type: flow_prediction`.

    `clip_sample` is off, against diffusers' default. DDIM clips x_0 but keeps the noise of the unclipped x_0. Under
    guidance that drives samples off the digits, the more the more steps (CHANGELOG, 0.1.0).
    """

    num_train_timesteps: int = option(1000, "noise levels", at_least=1, at_most=100_000)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "exponential", "flow"] = option(
        "squaredcos_cap_v2", "how the noise grows"
    )
    beta_start: float = option(0.0001, "first beta, where the schedule has one", over=0, below=1)
    beta_end: float = option(0.02, "last beta, where the schedule has one", over=0, below=1)
    prediction_type: Literal["epsilon", "sample", "v_prediction", "flow_prediction"] = option(
        "v_prediction", "what the denoiser predicts"
    )
    timestep_spacing: Literal["leading", "trailing", "linspace", "beta", "quadratic", "exponential", "log_snr"] = (
        option("trailing", "which timesteps samplers visit")
    )
    rescale_betas_zero_snr: bool = option(True, "end in pure noise")
    clip_sample: bool = option(False, "clip the predicted x_0 to [-1, 1] at each step of sampling")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Section):
    """Which noise levels training sees, and how much an error counts at each.

    `training/weighting.py` and `training/timesteps.py` have the formulas.
    """

    weighting: Literal["uniform", "min_snr", "truncated_snr", "edm", "sigmoid"] = option("uniform", "of errors")
    min_snr_gamma: float = option(5.0, "largest weight of min_snr", over=0)
    sigma_data: float = option(0.5, "spread of the data in edm", over=0)
    sigmoid_bias: float = option(2.0, "shift of sigmoid")
    timesteps: Literal["uniform", "stratified", "logit_normal", "cosine"] = option("uniform", "how they are drawn")
    logit_mean: float = option(0.0, "mean of logit_normal; larger is noisier")
    logit_std: float = option(1.0, "standard deviation of logit_normal", over=0)
    uniform_share: float = option(0.0, "of logit_normal and cosine, drawn uniformly instead", at_least=0, at_most=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig(Section):
    """How weights move."""

    optimizer: Literal["adamw", "muon"] = option(
        "adamw", "muon is for the matrices and filters of the blocks, with AdamW for the rest", flag=True
    )
    lr: float = option(1e-3, "peak learning rate", over=0, flag=True)
    warmup_steps: int = option(200, "linear rise of the learning rate from zero", at_least=0, unit="steps")
    decay: Literal["cosine", "linear", "constant"] = option("cosine", "fall of the learning rate after that")
    weight_decay: float = option(0.01, "of matrices and convolutions; other weights have none", at_least=0)
    betas: tuple[float, float] = option((0.9, 0.99), "of AdamW", at_least=0, below=1)
    max_grad_norm: float = option(1.0, "gradients are scaled down to this norm", over=0)
    ema: Literal["exponential", "power"] = option(
        "exponential", "average of the weights; power makes any length after training (`training/posthoc.py`)"
    )
    ema_decay: float = option(0.999, "of the exponential average", at_least=0, below=1)
    ema_sigma_rels: tuple[float, float] = option(
        (0.05, 0.1), "different relative widths of the power averages; the first is saved", over=0, below=0.28
    )
    ema_snapshot_steps: int = option(500, "steps between snapshots of the power averages", at_least=1, off=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.ema_sigma_rels)) < 2:
            raise ValueError(f"optim.ema_sigma_rels: got {self.ema_sigma_rels}, expected two different widths.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(Section):
    """How long, and what is written when.

    What happens every `…_steps` happens at the last step too. `validation_steps` measures the average of the weights:
    the held-out loss and, for MNIST, the quality of `quality_images` samples.
    """

    epochs: int = option(10, "passes over the data", at_least=1, flag=True, resume="extend")
    max_train_steps: int | None = option(
        None, "length of the run; null is what epochs make", at_least=1, unit="steps", flag=True, resume="extend"
    )
    batch_size: int = option(
        128, "images per step, a multiple of processes times accumulation steps", at_least=1, unit="images", flag=True
    )
    gradient_accumulation_steps: int = option(
        1, "parts of a batch, computed one after the other to save memory", at_least=1, flag=True, resume="auto"
    )
    label_dropout: float = option(0.1, "probability that a label becomes the null class", at_least=0, at_most=1)
    seed: int = option(0, "of weights, order and noise", at_least=0, at_most=2**63 - 1, flag=True)
    pretrained_model_name_or_path: str | None = option(
        None, "a saved pipeline whose denoiser the run starts from; null starts from fresh weights", flag=True
    )
    output_dir: str | None = option(None, "folder of the run; null is runs/TYPE-DATASET", flag=True, resume="auto")
    checkpointing_steps: int = option(
        1000, "steps between checkpoints; the end has one anyway", at_least=1, off=0, flag=True, resume="auto"
    )
    checkpoints_total_limit: int | None = option(
        2, "newest whole checkpoints that are kept; null keeps all", at_least=1, flag=True, resume="auto"
    )
    preview_steps: int = option(1000, "steps between sample grids and loss curves", at_least=1, off=0, resume="auto")
    validation_steps: int = option(
        500, "steps between measurements; best-STEP is the best", at_least=1, off=0, flag=True, resume="auto"
    )
    quality_images: int = option(
        500, "images drawn at each measurement; off leaves the loss", at_least=20, off=0, resume="auto"
    )
    logging_steps: int = option(20, "steps between lines of history", at_least=1, off=0, resume="auto")
    report_to: str = option(
        "tensorboard", "none, or a tracker of accelerate, such as tensorboard or wandb", flag=True, resume="auto"
    )
    on_nonfinite: Literal["stop", "skip"] = option("stop", "at a loss or gradient that is not finite", resume="auto")
    resume: str = option(
        "auto", "auto, extend, never, or a checkpoint's folder (`training/README.md`)", flag=True, resume="auto"
    )
    mixed_precision: Literal["no", "fp16", "bf16"] | None = option(None, "null is the launcher's, or no", flag=True)
    allow_tf32: bool = option(False, "let CUDA multiply float32 matrices in TensorFloat-32", flag=True)
    compile: Literal["off", "on"] = option(
        "off", "torch.compile of the model", flag=True, resume="auto", formerly={"auto": "off"}
    )
    channels_last: bool = option(False, "keep images and convolutions in this memory format", resume="auto")
    num_inference_steps: int = option(10, "of previews; saved as the pipeline's default", at_least=1, resume="auto")
    guidance_scale: float = option(2.0, "of previews; saved as the pipeline's default", at_least=0, resume="auto")
    guidance_interval: tuple[float, float] = option(
        (0.0, 1.0), "start and end of guidance, as parts of the steps; saved", at_least=0, at_most=1, resume="auto"
    )
    sampler: str = option("ddim", "of previews; saved (short names of `pipelines/samplers.py`)", resume="auto")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.guidance_interval[0] > self.guidance_interval[1]:
            raise ValueError(f"training.guidance_interval: got {self.guidance_interval}, expected start <= end.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole training run."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    text: TextConfig = TextConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    optim: OptimConfig = OptimConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self) -> None:
        if self.text.encoder and not self.text.captions:
            raise ValueError(
                f"text.encoder: got {self.text.encoder!r} for a run on classes; add text.captions=true, or take "
                "--config text."
            )


SECTIONS: dict[str, type[Section]] = typing.get_type_hints(RunConfig)
OPTIONS: dict[str, Option] = {each.key: each for section in SECTIONS.values() for each in options_of(section)}


def load_config(recipe: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a recipe.

    Args:
        recipe: path of a YAML file, or the name of one that ships ("unet" or "unet.yaml").
        overrides: changes as "section.key=value", the value in YAML; later ones win.

    Raises:
        ValueError: an unknown recipe, section or key (the nearest known one is named), or a value of the wrong kind.
    """
    path = _find_recipe(recipe)
    try:
        tree = as_section(str(path), parse_yaml(path.read_text(encoding="utf-8-sig"), str(path)))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no UTF-8 text: {error}.") from error
    tree = {section: as_section(section, values) for section, values in tree.items()}
    for override in overrides:
        name, equals, text = override.partition("=")
        section, dot, key = name.partition(".")
        if not (equals and dot):
            raise ValueError(f"override: got {override!r}, expected section.key=value, such as training.epochs=3.")
        is_text = name in OPTIONS and OPTIONS[name].is_text and text not in ("", "null")
        tree.setdefault(section, {})[key] = text if is_text else parse_yaml(text, name)
    return config_from_dict(tree)


def config_from_dict(tree: Mapping[str, Any]) -> RunConfig:
    """Build a run from nested mappings; raises as `load_config`."""
    built: dict[str, Any] = {}
    for section, content in tree.items():
        check_known(section, SECTIONS)
        values = as_section(section, content)
        if section == "model":
            values = {"type": values.pop("type", ModelConfig.type), "options": values}
        else:
            for key in values:
                check_known(f"{section}.{key}", OPTIONS)
        built[section] = SECTIONS[section](**values)
    return RunConfig(**built)


def config_to_dict(config: RunConfig) -> dict[str, Any]:
    """The inverse of `config_from_dict`, in plain types."""
    tree = dataclasses.asdict(config)
    tree["model"] = {"type": config.model.type, **config.model.options}
    return {s: {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()} for s, values in tree.items()}


def run_folder(config: RunConfig) -> Path:
    """Where a run lives."""
    kind = "text" if config.text.captions else config.model.type.lower()
    return Path(config.training.output_dir or f"runs/{kind}-{Path(config.data.dataset).stem}")


def save_config(config: RunConfig, path: Path) -> None:
    """Write YAML that `load_config` reads back to an equal run; the file is the old one or the new one, never half."""
    with whole(path) as aside:
        aside.write_text(yaml.safe_dump(config_to_dict(config), sort_keys=False), encoding="utf-8")


def _find_recipe(recipe: str | Path) -> Path:
    for path in (Path(recipe), RECIPE_FOLDER / Path(recipe).name, RECIPE_FOLDER / f"{recipe}.yaml"):
        if path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in RECIPE_FOLDER.glob("*.yaml")))
    raise ValueError(f"config: got {str(recipe)!r}, which is neither a file nor a recipe that ships: {names}.")


if __name__ == "__main__":
    print(reference(str(__doc__), SECTIONS.values()))
