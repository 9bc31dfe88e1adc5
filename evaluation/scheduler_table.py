"""Which schedulers sample our digits: `python -m text2digit.evaluation.scheduler_table --readme schedulers/README.md`.

Every scheduler of diffusers that imports here, and ours, with each model and number of steps; a cell is the share of
images in which the classifier that ships sees the requested class.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from tqdm.auto import tqdm

from .. import schedulers
from ..pipelines import DigitPipeline
from ..pipelines.drawing import draw_images
from ..pipelines.foreign import foreign_scheduler
from ..pipelines.images import to_bytes
from ..shell import Parser, Result, command, number, output, set_up
from .classifier import classify, load_classifier
from .page import markdown_table, write_table

MODELS = ("unet-mnist", "dit-mnist")
STEPS = (1, 3, 7, 10, 25)
COUNT = 100
DRAWS = 95  # right images of COUNT that every model needs at the last number of steps, or the scheduler is refused


def candidates() -> dict[str, Any]:
    """Return the schedulers' classes by the names of the table: ours, then those of diffusers."""
    theirs = [getattr(diffusers, name, None) for name in sorted(dir(diffusers)) if name.endswith("Scheduler")]
    kept = [c for c in theirs if isinstance(c, type) and issubclass(c, SchedulerMixin)]
    ours = {f"ours: {name}": getattr(schedulers, name) for name in schedulers.__all__}
    return {**ours, **{c.__name__: c for c in kept}}


def cell(pipeline: Any, scheduler_class: Any, config: Any, steps: int) -> int | str:
    """Return how many of `COUNT` images are of the requested class, or why there are none."""
    labels = [i % 10 for i in range(COUNT)]
    try:
        if not scheduler_class.__module__.startswith("text2digit."):
            # A class of its own, for a pipeline refuses those of diffusers that this table does not have.
            own = type(scheduler_class.__name__, (scheduler_class,), {"__module__": __name__})
            pipeline.scheduler = foreign_scheduler(own, config)
        else:
            pipeline.scheduler = scheduler_class.from_config(config)
        images = draw_images(pipeline, labels, range(COUNT), num_inference_steps=steps)
    except Exception as error:  # whatever somebody else's class does, the table goes on
        return f"{type(error).__name__}: {error}"[:120]
    guesses = classify(load_classifier(), to_bytes(images)).logits.argmax(dim=1)
    return int((guesses == torch.tensor(labels)).sum())


def measure(models: Sequence[str], steps: Sequence[int]) -> dict[str, dict[str, list[int | str]]]:
    """Return {scheduler: {model: cells}}."""
    rows: dict[str, dict[str, list[int | str]]] = {}
    for model in models:
        pipeline = DigitPipeline.from_pretrained(model)
        pipeline.set_progress_bar_config(disable=True)
        config = pipeline.scheduler.config
        for name, scheduler_class in tqdm(candidates().items(), desc=model, disable=None):
            rows.setdefault(name, {})[model] = [cell(pipeline, scheduler_class, config, n) for n in steps]
    return rows


def accepted(by_model: dict[str, list[int | str]]) -> bool:
    """Whether a row's last cells are good enough."""
    last = [cells[-1] for cells in by_model.values()]
    return all(isinstance(found, int) and found >= DRAWS for found in last)


def markdown(rows: dict[str, dict[str, list[int | str]]], steps: Sequence[int]) -> str:
    """Return the table of the schedulers that pipelines take, and the names of the others."""
    models = list(next(iter(rows.values())))
    head = ("scheduler", *(f"{model}, {n}" for model in models for n in steps))
    table = [
        (name.removesuffix("Scheduler"), *(x if isinstance(x, int) else "–" for model in models for x in row[model]))
        for name, row in rows.items()
        if accepted(row)
    ]
    others = ", ".join(f"`{name}`" for name in rows if not accepted(rows[name]))
    refused = f"Refused, with fewer than {DRAWS} at {steps[-1]} steps or none: {others}.\n"
    return f"{markdown_table(head, table)}\n{refused}"


def write(arguments: argparse.Namespace) -> Result:
    """Measure, and write the report and the table."""
    set_up()
    rows = measure(arguments.models, arguments.steps)
    report = {"images": COUNT, "steps": arguments.steps, "diffusers": diffusers.__version__, "rows": rows}
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    table = markdown(rows, arguments.steps)
    if arguments.readme:
        write_table("schedulers", table, arguments.readme)
    return Result(table)


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("--out", type=output(".json"), default="scheduler_table.json", help="report (%(default)s)")
    add("--models", nargs="+", default=MODELS, help="shipped weights (%(default)s)")
    add("--steps", nargs="+", type=number(int, 1), default=STEPS, help="denoising steps (%(default)s)")
    add("--readme", type=output(".md"), help="page to write the table into, between its marks")


main = command("python -m text2digit.evaluation.scheduler_table", __doc__, flags, write)

if __name__ == "__main__":
    sys.exit(main())
