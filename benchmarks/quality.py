"""Quality of recipes at equal compute: `python -m text2digit.benchmarks.quality`.

Every variant is the base recipe with something changed. All may spend the same number of floating-point operations on
training, so a model that is twice as dear takes half the steps, and a busy machine changes nothing. What is drawn by
ten UniPC steps without guidance is then measured: guidance hides what a model has not learned.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import yaml

from ..config import DataConfig, RunConfig, load_config
from ..data import cache_folder, load_dataset
from ..evaluation.judge import Judge, even_labels
from ..evaluation.page import measure_apart, read_results, write_results, write_table
from ..models import build_model
from ..pipelines import DigitPipeline
from ..pipelines.drawing import draw_images
from ..pipelines.images import to_bytes
from ..runtime import describe_software, say
from ..shell import Parser, Result, command, number, output, set_up
from ..training import prepare_run, train
from ..training.planning import BACKWARD_FACTOR, flops_per_image

FOLDER = Path(__file__).resolve().parent
RESULTS, PAGE = FOLDER / "results" / "quality.json", FOLDER / "README.md"
# 9 TFLOP is a quarter of what five minutes on two cores buy; after as little, no transformer draws a digit.
TRAINING_FLOPS = {"UNet": 9e12, "DiT": 27e12}
DRAWN, STEPS = 2000, 10

_FILE = yaml.safe_load((FOLDER / "variants.yaml").read_text(encoding="utf-8"))


def _joined(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes, over those of the parts that they name by "with"."""
    own = dict(changes)
    parts = [_joined(_FILE["parts"][name]) for name in own.pop("with", [])]
    return {key: value for part in (*parts, own) for key, value in part.items()}


# What each variant changes in the recipe of its model's type.
VARIANTS = {name: _joined(changes) for name, changes in _FILE["variants"].items()}


def recipe(variant: str, seed: int, folder: Path) -> tuple[RunConfig, float]:
    """The config of a variant, and the operations that it spends: a whole number of steps within `TRAINING_FLOPS`."""
    changes = VARIANTS[variant]
    name = changes["model.type"].lower()
    quiet = {"training.report_to": "none", "training.preview_steps": 0, "training.checkpointing_steps": 0}
    fixed = {"training.seed": seed, "training.output_dir": str(folder), "data.validation_every": 0, **quiet}
    given = [f"{key}={json.dumps(value)}" for key, value in {**changes, **fixed}.items()]
    config = load_config(name, given)
    flops = (1 + BACKWARD_FACTOR) * flops_per_image(build_model(config.model.type, config.model.options))
    steps = int(TRAINING_FLOPS[config.model.type] / (flops * config.training.batch_size))
    config = load_config(name, [*given, f"training.max_train_steps={steps}"])
    return config, steps * flops * config.training.batch_size


def measure(variant: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train a variant and measure what it draws."""
    config, flops = recipe(variant, seed, folder)
    pipeline, cost = train_timed(config)
    facts = {
        "variant": variant,
        "seed": seed,
        "steps": config.training.max_train_steps,
        "tflop": round(flops / 1e12, 2),
    }
    return {**facts, **cost, **score(pipeline, config.data, 1.0)}


def train_timed(config: RunConfig) -> tuple[DigitPipeline, dict[str, int]]:
    """What a run leaves, and what it took."""
    started = time.perf_counter()
    pipeline = DigitPipeline.from_pretrained(train(prepare_run(config)))
    seconds = round(time.perf_counter() - started)
    return pipeline, {"parameters": sum(p.numel() for p in pipeline.denoiser.parameters()), "seconds": seconds}


def score(pipeline: DigitPipeline, data: DataConfig, guidance_scale: float) -> dict[str, float]:
    """The figures of `DRAWN` digits of `STEPS` steps, always of the same noise."""
    pipeline.set_progress_bar_config(disable=True)
    labels = even_labels(DRAWN, 10)
    images = draw_images(
        pipeline, labels.tolist(), seeds=range(DRAWN), num_inference_steps=STEPS, guidance_scale=guidance_scale
    )
    judge = Judge(data, cache=cache_folder("evaluation"))
    scores = judge.score(to_bytes(images), labels, pixels=False)
    return {name: round(value, 5) for name, value in scores.figures.items()}


def run_missing(variants: Sequence[str], seeds: Sequence[int], jobs: int, path: Path) -> list[dict[str, Any]]:
    """Measure what the file of results has not, `jobs` at a time with one thread each; every result is kept at once."""
    results = read_results(path)
    done = {(each["variant"], each["seed"]) for each in results}

    def measured(task: tuple[str, int]) -> dict[str, Any]:
        return measure_apart("text2digit.benchmarks.quality", task[0], "--seeds", str(task[1]))

    tasks = [(variant, seed) for seed in seeds for variant in variants if (variant, seed) not in done]
    with ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(measured, tasks):
            results.append(result)
            shown = {
                name: result[name] for name in ("variant", "seed", "steps", "seconds", "frechet_distance", "accuracy")
            }
            say(json.dumps(shown))
            write_results(path, {"drawn": DRAWN, "steps": STEPS, **describe_software()}, results)
    return results


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """One line for each variant, the best first: mean over seeds (least to most)."""
    by_variant: dict[str, list[Mapping[str, Any]]] = {}
    for each in results:
        by_variant.setdefault(each["variant"], []).append(each)

    def mean(many: Sequence[Mapping[str, Any]], name: str) -> float:
        return statistics.mean(each[name] for each in many)

    rows = [
        "| variant | parameters | steps | seeds | Fréchet distance | accuracy | recall |",
        "|---|---|---|---|---|---|---|",
    ]
    for variant, many in sorted(by_variant.items(), key=lambda item: mean(item[1], "frechet_distance")):
        distances = [each["frechet_distance"] for each in many]
        spread = f" ({min(distances):.3f} to {max(distances):.3f})" if len(many) > 1 else ""
        rows.append(
            f"| {variant} | {many[0]['parameters']:,} | {many[0]['steps']:,} | {len(many)} | "
            f"{mean(many, 'frechet_distance'):.3f}{spread} | {mean(many, 'accuracy'):.1%} | "
            f"{mean(many, 'recall'):.3f} |"
        )
    return "\n".join(rows) + "\n"


def measured_here(measure: Callable[[str, int, Path], dict[str, Any]], arguments: argparse.Namespace) -> Result:
    """What a training run and its samples are like, for `measure_apart`."""
    set_up()
    with tempfile.TemporaryDirectory() as folder:
        return Result(json.dumps(measure(arguments.measure, arguments.seeds[0], Path(folder) / "run")))


def measure_all(arguments: argparse.Namespace) -> Result:
    """Measure what is missing, and return the table."""
    if arguments.measure:
        torch.set_num_threads(1)
        return measured_here(measure, arguments)
    load_dataset(load_config("unet").data, "train")  # a download, where there is one, before two processes start it
    results = run_missing(arguments.variants, arguments.seeds, arguments.jobs, arguments.out)
    if arguments.out == RESULTS:
        write_table("quality", table(results), PAGE)
    return Result(table(results))


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("--variants", nargs="+", choices=VARIANTS, metavar="NAME", default=list(VARIANTS), help="which (all)")
    add("--seeds", nargs="+", type=number(int, 0), default=[0, 1], help="of weights, order and noise (0 1)")
    add("--jobs", type=number(int, 1), default=2, help="processes of one thread at a time (%(default)s)")
    add("--out", type=output(".json"), default=str(RESULTS), help="results file; new results are appended")
    add("--measure", choices=VARIANTS, metavar="NAME", help="measure this one in this process, and print JSON")


main = command("python -m text2digit.benchmarks.quality", __doc__, flags, measure_all)

if __name__ == "__main__":
    sys.exit(main())
