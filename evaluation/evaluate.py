"""Measure digits: `text2digit evaluate --model unet-mnist`, `--samples FILE.npz`, or `--real` for the floors alone.

Writes report.json, report.md and pictures into a folder. Whatever is measured stands beside real digits in its place:
"real, held out" are training digits that neither the reference nor the classifier has seen, "real, test" the test set.
"""

import argparse
import shlex
from pathlib import Path

from ..config import DataConfig
from ..pipelines.loading import find_pipeline_folder
from ..runtime import check_processes, process_index, say
from ..schedulers import SCHEDULERS
from ..shell import Parser, Result, command, number, output, set_up, whole
from . import NUM, SEED_STRIDE


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", help="a folder, shipped weights, or user/name on the Hub")
    what.add_argument("--samples", type=Path, help="FILE.npz of text2digit sample: images uint8, labels")
    what.add_argument("--real", action="store_true", help="real digits alone")
    add(
        "--num",
        type=number(int, 20, SEED_STRIDE - 1),
        help=f"images of a seed, evenly over the classes ({NUM}; of a file, all)",
    )
    add("--seeds", type=number(int, 0), nargs="+", help=f"image i of seed s is seeded s * {SEED_STRIDE} + i (0)")
    add(
        "--steps",
        dest="num_inference_steps",
        type=number(int, 1),
        metavar="N",
        help="denoising steps (the model's default)",
    )
    add("--guidance-scale", type=number(), help="1 is off (the model's default)")
    add("--guidance-interval", type=number(float, 0, 1), nargs=2, metavar=("START", "END"),
        help="fractions of the steps between which guidance is on (the model's default)")  # fmt: skip
    add("--scheduler", choices=SCHEDULERS, metavar="NAME", help=f"{', '.join(SCHEDULERS)} (the model's own)")
    add("--sweep-steps", type=number(int, 1), nargs="+", default=[], help="measure at these too, by seed one")
    add(
        "--sweep-scheduler",
        choices=SCHEDULERS,
        metavar="NAME",
        nargs="+",
        default=[],
        help="--sweep-steps by each of these",
    )
    add("--sweep-guidance", type=number(), nargs="+", default=[], help="and at these scales")
    add("--accuracy-score", action="store_true", help="train a classifier on what was drawn, too")
    add("--dataset", default="mnist", help="real images, as in training (%(default)s)")
    add("--data-dir", help="as in training")
    add("--classifier", type=Path, help="folder of another classifier")
    add("--out", type=output(is_folder=True), default="runs/evaluate", help="folder of the report (%(default)s)")


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be done, before anything is loaded.

    Raises:
        ValueError: with what was expected.
    """
    if len(set(arguments.seeds or [])) < len(arguments.seeds or []):
        raise ValueError(f"seeds: got {arguments.seeds}, expected different numbers from 0 up.")
    if arguments.samples and not arguments.samples.is_file():
        file = arguments.samples
        raise FileNotFoundError(f"samples: no file {file}; text2digit sample -o {shlex.quote(file.name)} writes one.")
    if arguments.samples and arguments.num is not None:
        raise ValueError("num: got it with --samples, of which all images are measured.")
    if arguments.sweep_scheduler and not arguments.sweep_steps:
        raise ValueError("sweep_scheduler: got it without --sweep-steps, the numbers of steps to compare them at.")
    drawing = ("seeds", "num_inference_steps", "guidance_scale", "guidance_interval", "scheduler")
    for name in (*drawing, "sweep_steps", "sweep_guidance"):
        if not arguments.model and getattr(arguments, name) not in (None, []):
            raise ValueError(f"{name}: got a value without --model, which alone draws.")
    if arguments.real and arguments.accuracy_score:
        raise ValueError("accuracy_score: got it with --real, expected --model or --samples to train on.")


def evaluate(arguments: argparse.Namespace) -> Result | None:
    """Measure, and write the report when all is measured."""
    check_arguments(arguments)
    config = DataConfig(dataset=arguments.dataset, data_dir=arguments.data_dir)
    if arguments.model:
        find_pipeline_folder(arguments.model)
    set_up()
    from accelerate import Accelerator

    from ..data import cache_folder
    from .classifier import CLASSIFIER_FOLDER
    from .judge import Judge
    from .measure import make_report, measure_model, measure_samples, to_markdown, write

    check_processes(Accelerator().num_processes)
    judge = Judge(config, arguments.classifier or CLASSIFIER_FOLDER, cache_folder("evaluation"))
    measured = None
    if not arguments.real:
        measured = measure_model(arguments, judge) if arguments.model else measure_samples(arguments.samples, judge)
    if process_index() > 0:  # the first process has all images, and writes
        return None
    num = len(measured.data) if measured else arguments.num or NUM
    report = make_report(measured, judge, num, arguments.accuracy_score)
    markdown = to_markdown(report)
    with whole(arguments.out) as folder:
        write(folder, report, markdown, measured, judge)
    more = ", pictures and samples.npz, of the first seed" if measured else ""
    say(f"{arguments.out}: report.json, report.md{more}")
    return Result(markdown, report)


main = command("text2digit evaluate", __doc__, flags, evaluate, has_json=True)
