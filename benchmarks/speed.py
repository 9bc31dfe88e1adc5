"""Speed of our models beside diffusers' of the same size: `make bench`, or `python -m text2digit.benchmarks.speed`.

Each measurement is a process of its own, so that its peak of memory is its own. Every round goes through all systems in
turn, so that a machine that slows down slows them all.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.models.modeling_utils import ModelMixin
from torch.nn import functional as F
from torch.utils.benchmark import Measurement, Timer

from ..config import load_config
from ..data import ImageData
from ..evaluation.page import markdown_table, write_table
from ..models import build_model
from ..pipelines import ClassConditionedDigitPipeline
from ..pipelines.pipeline_digit import Denoiser
from ..runtime import describe_device, describe_software, peak_memory_gib, say
from ..schedulers import DDIMScheduler
from ..shell import Parser, Result, command, number, output, set_up
from ..training.loop import train_step
from ..training.planning import BACKWARD_FACTOR, flops_per_image
from ..training.prepare import assemble_run, make_accelerator
from .study import measure_apart

TRAIN_BATCH = 128
SAMPLE_STEPS, SAMPLE_BATCHES = 10, (1, 100)
ADDED_BATCH = 10  # images of the call whose pipeline is timed: few, as what is not the network then weighs more
SECONDS = 6.0  # of trying, for each figure
RESULTS = Path(__file__).resolve().parent / "results"


def _ours(recipe: str) -> Denoiser:
    config = load_config(recipe)
    return build_model(config.model.type, config.model.options)


def _diffusers_unet() -> ModelMixin:
    """Two levels with attention at the lower one, as ours, on pixels; 1.58 M weights."""
    return diffusers.UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        block_out_channels=(48, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        num_class_embeds=11,
        norm_num_groups=8,
    )


def _diffusers_dit() -> ModelMixin:
    """Four blocks on 49 tokens, as ours; 1.98 M weights."""
    return diffusers.DiTTransformer2DModel(
        sample_size=28,
        patch_size=4,
        in_channels=1,
        out_channels=1,
        num_layers=4,
        num_attention_heads=2,
        attention_head_dim=76,
        num_embeds_ada_norm=10,
        norm_num_groups=8,
    )


RECIPES = {"DigitUNet2DModel": "unet", "DigitDiT2DModel": "dit"}
SYSTEMS: dict[str, Callable[[], ModelMixin]] = {
    "DigitUNet2DModel": lambda: _ours(RECIPES["DigitUNet2DModel"]),
    "diffusers UNet2DModel": _diffusers_unet,
    "DigitDiT2DModel": lambda: _ours(RECIPES["DigitDiT2DModel"]),
    "diffusers DiTTransformer2DModel": _diffusers_dit,
}
FIGURES: dict[str, tuple[str, str | None]] = {  # title and format; none is two digits or more
    "parameters": ("parameters", "{:,.0f}"),
    "mflop": ("MFLOP forward", "{:.1f}"),
    "train": ("training, images/s", None),
    "loop": ("the loop adds", "{:.1%}"),
    "share": ("share of peak", "{:.0%}"),
    "sample_1": ("sampling, images/s, batch 1", None),
    "sample_100": ("batch 100", None),
    "pipeline": ("the pipeline adds", "{:.1%}"),
    "memory_gib": ("memory, GiB", "{:.1f}"),
}


def timed(call: Callable[[], Any], seconds: float) -> Measurement:
    """Times of a call over about so many seconds, after some to warm up, on the threads that are set."""
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=seconds)


def seconds_per_call(call: Callable[[], Any], seconds: float = SECONDS) -> float:
    """Median time of a call."""
    return timed(call, seconds).median


def cost_around(bare: Callable[[], Any], whole: Callable[[], Any], seconds: float = SECONDS) -> float:
    """What a call takes longer than the bare work inside it, as a share of that: the median over pairs.

    The two take turns, so that a machine that slows down slows both.
    """
    shares = []
    pairs = max(3, int(seconds / (seconds_per_call(bare, 0.1) + seconds_per_call(whole, 0.1))))
    for _ in range(pairs):
        started = time.perf_counter()
        bare()
        between = time.perf_counter()
        whole()
        shares.append((time.perf_counter() - between) / (between - started) - 1)
    return statistics.median(shares)


def matmul_peak(size: int = 2048) -> float:
    """The most float32 operations per second that a product of two square matrices reaches."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(timed(lambda: a @ b, 1.0).times)


def training_step(model: ModelMixin) -> Callable[[], None]:
    """Forward, backward and AdamW on one batch of noise: what a model costs without a loop around it."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    x_t, target = torch.randn(2, TRAIN_BATCH, 1, 28, 28)
    timesteps, labels = torch.randint(1000, (TRAIN_BATCH,)), torch.randint(11, (TRAIN_BATCH,))

    def step() -> None:
        F.mse_loss(model(x_t, timesteps, class_labels=labels).sample, target).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def loop_step(recipe: str) -> Callable[[], Any]:
    """The same by our training loop, which also draws the batch, clips, averages the weights and keeps count."""
    settings = (f"training.batch_size={TRAIN_BATCH}", "optim.optimizer=adamw", "training.report_to=none")
    config = load_config(recipe, settings)
    images, labels = torch.randint(256, (2048, 1, 28, 28), dtype=torch.uint8), torch.arange(2048) % 10
    data = ImageData(images, labels, tuple(map(str, range(10))))
    run = assemble_run(config, make_accelerator(config), data, data)
    run.model.train()
    return lambda: train_step(run)


def guided_forward(model: ModelMixin, batch: int) -> Callable[[], None]:
    """The forward of one step with guidance: two predictions in one call, nothing else."""
    model.eval()
    x_t, labels = torch.randn(2 * batch, 1, 28, 28), torch.randint(10, (2 * batch,))
    timesteps = torch.full((2 * batch,), 500)

    @torch.no_grad()
    def predict() -> None:
        model(x_t, timesteps, class_labels=labels)

    return predict


def pipeline_call(model: Denoiser, batch: int) -> Callable[[], Any]:
    """Ten such steps by our pipeline, from noise to images."""
    pipeline = ClassConditionedDigitPipeline(model.eval(), DDIMScheduler(prediction_type="v_prediction"))
    pipeline.set_progress_bar_config(disable=True)
    labels = [i % 10 for i in range(batch)]
    return lambda: pipeline(labels, num_inference_steps=SAMPLE_STEPS, guidance_scale=2.0, output_type="pt", generator=0)


def overheads(name: str, model: Denoiser) -> dict[str, float]:
    """What our training loop and our pipeline take longer than the network inside them."""
    predict = guided_forward(model, ADDED_BATCH)

    def steps() -> None:
        for _ in range(SAMPLE_STEPS):
            predict()

    pipeline = cost_around(steps, pipeline_call(model, ADDED_BATCH))
    return {"pipeline": pipeline, "loop": cost_around(training_step(model), loop_step(RECIPES[name]))}


def measure(name: str) -> dict[str, float | None]:
    """All figures of one system, in this process."""
    peak, model = matmul_peak(), SYSTEMS[name]()
    flops = flops_per_image(model)
    train = TRAIN_BATCH / seconds_per_call(training_step(model))
    steps = {n: SAMPLE_STEPS * seconds_per_call(guided_forward(model, n)) for n in SAMPLE_BATCHES}
    samples = {f"sample_{n}": n / seconds for n, seconds in steps.items()}
    memory = peak_memory_gib(torch.device("cpu"))
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "mflop": flops / 1e6,
        "matmul_gflops": peak / 1e9,
        "train": train,
        "share": (1 + BACKWARD_FACTOR) * flops * train / peak,
        **samples,
        "memory_gib": memory,
        **(overheads(name, model) if isinstance(model, Denoiser) else {"pipeline": None, "loop": None}),
    }


def summarise(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Median, least and most of each figure over the rounds."""
    summary = {}
    for key in rounds[0]:
        values = [each[key] for each in rounds]
        if values[0] is not None:
            summary[key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return summary


def table(report: dict[str, Any]) -> str:
    """The figures as Markdown: median (least to most). One that an older report has of no system is left out."""
    known = [key for key in FIGURES if any(key in figures for figures in report["systems"].values())]
    rows = [
        (f"`{name}`", *(_cell(key, figures.get(key)) for key in known)) for name, figures in report["systems"].items()
    ]
    machine = report["machine"]
    note = (
        f"{report['date'][:10]}, {machine['device']}, torch {machine['versions']['torch']}, diffusers "
        f"{machine['versions']['diffusers']}; matrix multiplication reaches {report['matmul_gflops']:.0f} GFLOP/s; "
        f"training at batch {TRAIN_BATCH}, sampling {SAMPLE_STEPS} steps with guidance; median of {report['rounds']} "
        "rounds (least to most)."
    )
    return markdown_table(("system", *(FIGURES[key][0] for key in known)), rows) + f"\n{note}\n"


def _cell(key: str, figure: dict[str, float] | None) -> str:
    if figure is None:
        return "–"
    form = FIGURES[key][1]
    median, low, high = (
        (form or ("{:.0f}" if figure[which] >= 20 else "{:.1f}")).format(figure[which])
        for which in ("median", "min", "max")
    )
    return median if low == high else f"{median} ({low} to {high})"


def run_rounds(rounds: int, threads: int) -> dict[str, Any]:
    """Measure every system in every round."""
    found: dict[str, list] = {name: [] for name in SYSTEMS}
    for index in range(rounds):
        for name in SYSTEMS:
            found[name].append(measure_apart("text2digit.benchmarks.speed", name, "--threads", str(threads)))
            say(f"round {index + 1}/{rounds}  {name}: {found[name][-1]['train']:.0f} images/s in training")
    torch.set_num_threads(threads)
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {"device": describe_device(torch.device("cpu")), **describe_software()},
        "rounds": rounds,
        "matmul_gflops": statistics.median(each["matmul_gflops"] for many in found.values() for each in many),
        "systems": {name: summarise(many) for name, many in found.items()},
    }


def measure_all(arguments: argparse.Namespace) -> Result:
    """Measure all rounds, and write the report and the table."""
    if arguments.measure:
        set_up()
        torch.set_num_threads(arguments.threads)
        return Result(json.dumps(measure(arguments.measure)))
    report = run_rounds(arguments.rounds, arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"speed-{report['date'][:10]}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if arguments.readme:
        write_table("speed", table(report), arguments.readme)
    return Result(f"{table(report)}\n{path}")


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("--out", type=output(is_folder=True), default=str(RESULTS), help="folder of speed-DATE.json (%(default)s)")
    add("--readme", type=output(".md"), help="a page whose table is written anew")
    add("--rounds", type=number(int, 1), default=3, help="how often each system is measured (%(default)s)")
    add("--threads", type=number(int, 1), default=torch.get_num_threads(), help="of the CPU (%(default)s)")
    add("--measure", choices=SYSTEMS, help="measure this system in this process, and print JSON")


main = command("python -m text2digit.benchmarks.speed", __doc__, flags, measure_all)

if __name__ == "__main__":
    sys.exit(main())
