"""Training runs that are compared: each is measured in a process of its own, and its result is kept at once."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..config import DataConfig, RunConfig
from ..data import cache_folder, load_dataset
from ..evaluation.judge import Judge, even_labels
from ..evaluation.page import write_table
from ..pipelines import DigitPipeline
from ..pipelines.drawing import draw_images
from ..pipelines.images import to_bytes
from ..runtime import describe_device, describe_software, say
from ..shell import Parser, Result, command, number, output, set_up
from ..training import prepare_run, train

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER / "README.md"
DRAWN, STEPS = 2000, 10


def measure_apart(module: str, name: str, *arguments: str) -> dict[str, Any]:
    """Return what `python -m MODULE --measure NAME` prints as JSON: a measurement in a process of its own."""
    call = [sys.executable, "-m", module, "--measure", name, *arguments]
    printed = subprocess.run(call, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    result: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return result


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
        pipeline, labels.tolist(), range(DRAWN), num_inference_steps=STEPS, guidance_scale=guidance_scale
    )
    judge = Judge(data, cache=cache_folder("evaluation"))
    scores = judge.score(to_bytes(images), labels, pixels=False)
    return {name: round(value, 5) for name, value in scores.figures.items()}


@dataclass(frozen=True)
class Study:
    """A command that measures what its file of results has not, and writes the table of its page.

    Attributes:
        name: of its module here, of its file of results, and of the marks of its table, with "-" for "_" in the latter.
        key: what a result calls the thing that was measured.
        names: of the things that can be.
        measure: trains one by a seed, in a folder, and returns its result, which has `key` and "seed".
        table: Markdown of all results.
        jobs: processes at a time.
    """

    name: str
    key: str
    names: Collection[str]
    measure: Callable[[str, int, Path], dict[str, Any]]
    table: Callable[[Sequence[Mapping[str, Any]]], str]
    jobs: int

    @property
    def file(self) -> Path:
        """The results that the page shows."""
        return FOLDER / "results" / f"{self.name.replace('_', '-')}.json"

    def results(self, path: Path) -> list[dict[str, Any]]:
        """What a file has; nothing where there is no file yet."""
        return json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []

    def flags(self, parser: Parser) -> None:
        """Of the command."""
        add = parser.add_argument
        one_of: dict[str, Any] = {"choices": self.names, "metavar": "NAME"}
        add(f"--{self.key}s", dest="names", nargs="+", default=list(self.names), help="which (all)", **one_of)
        add("--seeds", nargs="+", type=number(int, 0), default=[0, 1], help="of weights, order and noise (0 1)")
        add("--jobs", type=number(int, 1), default=self.jobs,
            help="processes at a time, of one thread each where it is more than one (%(default)s)")  # fmt: skip
        add("--out", type=output(".json"), default=str(self.file), help="results file; new results are appended")
        add("--measure", help="measure this one in this process, and print JSON", **one_of)

    def run(self, arguments: argparse.Namespace) -> Result:
        """Measure what is missing, and return the table."""
        if arguments.measure:
            set_up()
            if arguments.jobs > 1:
                torch.set_num_threads(1)
            with tempfile.TemporaryDirectory() as folder:
                return Result(json.dumps(self.measure(arguments.measure, arguments.seeds[0], Path(folder) / "run")))
        load_dataset(DataConfig(), "train")  # a download, where there is one, before two processes start it
        results = self.results(arguments.out)
        done = {(each[self.key], each["seed"]) for each in results}
        tasks = [(n, seed) for seed in arguments.seeds for n in arguments.names if (n, seed) not in done]

        def measured(task: tuple[str, int]) -> dict[str, Any]:
            settings = ("--seeds", str(task[1]), "--jobs", str(arguments.jobs))
            return measure_apart(f"text2digit.benchmarks.{self.name}", task[0], *settings)

        facts = {"drawn": DRAWN, "steps": STEPS, "device": describe_device(torch.device("cpu")), **describe_software()}
        with ThreadPoolExecutor(arguments.jobs) as pool:
            for result in pool.map(measured, tasks):
                say(json.dumps(result))
                results.append(result)
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(json.dumps({**facts, "results": results}, indent=1) + "\n", encoding="utf-8")
        if arguments.out == self.file:
            write_table(self.file.stem, self.table(results), PAGE)
        return Result(self.table(results))

    def command(self, description: str | None) -> Callable[..., int]:
        """The `main` of the module."""
        return command(f"python -m text2digit.benchmarks.{self.name}", description, self.flags, self.run)
