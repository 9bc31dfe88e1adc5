"""A run from its config: built in memory, or opened in its folder, new or continued."""

import dataclasses
import json
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedType, ProjectConfiguration, broadcast_object_list
from filelock import FileLock, Timeout

from ..config import OPTIONS, RunConfig, config_to_dict, load_config, run_folder, save_config
from ..data import ImageData, load_training_data, without_images
from ..models import DigitDiT2DModel, DigitUNet2DModel, build_model
from ..models.text import TextDenoiser, build_text_encoder
from ..pipelines.samplers import make_scheduler
from ..runtime import check_processes, describe_software, say
from ..schedulers import DDIMScheduler
from .captions import TextCoder, build_coder, build_text
from .checkpoint import (
    FACTS,
    TrainingState,
    list_checkpoints,
    load_checkpoint,
    newest_whole_checkpoint,
    set_aside,
    step_of,
)
from .durable import DamagedError, damage_of, reading, remove_leftovers, replace_text, saving
from .ema import make_averages
from .history import History
from .objective import check_objective
from .optim import make_optimizers
from .run import Run, TrainedModel, restore_state
from .warm_start import start_from

CONFIG_NAME = "config.yaml"


def count_steps(config: RunConfig, num_images: int) -> int:
    """`max_train_steps`, or as many as `epochs` take."""
    t = config.training
    return t.max_train_steps or -(-t.epochs * num_images // t.batch_size)


def check_recipe(config: RunConfig) -> None:
    """Refuse a recipe that does not fit together before data are downloaded or read.

    Raises:
        ValueError: as `build_scheduler`; or as `build_denoiser`, for a dataset that has a name.
    """
    build_scheduler(config)
    if (data := without_images(config.data)) is not None:
        text_width = config.text.width if config.text.captions else None
        if config.text.encoder:  # its width is known when it is loaded
            text_width = config.model.options.get("cross_attention_dim", text_width)
        with torch.device("meta"):  # without the memory and the time of weights
            build_denoiser(config, data, text_width)


def build_denoiser(config: RunConfig, data: ImageData, text_width: int | None) -> DigitUNet2DModel | DigitDiT2DModel:
    """The recipe's denoiser with fresh weights, sized for the data.

    Args:
        config: of the run.
        data: their images may be missing.
        text_width: of the text encoder's output; None for a model of classes.

    Raises:
        ValueError: unknown options, or sizes that do not fit together or are not the data's.
    """
    channels, size = data.images.shape[1], data.images.shape[-1]
    sizes: dict[str, int | None] = {
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "num_classes": len(data.class_names) if text_width is None else None,
        "cross_attention_dim": text_width,
    }
    for name, expected in sizes.items():
        if (got := config.model.options.get(name, expected)) != expected:
            raise ValueError(
                f"model.{name}: got {got}, expected {expected}, as data and text encoder have it; leave it out."
            )
    try:
        return build_model(config.model.type, {**sizes, **config.model.options})
    except (ArithmeticError, LookupError, RuntimeError, TypeError) as error:  # an option of another type or size
        raise ValueError(f"model: no {config.model.type} can be built of {config.model.options}: {error}.") from error


def build_trained_model(config: RunConfig, data: ImageData, coder: TextCoder | None, read_only: bool) -> TrainedModel:
    """The recipe's model, with fresh weights of the run's seed, sized for the data.

    Where the recipe names a pipeline to start from, the denoiser's weights are that one's. For captions it is a
    denoiser and its text encoder, or the denoiser alone where the encoder is frozen.

    Raises:
        ValueError: as `build_denoiser`, or weights to start from that do not fit.
    """
    torch.manual_seed(config.training.seed)
    text, frozen = config.text, coder.frozen_encoder if coder is not None else None
    text_width = frozen.config.hidden_size if frozen else text.width if text.captions else None
    denoiser = build_denoiser(config, data, text_width)
    model: TrainedModel = denoiser
    if coder is not None and frozen is None:
        model = TextDenoiser(denoiser, build_text_encoder(coder.tokenizer, text.width, text.layers, text.heads))
    if config.training.pretrained_model_name_or_path is not None:
        name = config.training.pretrained_model_name_or_path
        fresh = start_from(model, name, read_only)
        fresh += ["text_encoder"] if isinstance(model, TextDenoiser) else []
        say(f"start:  weights of {name}; fresh: {', '.join(fresh) or 'none'}")
    return model


def build_run(config: RunConfig) -> Run:
    """A run in memory, at step 0; the run's folder is left alone.

    Raises:
        ValueError: a recipe that does not fit together, or a device that cannot do it.
        FileNotFoundError: no data.
    """
    accelerator = make_accelerator(config)
    check_recipe(config)
    return assemble_run(config, accelerator, *load_training_data(config.data))


def build_scheduler(config: RunConfig) -> DDIMScheduler:
    """The recipe's forward process.

    Raises:
        ValueError: it does not fit together, or with the objective or the sampler of the previews.
    """
    scheduler = DDIMScheduler(**dataclasses.asdict(config.scheduler))
    check_objective(scheduler, config.objective)
    try:
        make_scheduler(config.training.sampler, scheduler.config)  # refused now, not at the first preview
    except ValueError as error:
        raise ValueError(f"training.sampler: {str(error).removeprefix('scheduler: ')}") from error
    return scheduler


def assemble_run(
    config: RunConfig, accelerator: Accelerator, data: ImageData, validation: ImageData, read_only: bool = False
) -> Run:
    """As `build_run`, on images that are at hand: those to train on, and those held out.

    With `read_only` nothing is downloaded, and nothing that was measured is kept.
    """
    t = config.training
    config = dataclasses.replace(config, training=dataclasses.replace(t, mixed_precision=accelerator.mixed_precision))
    coder = build_coder(config.text, read_only) if config.text.captions else None
    model: Any = build_trained_model(config, data, coder, read_only)
    text = build_text(coder, data, validation, read_only) if coder is not None else None  # slow and kept: comes last
    model.to(accelerator.device, memory_format=torch.channels_last if t.channels_last else torch.preserve_format)
    total_steps = count_steps(config, len(data))
    if t.compile == "on":
        model.compile()  # in place: no wrapper that would rename the weights
    optimizers = make_optimizers(model, config.optim)
    prepared_model, *prepared = accelerator.prepare(model, *optimizers)
    return Run(
        config=config,
        accelerator=accelerator,
        data=data,
        validation=validation,
        model=prepared_model,
        scheduler=build_scheduler(config),
        averages=make_averages(accelerator.unwrap_model(prepared_model), config.optim),
        optimizers=prepared,
        folder=run_folder(config),
        history=History(run_folder(config)),
        total_steps=total_steps,
        text=text,
    )


def make_accelerator(config: RunConfig) -> Accelerator:
    """accelerate as the config wants it; device and processes are the launcher's to say.

    Raises:
        ValueError: a precision that the device has not, an unknown tracker, or a batch that cannot be divided.
    """
    t = config.training
    folder = run_folder(config)
    trackers = ["none", *(str(tracker) for tracker in get_available_trackers())]
    if t.report_to not in trackers:
        raise ValueError(
            f"training.report_to: got {t.report_to!r}, expected one that is installed: {', '.join(trackers)}."
        )
    try:
        accelerator = Accelerator(
            mixed_precision=t.mixed_precision,
            gradient_accumulation_steps=t.gradient_accumulation_steps,
            log_with=None if t.report_to == "none" else t.report_to,
            project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "trackers")),
        )
    except ValueError as error:
        raise ValueError(
            f"training.mixed_precision: got {t.mixed_precision!r}: {error} (no and bf16 run on every device.)"
        ) from error
    check_processes(accelerator.num_processes)
    if accelerator.mixed_precision == "fp16" and accelerator.scaler is None:  # accelerate would say nothing
        raise ValueError(
            f"training.mixed_precision: got 'fp16', which is not for {accelerator.device.type}: it would train in "
            "float32; use no or bf16."
        )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise ValueError(
            "accelerate: got DeepSpeed, which steps before a loss can be found not finite, and saves the optimizer as "
            "pickles; use FSDP (accelerate launch --use_fsdp --fsdp_version 2), which divides weights and moments too."
        )
    parts = accelerator.num_processes * t.gradient_accumulation_steps
    if t.batch_size % parts:
        raise ValueError(
            f"training.batch_size: got {t.batch_size}, expected a multiple of {parts} ({accelerator.num_processes} "
            f"processes x {t.gradient_accumulation_steps} accumulation steps)."
        )
    if accelerator.scaler is not None and config.optim.optimizer == "muon":  # accelerate would unscale twice
        raise ValueError("optim.optimizer: got 'muon' with mixed precision fp16; use bf16 or no, or adamw.")
    if accelerator.device.type == "cuda":
        torch.set_float32_matmul_precision("high" if t.allow_tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = t.allow_tf32  # torch lets convolutions have it unless it is told
    return accelerator


def prepare_run(config: RunConfig) -> Run:
    """Build a run and open its folder: continue what lies there, or begin.

    Raises:
        ValueError: as `build_run`; or a folder that holds another run, is in use, or has no whole checkpoint.
        FileNotFoundError: no data, or no such checkpoint.
    """
    run = build_run(config)
    checkpoint = _on_main_process(run, find_checkpoint, run.config, run.folder)
    state = load_checkpoint(checkpoint) if checkpoint is not None else None
    if state is not None:
        restore_state(run, state)
    if run.step > run.total_steps:
        raise ValueError(
            f"training.max_train_steps: got {run.total_steps}, but {checkpoint} is at step {run.step}; train for more "
            "steps, or --resume an earlier checkpoint."
        )
    _on_main_process(run, _open_folder, run, checkpoint, state)
    if run.config.training.report_to != "none":
        run.accelerator.init_trackers("text2digit")
    return run


def _on_main_process(run: Run, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on the main process; its result or its error reaches all, so that none is left waiting."""
    found: list = [None, None]
    if run.accelerator.is_main_process:
        try:
            found[0] = function(*arguments)
        except (ValueError, OSError) as error:
            found[1] = error
    broadcast_object_list(found)
    if found[1] is not None:
        run.close()
        raise found[1]
    return found[0]


def _open_folder(run: Run, checkpoint: Path | None, state: TrainingState | None) -> None:
    """Lock the folder and write what belongs to the run; what is damaged or would be overwritten is set aside."""
    run.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run.folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"{run.folder}: another run is writing there; wait for it, or pass another --output-dir."
        ) from None
    run.lock = lock
    remove_leftovers(run.folder)
    superfluous = [path for path in list_checkpoints(run.folder) if step_of(path) > run.step]
    for path in (*run.folder.glob("best-[0-9]*"), *run.folder.glob("averages/step-[0-9]*")):
        if damage := damage_of(path):
            warnings.warn(
                f"{damage} It is set aside; --resume with an earlier checkpoint makes it again.", stacklevel=2
            )
        if damage or (run.config.training.resume != "auto" and step_of(path) > run.step):  # will not be the same again
            superfluous.append(path)
    set_aside(run.folder, superfluous)
    with saving(run.folder / CONFIG_NAME):
        save_config(run.config, run.folder / CONFIG_NAME)
    is_own = checkpoint is not None and checkpoint.resolve().parent == run.folder.resolve()
    pending, facts = (state.tensors["pending"], state.facts) if state is not None else ({}, {})
    run.history.open_at(run.step, pending, facts.get("history_lines", 0) if is_own else 0)
    _note_session(run)


def find_checkpoint(config: RunConfig, folder: Path) -> Path | None:
    """Find where a run in `folder` goes on, by `training.resume`; None is the beginning. Nothing is written.

    Raises:
        ValueError: the folder holds another run, or none of its checkpoints is whole.
        FileNotFoundError: no such checkpoint.
    """
    resume = config.training.resume
    if resume == "never":
        return None
    if resume not in ("auto", "extend"):
        if not (Path(resume) / FACTS).is_file():
            raise FileNotFoundError(
                f"training.resume: got {resume!r}, expected auto, extend, never or a checkpoint's folder."
            )
        if changes := _differences_from(Path(resume).parent, config, "auto"):
            warnings.warn(f"{resume} is of another config: {'; '.join(changes)}.", stacklevel=2)
        return Path(resume)
    checkpoint = newest_whole_checkpoint(folder)
    if checkpoint is None and resume == "extend":
        raise FileNotFoundError(f"training.resume: got 'extend', but {folder} holds no checkpoint to go on from.")
    if checkpoint is not None and (changes := _differences_from(folder, config, resume)):
        way = f"Pass the same config to continue it, --resume {checkpoint} to go on with this one"
        if not _differences_from(folder, config, "extend"):
            way = "Repeat the command with --resume extend to train that run to the new length"
        raise ValueError(
            f"{folder} holds a run of another config ({'; '.join(changes)}), by its {CONFIG_NAME}. {way}, "
            "--resume never to start over, or another --output-dir."
        )
    return checkpoint


def _differences_from(folder: Path, new: RunConfig, resume: str) -> list[str]:
    """Keys in which the run in a folder differs from a config and may not, with both values."""
    try:
        with reading(folder / CONFIG_NAME):
            old = load_config(folder / CONFIG_NAME)
    except DamagedError as error:
        return [str(error)]
    then, now = (
        {f"{section}.{key}": value for section, values in config_to_dict(c).items() for key, value in values.items()}
        for c in (old, new)
    )
    free = {key for key, option in OPTIONS.items() if option.resume in ("auto", resume)}
    names = sorted({*then, *now} - free)
    return [f"{n}: {then.get(n)} then, {now.get(n)} now" for n in names if then.get(n) != now.get(n)]


def _note_session(run: Run) -> None:
    """Add to `run.json` with what this session of the run computes: versions, commit, device, processes, seed."""
    path, sessions = run.folder / "run.json", []
    if path.exists():
        try:
            with reading(path):
                sessions = list(json.loads(path.read_bytes())["sessions"])
        except DamagedError as damage:
            warnings.warn(f"{damage} Its record of earlier sessions is set aside.", stacklevel=2)
            set_aside(run.folder, [path])
    sessions.append(
        {
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "from_step": run.step,
            "seed": run.config.training.seed,
            "device": run.accelerator.device.type,
            "num_processes": run.accelerator.num_processes,
            "num_threads": torch.get_num_threads(),
            "distributed_type": run.accelerator.distributed_type.value,
            **describe_software(),
        }
    )
    replace_text(path, json.dumps({"sessions": sessions}, indent=1))
