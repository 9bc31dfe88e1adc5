"""A training run: prepare everything, take steps, leave a pipeline behind."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from ..config import RunConfig, config_to_dict, load_config, run_folder, save_config
from ..data import ImageData, counter_seed, load_dataset
from ..models import DigitDiT2DModel, DigitUNet2DModel, build_model
from ..pipelines import ClassConditionedDigitPipeline
from ..pipelines.images import image_grid
from ..schedulers import DDIMScheduler
from .checkpoint import list_checkpoints, load_checkpoint, save_checkpoint, set_aside_later_checkpoints
from .ema import EMA
from .history import History, plot_loss
from .objective import Draw, check_objective, denoising_loss, draw_batch
from .optim import learning_rate, make_optimizer

CONFIG_NAME = "config.yaml"
PREVIEW_COLUMNS = 8
# What may change when a run is continued: where it is, and what it writes when.
FREE_KEYS = {
    "data.data_dir",
    "training.output_dir",
    "training.resume",
    "training.checkpointing_steps",
    "training.preview_steps",
    "training.logging_steps",
}


@dataclass
class Run:
    """Everything that a run consists of; `step` counts the steps done."""

    config: RunConfig
    accelerator: Accelerator
    data: ImageData
    model: DigitUNet2DModel | DigitDiT2DModel
    scheduler: DDIMScheduler
    ema: EMA
    optimizer: torch.optim.Optimizer
    history: History
    folder: Path
    total_steps: int
    step: int = 0


def count_steps(config: RunConfig, num_images: int) -> int:
    """`max_train_steps`, or as many as `epochs` take."""
    t = config.training
    return t.max_train_steps or -(-t.epochs * num_images // t.batch_size)


def build_denoiser(config: RunConfig, data: ImageData) -> DigitUNet2DModel | DigitDiT2DModel:
    """The recipe's model, with fresh weights of the run's seed, sized for the data unless the recipe says otherwise."""
    channels, size = data.images.shape[1], data.images.shape[-1]
    sizes = {
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "num_classes": len(data.class_names),
    }
    torch.manual_seed(config.training.seed)
    return build_model(config.model.type, {**sizes, **config.model.options})


def prepare_run(config: RunConfig) -> Run:
    """Build a run, or continue the one that lies in its folder.

    Raises:
        ValueError: a recipe that does not fit together, or a folder that holds another run.
        FileNotFoundError: no data, or no such checkpoint.
    """
    folder = run_folder(config)
    accelerator = Accelerator(mixed_precision=config.training.mixed_precision)
    data = load_dataset(config.data)
    model = build_denoiser(config, data)
    scheduler = DDIMScheduler(**config_to_dict(config)["scheduler"])
    check_objective(scheduler, config.objective)
    optimizer = make_optimizer(model, config.optim)
    checkpoint = _find_checkpoint(config, folder)

    model, optimizer = accelerator.prepare(model, optimizer)
    bare_model = accelerator.unwrap_model(model)
    ema = EMA(bare_model, config.optim.ema_decay)
    step = load_checkpoint(checkpoint, bare_model, ema, optimizer) if checkpoint else 0
    folder.mkdir(parents=True, exist_ok=True)
    set_aside_later_checkpoints(folder, step)
    save_config(config, folder / CONFIG_NAME)
    history = History(folder / "history.jsonl", step)
    total_steps = count_steps(config, len(data))
    return Run(config, accelerator, data, model, scheduler, ema, optimizer, history, folder, total_steps, step)


def _find_checkpoint(config: RunConfig, folder: Path) -> Path | None:
    resume = config.training.resume
    if resume == "never":
        return None
    if resume != "auto":
        if not (Path(resume) / "state.json").is_file():
            raise FileNotFoundError(f"training.resume: got {resume!r}, expected auto, never or a checkpoint's folder.")
        return Path(resume)
    checkpoints = list_checkpoints(folder)
    if not checkpoints:
        return None
    changes = _differences(load_config(folder / CONFIG_NAME), config)
    if changes:
        raise ValueError(
            f"{folder} holds a run of another config ({'; '.join(changes)}). Pass the same config to continue it, "
            "--resume never to start over, or another --output-dir."
        )
    return checkpoints[-1]


def _differences(old: RunConfig, new: RunConfig) -> list[str]:
    """Keys in which two configs differ and may not, with both values."""
    flat = [
        {f"{section}.{key}": value for section, values in config_to_dict(c).items() for key, value in values.items()}
        for c in (old, new)
    ]
    names = sorted({*flat[0], *flat[1]} - FREE_KEYS)
    return [f"{n}: {flat[0].get(n)} then, {flat[1].get(n)} now" for n in names if flat[0].get(n) != flat[1].get(n)]


def train(run: Run) -> Path:
    """Take the steps that are left, and save the pipeline with the averaged weights.

    Returns:
        The run's folder, which `DigitPipeline.from_pretrained` loads.
    """
    t = run.config.training
    run.model.train()
    bar = tqdm(
        total=run.total_steps,
        initial=run.step,
        unit="step",
        disable=not run.accelerator.is_main_process,
        smoothing=0.05,
    )
    losses, since = [], time.perf_counter()
    while run.step < run.total_steps:
        losses.append(train_step(run))
        bar.update()
        if run.step % t.logging_steps == 0 or run.step == run.total_steps:
            line = _report(run, losses, time.perf_counter() - since)
            bar.set_postfix_str(f"loss {line['loss']:.4f}, {line['images_per_second']:.0f} images/s")
            losses, since = [], time.perf_counter()
        if run.accelerator.is_main_process and run.step < run.total_steps:
            if run.step % t.preview_steps == 0:
                save_preview(run)
            if run.step % t.checkpointing_steps == 0:
                _checkpoint(run)
            if run.step % t.preview_steps == 0 or run.step % t.checkpointing_steps == 0:
                since = time.perf_counter()  # the time of pictures and files is not the steps'
                losses = []
    bar.close()
    if run.accelerator.is_main_process:
        _checkpoint(run)
        save_preview(run)
        save_pipeline(run)
    return run.folder


def train_step(run: Run) -> torch.Tensor:
    """One optimizer step; returns the mean loss, detached."""
    t = run.config.training
    objective = run.config.objective
    draw = draw_batch(run.data, run.step, t.batch_size, t.seed, run.scheduler.path, t.label_dropout, objective)
    draw = _share(draw, run.accelerator)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(run.step, run.total_steps, run.config.optim)
    torch.manual_seed(counter_seed(t.seed, "dropout", run.step, run.accelerator.process_index))
    with run.accelerator.autocast():
        loss = denoising_loss(run.model, run.scheduler, draw, run.accelerator.device, objective).mean()
    run.accelerator.backward(loss)
    run.accelerator.clip_grad_norm_(run.model.parameters(), run.config.optim.max_grad_norm)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.ema.update(run.accelerator.unwrap_model(run.model))
    run.step += 1
    return loss.detach()


def _share(draw: Draw, accelerator: Accelerator) -> Draw:
    """This process's part of the global batch: every n-th image."""
    part = slice(accelerator.process_index, None, accelerator.num_processes)
    return Draw(*(getattr(draw, name)[part] for name in Draw.__dataclass_fields__))


def _report(run: Run, losses: list[torch.Tensor], seconds: float) -> dict:
    loss = run.accelerator.reduce(torch.stack(losses).mean(), reduction="mean").item()
    line = {
        "step": run.step,
        "loss": loss,
        "lr": run.optimizer.param_groups[0]["lr"],
        "images_per_second": len(losses) * run.config.training.batch_size / seconds,
    }
    if run.accelerator.is_main_process:
        run.history.append(line)
    return line


def _checkpoint(run: Run) -> None:
    save_checkpoint(run.folder, run.step, run.accelerator.unwrap_model(run.model), run.ema, run.optimizer)


def make_pipeline(run: Run) -> ClassConditionedDigitPipeline:
    """A pipeline around the run's own model, whatever weights it has at the moment."""
    t = run.config.training
    return ClassConditionedDigitPipeline(
        run.accelerator.unwrap_model(run.model),
        run.scheduler,
        id2label=dict(enumerate(run.data.class_names)),
        default_num_inference_steps=t.num_inference_steps,
        default_guidance_scale=t.guidance_scale,
    )


def save_preview(run: Run) -> None:
    """Write `samples/step-N.png`, a row per class, always of the same noise, and `loss.png`."""
    folder = run.folder / "samples"
    folder.mkdir(exist_ok=True)
    run.model.eval()
    with run.ema.swapped_into(run.accelerator.unwrap_model(run.model)):
        pipeline = make_pipeline(run)
        pipeline.set_progress_bar_config(disable=True)
        labels = list(range(len(run.data.class_names)))
        (images,) = pipeline(
            labels, num_images_per_prompt=PREVIEW_COLUMNS, generator=0, output_type="pt", return_dict=False
        )
    run.model.train()
    image_grid(images, columns=PREVIEW_COLUMNS).save(folder / f"step-{run.step:06d}.png")
    if run.history.lines:
        plot_loss(run.history.lines, run.folder / "loss.png")


def save_pipeline(run: Run) -> None:
    """Save the pipeline with the averaged weights into the run's folder."""
    model = run.accelerator.unwrap_model(run.model)
    with run.ema.swapped_into(model):
        make_pipeline(run).save_pretrained(run.folder)


def plan(config: RunConfig) -> str:
    """What a run would do, in lines for a person; reads the data, writes nothing."""
    data = load_dataset(config.data)
    model = build_denoiser(config, data)
    parameters = sum(p.numel() for p in model.parameters())
    steps, t = count_steps(config, len(data)), config.training
    return "\n".join(
        (
            f"data:   {config.data.dataset}, {len(data):,} images of {tuple(data.images.shape[1:])}, "
            f"{len(data.class_names)} classes",
            f"model:  {config.model.type}, {parameters:,} parameters",
            f"steps:  {steps:,} of {t.batch_size} images, {steps * t.batch_size / len(data):.1f} epochs",
            f"output: {run_folder(config)}",
        )
    )
