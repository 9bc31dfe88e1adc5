"""Measure digits: `text2digit evaluate --model unet-mnist`, `--samples FILE.npz`, or `--real` for the floors alone.

Writes report.json, report.md and pictures into a folder. Whatever is measured stands beside real digits in its place:
"real, held out" are training digits that neither the reference nor the classifier has seen, "real, test" the test set.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.utils import logging

from ..config import DataConfig
from ..data import ImageData, cache_folder
from ..pipelines import DigitPipeline
from ..pipelines.drawing import draw_images
from ..pipelines.images import to_bytes
from ..pipelines.loading import find_pipeline_folder
from ..pipelines.samplers import SCHEDULERS, make_scheduler, replace_scheduler
from ..runtime import (
    check_processes,
    describe_device,
    describe_software,
    keep_freed_memory,
    process_index,
    start_missing_processes,
    use_all_cores,
)
from .classifier import CLASSIFIER_FOLDER, pipeline_identity, sha256
from .judge import Judge, Scores, even_labels, evenly
from .prompts import RealStrokes, measure_prompts, prompts_to_markdown, sweep_picture
from .report import draw_pictures, draw_sweep, summarise, sweep_table, table, write_report
from .train_classifier import EPOCHS, accuracy, train_classifier

# Image i of seed s is drawn from generator s * SEED_STRIDE + i: no two seeds share an image.
SEED_STRIDE = 1_000_003
NUM = 10_000
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


def make_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="text2digit evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", help="a folder, shipped weights, or user/name on the Hub")
    what.add_argument("--samples", type=Path, help="FILE.npz of text2digit sample: images uint8, labels")
    what.add_argument("--real", action="store_true", help="real digits alone")
    add("--num", type=int, help=f"images of a seed, evenly over the classes ({NUM}; of a file, all)")
    add("--seeds", type=int, nargs="+", help=f"image i of seed s is seeded s * {SEED_STRIDE} + i (0)")
    add("--steps", type=int, help="denoising steps (the model's default)")
    add("--guidance-scale", "--guidance_scale", type=float, help="1 is off (the model's default)")
    add("--guidance-interval", "--guidance_interval", type=float, nargs=2, metavar=("START", "END"),
        help="fractions of the steps between which guidance is on (the model's default)")  # fmt: skip
    add("--scheduler", help=f"{', '.join(SCHEDULERS)} (the model's own)")
    add("--sweep-steps", "--sweep_steps", type=int, nargs="+", default=[], help="measure at these too, by seed one")
    add("--sweep-scheduler", "--sweep_scheduler", nargs="+", default=[], help="--sweep-steps by each of these")
    add("--sweep-guidance", "--sweep_guidance", type=float, nargs="+", default=[], help="and at these scales")
    add("--accuracy-score", "--accuracy_score", action="store_true", help="train a classifier on what was drawn, too")
    add("--dataset", default="mnist", help="real images, as in training (%(default)s)")
    add("--data-dir", "--data_dir", help="as in training")
    add("--classifier", type=Path, default=CLASSIFIER_FOLDER, help="folder of another classifier")
    add("--out", type=Path, default=Path("runs/evaluate"), help="folder of the report (%(default)s)")
    return parser


def draw(pipeline: Any, inputs: Sequence[int] | Sequence[str], seed: int, **choice: Any) -> torch.Tensor:
    """(N, C, H, W) uint8 images of N classes or prompts, each from a generator of its own (`SEED_STRIDE`).

    Args:
        choice: values of `CHOICE`.
    """
    images = draw_images(
        pipeline,
        inputs,
        seeds=range(seed * SEED_STRIDE, seed * SEED_STRIDE + len(inputs)),
        show_progress=len(inputs) > 1,
        **call_arguments(choice),
    )
    return to_bytes(images)


def call_arguments(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice as the pipelines' arguments, which call the steps otherwise."""
    return {"num_inference_steps" if name == "steps" else name: choice[name] for name in CHOICE}


def class_name(scheduler: Any) -> str:
    """Such as "diffusers.UniPCMultistepScheduler", which is told from ours of a like name."""
    return f"{type(scheduler).__module__.split('.')[0]}.{type(scheduler).__name__}"


def spacing(scheduler: Any) -> str | None:
    """Which timesteps it visits, by name."""
    name: str | None = scheduler.config.get("timestep_spacing")
    return name


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
    folder = find_pipeline_folder(arguments.model, {})
    pipeline = DigitPipeline.from_pretrained(folder).to(Accelerator().device)
    pipeline.set_progress_bar_config(disable=True)
    if arguments.scheduler:
        replace_scheduler(pipeline, arguments.scheduler)
    config, scale, interval = pipeline.config, arguments.guidance_scale, arguments.guidance_interval
    settings = {
        "model": arguments.model,
        **pipeline_identity(folder),
        "scheduler": class_name(pipeline.scheduler),
        "timestep_spacing": spacing(pipeline.scheduler),
        "steps": arguments.steps or config.default_num_inference_steps,
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
        by = {"scheduler": class_name(swept.scheduler), "timestep_spacing": spacing(swept.scheduler)}
        entry = {**by, **choice, **found}
        measured.sweeps.setdefault(name, []).append(entry)
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
        ValueError, FileNotFoundError: no such file, or not what it should hold.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--samples: no file {path}; text2digit sample -o {path.name} writes one.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
        images = images[:, None] if images.ndim == 3 else images.movedim(-1, 1)
    except Exception as error:  # zipfile, pickle and key errors, as the file pleases
        raise ValueError(f"--samples: {path} is no .npz with images and labels ({error}).") from error
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


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be done, before anything is loaded.

    Raises:
        ValueError: with what was expected.
    """
    num, seeds = arguments.num, arguments.seeds or [0]
    if num is not None and not 20 <= num < SEED_STRIDE:
        raise ValueError(f"--num: got {num}, expected 20 to {SEED_STRIDE - 1}.")
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"--seeds: got {seeds}, expected different numbers from 0 up.")
    for steps in (arguments.steps, *arguments.sweep_steps):
        if steps is not None and steps < 1:
            raise ValueError(f"--steps: got {steps}, expected 1 or more.")
    for scale in (arguments.guidance_scale, *arguments.sweep_guidance):
        if scale is not None and not math.isfinite(scale):
            raise ValueError(f"--guidance-scale: got {scale}, expected a finite number; 1 is off.")
    if arguments.samples and num is not None:
        raise ValueError("--num: got it with --samples, of which all images are measured.")
    if arguments.sweep_scheduler and not arguments.sweep_steps:
        raise ValueError("--sweep-scheduler: got it without --sweep-steps, the numbers of steps to compare them at.")
    for name in ("seeds", "steps", "guidance_scale", "guidance_interval", "scheduler", "sweep_steps", "sweep_guidance"):
        if not arguments.model and getattr(arguments, name) not in (None, []):
            raise ValueError(f"--{name.replace('_', '-')}: got a value without --model, which alone draws.")
    if arguments.real and arguments.accuracy_score:
        raise ValueError("--accuracy-score: got it with --real, expected --model or --samples to train on.")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError(f"--out: {arguments.out} is a file, expected a folder.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    start_missing_processes()
    arguments = make_parser().parse_args(argv)
    keep_freed_memory()  # before the first tensor
    use_all_cores()
    logging.disable_progress_bar()
    try:
        check_arguments(arguments)
        check_processes(Accelerator().num_processes)
        config = DataConfig(dataset=arguments.dataset, data_dir=arguments.data_dir)
        judge = Judge(config, arguments.classifier, cache_folder("evaluation"))
        measured = None
        if not arguments.real:
            measured = measure_model(arguments, judge) if arguments.model else measure_samples(arguments.samples, judge)
        if process_index() > 0:  # the first process has all images, and writes
            return 0
        num = len(measured.data) if measured else arguments.num or NUM
        report = make_report(measured, judge, num, arguments.accuracy_score)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # Nothing is written before all is measured.
    markdown = to_markdown(report)
    write_report(arguments.out, report, markdown)
    if measured:
        images = measured.data.images.movedim(1, -1).squeeze(-1).numpy()  # as `text2digit sample` writes them
        np.savez_compressed(arguments.out / "samples.npz", images=images, labels=measured.data.labels.numpy())
        draw_pictures(arguments.out, measured.data, measured.scores[0], judge.training)
        if measured.picture:
            measured.picture.save(arguments.out / "sweeps.png")
        floor = report["sets"][FLOORS["train"]]["mean"]
        for name, entries in measured.sweeps.items():
            draw_sweep(arguments.out / f"quality-{name}.png", name, entries, floor, len(measured.data))
    print(
        markdown
        + f"\n{arguments.out}: report.json, report.md"
        + (", pictures and samples.npz, of the first seed" if measured else "")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
