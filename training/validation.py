"""Looks at a run from outside, with the averaged weights: a grid of samples, held-out loss, quality, the best."""

import math
from functools import lru_cache
from typing import Any

import torch

from ..config import DataConfig
from ..data import cache_folder, counter_generator
from ..evaluation.judge import Judge, even_labels
from ..models.text import TextDenoiser
from ..pipelines import ClassConditionedDigitPipeline, TextConditionedDigitPipeline
from ..pipelines.drawing import draw_images
from ..pipelines.images import image_grid, to_bytes
from ..pipelines.samplers import make_scheduler
from ..runtime import join_shares, share_of
from .checkpoint import step_of
from .durable import damage_of, remove_folder, saving, whole_folder
from .history import loss_by_time, plot_loss
from .objective import NoisyBatch, denoising_loss, times_of, timesteps_of
from .run import Run, TrainedModel

PREVIEW_COLUMNS = 8
VALIDATION_BATCH = 250
# The dataset whose classifier ships.
JUDGED = "mnist"


def averaged_model(run: Run) -> TrainedModel:
    """A model of its own with the averaged weights, to draw and measure with.

    Training goes on untouched: no weights are swapped, nothing is compiled anew for other batch sizes, and a model in
    parts (FSDP) is whole here. Every process must call it.
    """
    bare = run.bare_model
    model = bare.fresh() if isinstance(bare, TextDenoiser) else type(bare).from_config(bare.config)
    weights = run.average.state()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(weights[name])
    return model.to(run.accelerator.device).eval()


def make_pipeline(run: Run, model: TrainedModel) -> ClassConditionedDigitPipeline | TextConditionedDigitPipeline:
    """A pipeline around a model, with the run's classes or words, and its defaults."""
    t = run.config.training
    defaults: dict[str, Any] = {
        "default_num_inference_steps": t.num_inference_steps,
        "default_guidance_scale": t.guidance_scale,
        "default_guidance_interval": t.guidance_interval,
    }
    pipeline: ClassConditionedDigitPipeline | TextConditionedDigitPipeline
    scheduler = make_scheduler(t.sampler, run.scheduler.config)
    denoiser: Any = model.denoiser if isinstance(model, TextDenoiser) else model
    if run.text is None:
        names = dict(enumerate(run.data.class_names))
        pipeline = ClassConditionedDigitPipeline(denoiser, scheduler, id2label=names, **defaults)
    else:
        coder = run.text.coder
        encoder = model.text_encoder if isinstance(model, TextDenoiser) else coder.frozen_encoder
        pipeline = TextConditionedDigitPipeline(
            denoiser,
            scheduler,
            encoder,
            coder.tokenizer,
            max_prompt_tokens=coder.max_length,
            digit_guidance=run.config.text.digit_guidance,
            **defaults,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_preview(run: Run, model: TrainedModel) -> None:
    """Write `samples/step-N.png`, a row per class, always of the same noise, and `loss.png`.

    Every process must call it.
    """
    labels = [label for label in range(len(run.data.class_names)) for _ in range(PREVIEW_COLUMNS)]
    pipeline = make_pipeline(run, model)
    images = draw_images(pipeline, pipeline.conditioner.inputs_for_classes(labels), seeds=range(len(labels)))
    if run.accelerator.is_main_process:
        folder = run.folder / "samples"
        folder.mkdir(exist_ok=True)
        with saving(path := folder / f"step-{run.step:06d}.png"):
            image_grid(images, columns=PREVIEW_COLUMNS).save(path)
        if run.history.lines:
            with saving(path := run.folder / "loss.png"):
                plot_loss(run.history.lines, path)


def validation_batch(run: Run) -> NoisyBatch:
    """The held-out images with noise and noise levels that never change, whatever the run's seed.

    Times lie evenly on the time axis, so that each tenth of it has equally many images.
    """
    count = len(run.validation)
    generator = counter_generator(0, "validation")
    x_0 = run.validation.x_0(torch.arange(count))
    noise = torch.randn(x_0.shape, generator=generator)
    times = (torch.randperm(count, generator=generator) + 0.5) / count
    timesteps = timesteps_of(times.double(), run.scheduler.path)
    text = None
    if run.text is not None:
        captions = counter_generator(0, "validation captions")
        text = run.text.validation.draw(torch.arange(count), torch.zeros(count, dtype=torch.bool), captions)
    return NoisyBatch(torch.arange(count), x_0, noise, timesteps, run.validation.labels, text)


@torch.no_grad()
def validate(run: Run, model: TrainedModel) -> dict:
    """The objective on the held-out images; each process computes its share, and every process must call it.

    Returns:
        A line of history.
    """
    batch, world, device = validation_batch(run), run.accelerator.num_processes, run.accelerator.device
    share = share_of(len(run.validation), run.accelerator.process_index, world)
    parts = [
        denoising_loss(model, run.scheduler, batch.take(chosen), device, run.config.objective)
        for chosen in share.split(VALIDATION_BATCH)
    ]
    errors = join_shares(run.accelerator.gather(torch.cat(parts)), len(run.validation), world).cpu()
    times = times_of(batch.timesteps, run.scheduler.path)
    return {
        "step": run.step,
        "validation_loss": errors.double().mean().item(),
        "validation_loss_by_time": loss_by_time(errors, times),
    }


def measure_quality(run: Run, model: TrainedModel) -> dict:
    """Fréchet distance and accuracy of `quality_images` digits, by the run's steps and guidance, always of one noise.

    A quick look: so few images bias the distance upwards, alike at each step. Every process must call it.

    Returns:
        A line of history, without the figures on all processes but the first.
    """
    count = run.config.training.quality_images
    labels = even_labels(count, len(run.data.class_names))
    pipeline = make_pipeline(run, model)
    images = draw_images(pipeline, pipeline.conditioner.inputs_for_classes(labels.tolist()), seeds=range(count))
    line: dict[str, int | float] = {"step": run.step, "quality_images": count}
    if run.accelerator.is_main_process:
        drawn = to_bytes(images)
        figures = _judge(run.config.data).score(drawn, labels, pixels=False).figures
        line |= {name: figures[name] for name in ("frechet_distance", "accuracy")}
    return line


def has_judge(run: Run) -> bool:
    """Whether quality can be measured."""
    return run.config.data.dataset == JUDGED and run.config.training.quality_images > 0


@lru_cache(maxsize=1)
def _judge(data: DataConfig) -> Judge:
    return Judge(data, cache=cache_folder("evaluation"))


def keep_if_best(run: Run, model: TrainedModel, line: dict) -> None:
    """Save the averaged weights as the pipeline `best-STEP` if no earlier ones were better.

    Better is a lower Fréchet distance where it is measured, or else a lower held-out loss. The former best is deleted
    only when the new one is whole on the disk.

    Args:
        line: what was measured, as in the history.
    """
    measure = "frechet_distance" if has_judge(run) else "validation_loss"
    if not run.accelerator.is_main_process or not math.isfinite(line[measure]):
        return
    if run.best is not None and measure in run.best and not line[measure] < run.best[measure]:
        return
    run.best = {"step": run.step, measure: line[measure]}
    folder = run.folder / f"best-{run.step:06d}"
    if damage_of(folder):  # a resumed run may find its own
        if folder.exists():
            remove_folder(folder)
        with whole_folder(folder, sum(p.nbytes for p in model.parameters())) as place:
            make_pipeline(run, model).save_pretrained(place)
    for old in run.folder.glob("best-*"):
        if step_of(old) < run.step:
            remove_folder(old)
