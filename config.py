"""A run, as frozen dataclasses: read from YAML, changed by dotted overrides, checked, and saved beside the weights."""

import dataclasses
import difflib
import operator
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

RECIPE_FOLDER = Path(__file__).resolve().parent / "configs"
# Fields that count something, with the least that each may be; None, where a field takes it, is left alone.
AT_LEAST = {
    "data.validation_every": 0,
    "text.width": 1,
    "text.layers": 1,
    "text.heads": 1,
    "text.max_length": 4,
    "optim.warmup_steps": 0,
    "optim.ema_snapshot_steps": 0,
    "training.epochs": 1,
    "training.max_train_steps": 1,
    "training.batch_size": 1,
    "training.gradient_accumulation_steps": 1,
    "training.checkpointing_steps": 0,
    "training.checkpoints_total_limit": 1,
    "training.preview_steps": 0,
    "training.validation_steps": 0,
    "training.quality_images": 0,
    "training.logging_steps": 0,
}
CHOICES = {
    "optim.optimizer": ("adamw", "muon"),
    "optim.decay": ("cosine", "linear", "constant"),
    "optim.ema": ("exponential", "power"),
    "training.mixed_precision": ("no", "fp16", "bf16"),
    "training.compile": ("auto", "on", "off"),
    "training.on_nonfinite": ("stop", "skip"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images.

    Args:
        dataset: "mnist", "fashion-mnist", "kmnist", "digits", or "folder" for a folder of images.
        data_dir: where the dataset lies or is downloaded to; None is TEXT2DIGIT_DATA or else the user's cache.
        image_size: side in pixels that images of a folder are brought to; None keeps theirs. Other datasets have one.
        channels: 1 or 3, for a folder; other datasets have 1.
        validation_every: every n-th training image of each class is held out for validation; 0 holds none out.
    """

    dataset: str = "mnist"
    data_dir: str | None = None
    image_size: int | None = None
    channels: int = 1
    validation_every: int = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which denoiser.

    Args:
        type: "UNet" or "DiT".
        options: constructor arguments of that class; sizes and class count follow from the data.
    """

    type: str = "UNet"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Words in place of classes.

    Args:
        captions: condition on captions of the images; false conditions on their classes.
        encoder: folder or Hub name of a text encoder of transformers, which is not trained; None trains a small
            `CLIPTextModel` with the denoiser.
        width, layers, heads: of the encoder that is trained.
        vocab_size: tokens of its tokenizer, at most.
        max_length: tokens that a prompt is cut to.
        digit_guidance: saved with the weights: guidance sharpens which digit it is, and not the style.
    """

    captions: bool = False
    encoder: str | None = None
    width: int = 128
    layers: int = 2
    heads: int = 4
    vocab_size: int = 1024
    max_length: int = 32
    digit_guidance: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """The forward process, and what the denoiser predicts; arguments of `DDIMScheduler`, which is saved with it.

    For rectified flow: beta_schedule=flow prediction_type=flow_prediction.

    `clip_sample` is off, against diffusers' default: DDIM clips x_0 but keeps the noise that went with the unclipped
    one, and under guidance that drives samples off the digits, the more the more steps (CHANGELOG, 0.1.0).
    """

    num_train_timesteps: int = 1000
    beta_schedule: str = "squaredcos_cap_v2"
    beta_start: float = 0.0001
    beta_end: float = 0.02
    prediction_type: str = "v_prediction"
    timestep_spacing: str = "trailing"
    rescale_betas_zero_snr: bool = True
    clip_sample: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Which noise levels training sees, and how much an error counts at each.

    Args:
        weighting: "uniform", "min_snr", "truncated_snr", "edm" or "sigmoid" (`training/weighting.py`).
        min_snr_gamma, sigma_data, sigmoid_bias: of the weighting that has it.
        timesteps: "uniform", "stratified", "logit_normal" or "cosine" (`training/timesteps.py`).
        logit_mean, logit_std: of "logit_normal".
        uniform_share: probability in [0, 1] that a time of "logit_normal" or "cosine" is drawn uniformly instead.
    """

    weighting: str = "uniform"
    min_snr_gamma: float = 5.0
    sigma_data: float = 0.5
    sigmoid_bias: float = 2.0
    timesteps: str = "uniform"
    logit_mean: float = 0.0
    logit_std: float = 1.0
    uniform_share: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How weights move.

    Args:
        optimizer: "adamw", or "muon" for the matrices and filters of the blocks, with AdamW for the rest.
        lr: peak learning rate.
        warmup_steps: steps of linear rise from zero to `lr`.
        decay: "cosine", "linear" or "constant" after that, to zero at the last step.
        weight_decay: of matrices and convolutions; norms, biases and embeddings have none.
        betas: of AdamW.
        max_grad_norm: gradients are scaled down to this norm.
        ema: "exponential", or "power" for two averages of which any other length can be made after training
            (`training/posthoc.py`).
        ema_decay: of the exponential average, in [0, 1).
        ema_sigma_rels: relative widths of the power-function averages, in (0, 0.28); the first is the one that is
            sampled from and saved.
        ema_snapshot_steps: steps between the snapshots of power-function averages; 0 takes none.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    warmup_steps: int = 200
    decay: str = "cosine"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    max_grad_norm: float = 1.0
    ema: str = "exponential"
    ema_decay: float = 0.999
    ema_sigma_rels: tuple[float, float] = (0.05, 0.1)
    ema_snapshot_steps: int = 500


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long, and what is written when.

    Whatever happens every `…_steps` is off at 0, and otherwise happens at the last step too.

    Args:
        epochs: passes over the data; `max_train_steps`, where given, ends earlier or later.
        max_train_steps: optimizer steps; None is what `epochs` makes.
        batch_size: images per step, over all processes and accumulation steps; a multiple of their product.
        gradient_accumulation_steps: parts that each process computes one after the other, to save memory.
        label_dropout: probability in [0, 1] that an image's class is replaced by the null class, or its caption by "".
        seed: of weights, order and noise.
        pretrained_model_name_or_path: a saved pipeline whose denoiser the run starts from, as
            `DigitPipeline.from_pretrained` takes it (`training/warm_start.py`); None starts from fresh weights.
        output_dir: folder of the run; None is runs/TYPE-DATASET.
        checkpointing_steps: steps between checkpoints; with 0 there is one at the end, and at a signal to stop.
        checkpoints_total_limit: whole checkpoints that are kept, the newest; None keeps all.
        preview_steps: steps between sample grids and loss curves.
        validation_steps: steps between measurements of the average: the loss on the images held out and, for MNIST,
            whose classifier ships, Fréchet distance and accuracy of what it draws. The best goes to `best-STEP`.
        quality_images: how many it draws for that; 0 draws none, and the held-out loss says which is best.
        logging_steps: steps between lines of history.
        report_to: "none", or a tracker of accelerate besides the JSON lines: "tensorboard", "wandb", …
        on_nonfinite: "stop" at a loss or gradient that is not finite, or "skip" that step and count it.
        resume: "auto" continues what `output_dir` holds, "never" starts over, anything else is a checkpoint's folder.
        mixed_precision: "no", "fp16" or "bf16"; None is what `accelerate launch` was told, or else "no".
        allow_tf32: let CUDA multiply float32 matrices, and those of convolutions, in TensorFloat-32.
        compile: "on" for torch.compile, "off", or "auto": where it was measured to help (`training/prepare.py`).
        channels_last: keep images and convolutions in this memory format.
        num_inference_steps, guidance_scale, guidance_interval: of the previews, and saved with the weights as defaults.
        sampler: of the previews, and the scheduler saved with the weights: "ddim", "ddpm", "dpm++", "unipc" or another
            short name of `pipelines/samplers.py`.
    """

    epochs: int = 10
    max_train_steps: int | None = None
    batch_size: int = 128
    gradient_accumulation_steps: int = 1
    label_dropout: float = 0.1
    seed: int = 0
    pretrained_model_name_or_path: str | None = None
    output_dir: str | None = None
    checkpointing_steps: int = 1000
    checkpoints_total_limit: int | None = 2
    preview_steps: int = 1000
    validation_steps: int = 500
    quality_images: int = 500
    logging_steps: int = 20
    report_to: str = "tensorboard"
    on_nonfinite: str = "stop"
    resume: str = "auto"
    mixed_precision: str | None = None
    allow_tf32: bool = False
    compile: str = "auto"
    channels_last: bool = False
    num_inference_steps: int = 10
    guidance_scale: float = 2.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    sampler: str = "ddim"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole training run."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    text: TextConfig = dataclasses.field(default_factory=TextConfig)
    scheduler: SchedulerConfig = dataclasses.field(default_factory=SchedulerConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        t, o = self.training, self.optim
        for name in (*AT_LEAST, *CHOICES):
            value = operator.attrgetter(name)(self)
            low, choices = AT_LEAST.get(name, value), CHOICES.get(name, (value,))
            if value is not None and value < low:
                raise ValueError(f"{name}: got {value}, expected {low} or more.")
            if value is not None and value not in choices:
                raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(choices)}.")
        if 0 < t.quality_images < 20:
            raise ValueError(f"training.quality_images: got {t.quality_images}, expected 0 for none, or 20 or more.")
        if not 0 <= t.guidance_interval[0] <= t.guidance_interval[1] <= 1:
            raise ValueError(f"training.guidance_interval: got {t.guidance_interval}, expected 0 <= start <= end <= 1.")
        for name in ("training.label_dropout", "objective.uniform_share"):
            if not 0 <= (share := operator.attrgetter(name)(self)) <= 1:
                raise ValueError(f"{name}: got {share}, expected a probability from 0 to 1.")
        if not 0 <= o.ema_decay < 1:
            raise ValueError(f"optim.ema_decay: got {o.ema_decay}, expected 0 or more and less than 1.")
        if not all(0 < width < 0.28 for width in o.ema_sigma_rels) or len(set(o.ema_sigma_rels)) < 2:
            raise ValueError(f"optim.ema_sigma_rels: got {o.ema_sigma_rels}, expected two widths between 0 and 0.28.")
        if not o.lr > 0:
            raise ValueError(f"optim.lr: got {o.lr}, expected more than 0.")
        if self.text.encoder and not self.text.captions:
            raise ValueError(
                f"text.encoder: got {self.text.encoder!r} for a run on classes; add text.captions=true, or take "
                "--config text."
            )


class _Loader(yaml.SafeLoader):
    """YAML with the booleans of its version 1.2: `true` and `false` alone, so that mixed_precision may be `no`."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|false)$"), ["t", "f"])


def load_config(recipe: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a recipe.

    Args:
        recipe: path of a YAML file, or the name of one that ships ("unet" or "unet.yaml").
        overrides: changes as "section.key=value", the value in YAML; later ones win.

    Raises:
        ValueError: an unknown recipe, section or key (the nearest known one is named), or a value of the wrong kind.
    """
    path = _find_recipe(recipe)
    tree = _parse(path.read_text(encoding="utf-8"), str(path)) or {}
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: got {type(tree).__name__}, expected sections such as model and training.")
    for override in overrides:
        field, equals, value = override.partition("=")
        section, dot, key = field.partition(".")
        if not (equals and dot):
            raise ValueError(f"override: got {override!r}, expected section.key=value, such as training.epochs=3.")
        tree.setdefault(section, {})[key] = _parse(value, field)
    return config_from_dict(tree)


def _parse(text: str, what: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{what}: is no YAML: {' '.join(str(error).split())}") from error


def config_from_dict(tree: Mapping[str, Any]) -> RunConfig:
    """Build a run from nested mappings; raises as `load_config`."""
    sections = {field.name: field.type for field in dataclasses.fields(RunConfig)}
    built = {}
    for name, values in tree.items():
        _check_known(name, sections, "section")
        values = dict(values or {})
        if name == "model":  # everything but the type belongs to the model's class, which checks it
            values = {"type": values.pop("type", ModelConfig.type), "options": values}
        built[name] = _build_section(name, sections[name], values)
    return RunConfig(**built)


def run_folder(config: RunConfig) -> Path:
    """Where a run lives."""
    kind = "text" if config.text.captions else config.model.type.lower()
    default = f"runs/{kind}-{config.data.dataset}"
    return Path(config.training.output_dir or default)


def config_to_dict(config: RunConfig) -> dict[str, Any]:
    """The inverse of `config_from_dict`, in plain types."""
    tree = dataclasses.asdict(config)
    tree["model"] = {"type": config.model.type, **config.model.options}
    return {s: {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()} for s, values in tree.items()}


def save_config(config: RunConfig, path: Path) -> None:
    """Write YAML that `load_config` reads back to an equal run; the file is the old one or the new one, never half."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(yaml.safe_dump(config_to_dict(config), sort_keys=False), encoding="utf-8")
    os.replace(aside, path)


def _find_recipe(recipe: str | Path) -> Path:
    for path in (Path(recipe), RECIPE_FOLDER / Path(recipe).name, RECIPE_FOLDER / f"{recipe}.yaml"):
        if path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in RECIPE_FOLDER.glob("*.yaml")))
    raise ValueError(f"config: got {str(recipe)!r}, which is neither a file nor a recipe that ships: {names}.")


def _build_section(section: str, section_type: Any, values: Mapping[str, Any]) -> Any:
    known = typing.get_type_hints(section_type)
    for key in values:
        _check_known(key, known, f"key of {section}")
    return section_type(**{key: _coerce(f"{section}.{key}", value, known[key]) for key, value in values.items()})


def _check_known(name: str, known: Iterable[str], what: str) -> None:
    if name not in known:
        nearest = difflib.get_close_matches(name, list(known), n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"{name}: unknown {what}.{hint} Known: {', '.join(known)}.")


def _coerce(name: str, value: Any, annotation: Any) -> Any:
    """Check a YAML value against a field's type. A float may be written as 1 or 1e-3, which YAML reads as a string."""
    kinds = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    for kind in kinds:
        origin = typing.get_origin(kind) or kind
        if origin is tuple and isinstance(value, list | tuple) and len(value) == len(typing.get_args(kind)):
            return tuple(_coerce(name, v, k) for v, k in zip(value, typing.get_args(kind), strict=True))
        if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                return float(value)
            except ValueError:
                continue
        is_bool_for_int = isinstance(value, bool) and origin is not bool
        if isinstance(value, Mapping if origin is Mapping else origin) and not is_bool_for_int:
            return value
    raise ValueError(f"{name}: got {value!r}, expected {getattr(annotation, '__name__', annotation)}.")
