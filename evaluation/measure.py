"""What `text2digit evaluate` measures: a model, a file of samples, and the floors of real digits."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from ..data import ImageData
from ..pipelines import DigitPipeline
from ..pipelines.drawing import draw_images
from ..pipelines.images import to_bytes
from ..pipelines.loading import find_pipeline_folder
from ..pipelines.samplers import make_scheduler, replace_scheduler
from ..runtime import describe_device, describe_software
from . import NUM, SEED_STRIDE
from .classifier import pipeline_identity, sha256
from .judge import Judge, Scores, even_labels, evenly
from .prompts import RealStrokes, measure_prompts, prompts_to_markdown, sweep_picture
from .report import draw_pictures, draw_sweep, summarise, sweep_table, table
from .train_classifier import EPOCHS, accuracy, train_classifier

# Settings of a report that decide how each image is drawn.
CHOICE = ("steps", "guidance_scale", "guidance_interval")
NUMERALS = "numerals alone"
FLOORS = {"train": "real, held out", "test": "real, test"}


@dataclass
class Measured:
    """What was drawn or read, and what was found of it."""

    title: str
    settings: dict[str, Any]
    data: ImageData  # of the first seed
    scores: list[Scores]
    sweeps: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    # Of a pipeline of texts: digits asked for by nothing but their numeral, words, and a picture of sweeps.
    numerals: Scores | None = None
    prompts: dict[str, Any] | None = None
    picture: Any = None


def draw(pipeline: Any, inputs: Sequence[int] | Sequence[str], seed: int, **choice: Any) -> torch.Tensor:
    """(N, C, H, W) uint8 images of N classes or prompts, each from a generator of its own (`SEED_STRIDE`).

    Args:
        choice: values of `CHOICE`.
    """
    start, count = seed * SEED_STRIDE, len(inputs)
    seeds = range(start, start + count)
    return to_bytes(draw_images(pipeline, inputs, seeds, show_progress=count > 1, **call_arguments(choice)))


def call_arguments(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice as the pipelines' arguments, which call the steps otherwise."""
    return {"num_inference_steps" if name == "steps" else name: choice[name] for name in CHOICE}


def sampler_names(scheduler: Any) -> dict[str, str | None]:
    """Its class, such as "diffusers.UniPCMultistepScheduler", told from ours of a like name; and its timesteps'."""
    name = f"{type(scheduler).__module__.split('.')[0]}.{type(scheduler).__name__}"
    return {"scheduler": name, "timestep_spacing": scheduler.config.get("timestep_spacing")}


def with_scheduler(pipeline: Any, name: str) -> Any:
    """Another pipeline around the same model."""
    other = type(pipeline).from_pipe(pipeline, scheduler=make_scheduler(name, pipeline.scheduler.config))
    other.set_progress_bar_config(disable=True)
    return other


def load_model(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The pipeline, and the settings that its digits are drawn with.

    Raises:
        ValueError, FileNotFoundError: no such model, or settings that it cannot follow.
    """
    folder = find_pipeline_folder(arguments.model)
    pipeline = DigitPipeline.from_pretrained(folder).to(Accelerator().device)
    pipeline.set_progress_bar_config(disable=True)
    if arguments.scheduler:
        replace_scheduler(pipeline, arguments.scheduler)
    config, scale, interval = pipeline.config, arguments.guidance_scale, arguments.guidance_interval
    settings = {
        "model": arguments.model,
        **pipeline_identity(folder),
        **sampler_names(pipeline.scheduler),
        "steps": arguments.num_inference_steps or config.default_num_inference_steps,
        "guidance_scale": config.default_guidance_scale if scale is None else scale,
        "guidance_interval": list(config.default_guidance_interval if interval is None else interval),
        "seeds": arguments.seeds or [0],
    }
    if pipeline.conditioner.reads_words:
        settings["prompts"] = "captions of training digits"
    return pipeline, settings


def measure_model(arguments: argparse.Namespace, judge: Judge) -> Measured:
    """Draw and score every seed, then the sweeps with the first.

    Raises:
        ValueError, FileNotFoundError: as `load_model`, or a model of other images than the reference.
    """
    pipeline, settings = load_model(arguments)
    usual = {name: settings[name] for name in CHOICE}
    changed = [("guidance_scale", pipeline, {**usual, "guidance_scale": scale}) for scale in arguments.sweep_guidance]
    for name in arguments.sweep_scheduler or [None]:
        swept = pipeline if name is None else with_scheduler(pipeline, name)
        changed += [("steps", swept, {**usual, "steps": steps}) for steps in arguments.sweep_steps]
    real = RealStrokes(judge.training) if pipeline.conditioner.reads_words else None
    labels, seeds = even_labels(arguments.num or NUM, judge.num_classes), settings["seeds"]
    numerals = pipeline.conditioner.inputs_for_classes(labels.tolist())
    inputs = {seed: numerals if real is None else real.texts_for(labels, seed) for seed in seeds}
    for _, swept, choice in [("", pipeline, usual), *changed]:  # whatever cannot be drawn fails now, not after an hour
        judge.check_shape(draw(swept, numerals[-1:], 0, **choice))
    drawn = {seed: draw(pipeline, inputs[seed], seed, **usual) for seed in seeds}
    measured = Measured(
        arguments.model,
        settings,
        ImageData(drawn[seeds[0]], labels, judge.training.class_names),
        [judge.score(images, labels) for images in drawn.values()],
    )
    for name, swept, choice in changed:
        images = draw(swept, inputs[seeds[0]], seeds[0], **choice)
        found = judge.score(images, labels, pixels=False).figures
        measured.sweeps.setdefault(name, []).append({**sampler_names(swept.scheduler), **choice, **found})
    if real is not None:
        measured.numerals = judge.score(draw(pipeline, numerals, seeds[0], **usual), labels)
        call, start = call_arguments(usual), seeds[0] * SEED_STRIDE
        own_seeds = range(start, start + SEED_STRIDE)
        measured.prompts = measure_prompts(
            pipeline, judge, real, len(labels), own_seeds, other_scales=arguments.sweep_guidance, **call
        )
        measured.picture = sweep_picture(pipeline, start, **call)
    return measured


def measure_samples(path: Path, judge: Judge) -> Measured:
    """Score a file of `text2digit sample`.

    Raises:
        ValueError: not what it should hold.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
        images = images[:, None] if images.ndim == 3 else images.movedim(-1, 1)
    except Exception as error:  # zipfile, pickle and key errors, as the file pleases
        raise ValueError(f"samples: {path} is no .npz with images and labels ({error}).") from error
    labels = labels if labels.is_floating_point() else labels.long()
    judge.check_images(images, labels)
    settings = {"samples": path.name, "samples_sha256": sha256(path)}
    data = ImageData(images, labels, judge.training.class_names)
    return Measured(path.name, settings, data, [judge.score(images, labels)])


def accuracy_score(data: ImageData, judge: Judge, seed: int = 0) -> dict[str, Any]:
    """Classification-accuracy score (1905.10887): a classifier trained on drawn digits alone, tested on real ones.

    The same recipe on as many real digits stands beside it.
    """
    real = evenly(judge.reference, len(data))
    return {
        "train_images": len(data),
        "epochs": EPOCHS,
        "seed": seed,
        "test_images": len(judge.test),
        "drawn": accuracy(train_classifier(data, EPOCHS, seed), judge.test),
        "real_train_images": len(real),
        "real": accuracy(train_classifier(real, EPOCHS, seed), judge.test),
    }


def make_report(measured: Measured | None, judge: Judge, num: int, with_accuracy_score: bool) -> dict[str, Any]:
    """All that goes into report.json."""
    sets = {}
    if measured:
        sets[measured.title] = {"n": len(measured.data), **summarise([s.figures for s in measured.scores])}
        if measured.numerals:
            sets[f"{measured.title}, {NUMERALS}"] = {"n": len(measured.data), **summarise([measured.numerals.figures])}
    for name, (count, scores) in judge.floors(num).items():
        sets[FLOORS[name]] = {"n": count, **summarise([scores.figures])}
    report: dict[str, Any] = {
        "settings": measured.settings if measured else {"real": True},
        "classifier_sha256": judge.classifier_sha256,
        "dataset": judge.config.dataset,
        "reference_images": len(judge.reference),
        "device": describe_device(Accelerator().device),
        **describe_software(),
        "sets": sets,
    }
    if measured:
        report |= {"sweeps": measured.sweeps, "confusion": measured.scores[0].confusion.tolist()}
        if measured.prompts:
            report["prompts"] = measured.prompts
        if with_accuracy_score:
            report["accuracy_score"] = accuracy_score(measured.data, judge)
    return report


def to_markdown(report: dict[str, Any]) -> str:
    """The table, and under it what it was measured with."""
    text = table(report["sets"]) + "\n"
    for name, entries in report.get("sweeps", {}).items():
        seed = report["settings"]["seeds"][0]
        text += f"Fréchet distance · accuracy of the asked class, by seed {seed}:\n\n{sweep_table(name, entries)}\n"
    if found := report.get("prompts"):
        text += prompts_to_markdown(found)
    if score := report.get("accuracy_score"):
        text += (
            f"Classification-accuracy score, on {score['test_images']:,} real test digits: {score['drawn']:.2%} by a "
            f"classifier trained on {score['train_images']:,} drawn digits, {score['real']:.2%} by one trained on "
            f"{score['real_train_images']:,} real ones, {score['epochs']} epochs each.\n\n"
        )
    settings = ", ".join(f"{name} {value}" for name, value in report["settings"].items())
    text += f"{settings}. Classifier {report['classifier_sha256'][:12]}, "
    return text + f"reference {report['reference_images']:,} training digits, ± is the standard deviation over seeds.\n"


def write(folder: Path, report: dict[str, Any], markdown: str, measured: Measured | None, judge: Judge) -> None:
    """Fill a new folder with the report, and with pictures and samples of what was drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown, encoding="utf-8")
    if measured is None:
        return
    images = measured.data.images.movedim(1, -1).squeeze(-1).numpy()  # as `text2digit sample` writes them
    np.savez_compressed(folder / "samples.npz", images=images, labels=measured.data.labels.numpy())
    draw_pictures(folder, measured.data, measured.scores[0], judge.training)
    if measured.picture:
        measured.picture.save(folder / "sweeps.png")
    floor = report["sets"][FLOORS["train"]]["mean"]
    for name, entries in measured.sweeps.items():
        draw_sweep(folder / f"quality-{name}.png", name, entries, floor, len(measured.data))
