"""Quality of recipes at equal compute: `python -m text2digit.benchmarks.quality`.

Every variant is the base recipe with something changed. All may spend the same number of floating-point operations on
training, so a model that is twice as dear takes half the steps, and a busy machine changes nothing. What is drawn by
ten UniPC steps without guidance is then measured: guidance hides what a model has not learned.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from ..config import DataConfig, RunConfig, load_config
from ..data import load_dataset
from ..evaluation.judge import Judge, cache_folder, even_labels
from ..models import build_model
from ..pipelines import DigitPipeline
from ..pipelines.drawing import draw_images
from ..pipelines.images import to_bytes
from ..runtime import describe_software, keep_freed_memory
from ..training import prepare_run, train
from ..training.planning import BACKWARD_FACTOR, flops_per_image
from .page import read_results, write_results, write_table

RESULTS = Path(__file__).resolve().parent / "results" / "quality.json"
# 9 TFLOP is a quarter of what five minutes on two cores buy; after as little, no transformer draws a digit.
TRAINING_FLOPS = {"UNet": 9e12, "DiT": 27e12}
DRAWN, STEPS = 2000, 10

# What all have in common. Averages are as long as the run allows: an exponential one would be tuned to one length.
BASE = {
    "model.type": "UNet",
    "model.block_out_channels": "[32, 64]",
    "model.attention_levels": "[false, true]",
    "model.class_channels": "null",
    "scheduler.beta_schedule": "squaredcos_cap_v2",
    "scheduler.prediction_type": "v_prediction",
    "optim.optimizer": "adamw",
    "objective.timesteps": "uniform",
    "objective.logit_mean": "0",
    "objective.uniform_share": "0",
    "training.batch_size": "64",
    "optim.lr": "2e-3",
    "optim.warmup_steps": "50",
    "optim.ema": "power",
    "optim.ema_sigma_rels": "[0.1, 0.05]",
    "training.guidance_scale": "1.0",
    "training.sampler": "unipc",
}
_DIT = {
    "model.type": "DiT",
    "model.block_out_channels": None,
    "model.attention_levels": None,
    "model.num_layers": "6",
    "model.num_attention_heads": "4",
    "model.attention_head_dim": "32",
    "model.conv_kernel_size": "null",
}
_WIDE = {**_DIT, "model.num_layers": "4", "model.num_attention_heads": "2", "model.attention_head_dim": "80"}
_FLOW = {"scheduler.beta_schedule": "flow", "scheduler.prediction_type": "flow_prediction"}
_MUON = {**_FLOW, "optim.optimizer": "muon"}
# Noisier than uniform times: at the median, the noise is 2.2 times the signal.
_NOISY = {**_MUON, "objective.timesteps": "logit_normal", "objective.logit_mean": "0.8"}
# The best of the UNets that differ from the base in the objective and the optimizer alone.
_BEST = {**_NOISY, "optim.lr": "4e-3"}
_SAMPLE = {**_BEST, "scheduler.prediction_type": "sample"}
_NEAR = {"model.conv_kernel_size": "3"}
_FAST = {**_WIDE, **_NOISY, **_NEAR, "optim.lr": "8e-3"}
VARIANTS: dict[str, dict[str, str | None]] = {
    "base": {},
    # Size and shape.
    "width 24, 48": {"model.block_out_channels": "[24, 48]", "model.attention_head_dim": "24"},
    "width 48, 96": {"model.block_out_channels": "[48, 96]"},
    "width 32, 96": {"model.block_out_channels": "[32, 96]"},
    "two blocks a level": {"model.layers_per_block": "2"},
    "pixels, three levels": {
        "model.patch_size": "1",
        "model.block_out_channels": "[16, 32, 64]",
        "model.attention_levels": "[false, false, true]",
    },
    "patches of 4": {"model.patch_size": "4", "model.block_out_channels": "[64, 96]"},
    "attention in the middle alone": {"model.attention_levels": "[false, false]"},
    "attention at both levels": {"model.attention_levels": "[true, true]"},
    "DiT, 6 x 128, v": {**_DIT},
    "DiT, 6 x 128": {**_DIT, **_FLOW},
    "DiT, 6 x 128, learning rate 1e-3": {**_DIT, **_FLOW, "optim.lr": "1e-3"},
    "DiT, 6 x 128, Muon": {**_DIT, **_MUON},
    "DiT, 6 x 128, Muon, noisy times": {**_DIT, **_NOISY},
    "DiT, 6 x 128, Muon, noisy times, learning rate 4e-3": {**_DIT, **_NOISY, "optim.lr": "4e-3"},
    "DiT, 6 x 128, neighbours, Muon, noisy times": {**_DIT, **_NOISY, **_NEAR},
    "DiT, 6 x 128, neighbours, Muon, noisy times, learning rate 4e-3": {**_DIT, **_NOISY, **_NEAR, "optim.lr": "4e-3"},
    "DiT, 4 x 160, neighbours, Muon, noisy times, learning rate 4e-3": {**_WIDE, **_NOISY, **_NEAR, "optim.lr": "4e-3"},
    "DiT, 4 x 160, the same at 8e-3": {**_FAST},
    "DiT, 4 x 160, the same at 8e-3, an image for each class": {**_FAST, "model.class_channels": "1"},
    "DiT, 4 x 160, the same at 8e-3, prediction of the sample": {**_FAST, "scheduler.prediction_type": "sample"},
    # Optimizer.
    "batch 32": {"training.batch_size": "32"},
    "batch 128": {"training.batch_size": "128"},
    "learning rate 1e-3": {"optim.lr": "1e-3"},
    "learning rate 4e-3": {"optim.lr": "4e-3"},
    "Muon": {"optim.optimizer": "muon"},
    "linear decay": {"optim.decay": "linear"},
    "dropout 0.1": {"model.dropout": "0.1"},
    # Objective.
    "epsilon": {"scheduler.prediction_type": "epsilon", "scheduler.rescale_betas_zero_snr": "false"},
    "sample": {"scheduler.prediction_type": "sample"},
    "flow": {**_FLOW},
    "flow, logit-normal times": {**_FLOW, "objective.timesteps": "logit_normal"},
    "flow, batch 32": {**_FLOW, "training.batch_size": "32"},
    "flow, batch 32, learning rate 4e-3": {**_FLOW, "training.batch_size": "32", "optim.lr": "4e-3"},
    "flow, batch 16": {**_FLOW, "training.batch_size": "16"},
    "flow, batch 32, attention in the middle alone": {
        **_FLOW,
        "training.batch_size": "32",
        "model.attention_levels": "[false, false]",
    },
    "flow, Muon": {**_MUON},
    "flow, Muon, learning rate 4e-3": {**_MUON, "optim.lr": "4e-3"},
    "flow, Muon, batch 32": {**_MUON, "training.batch_size": "32"},
    "flow, Muon, linear decay": {**_MUON, "optim.decay": "linear"},
    "flow, Muon, logit-normal times": {**_MUON, "objective.timesteps": "logit_normal"},
    "flow, Muon, noisy times": {**_NOISY},
    "flow, Muon, noisier times": {**_NOISY, "objective.logit_mean": "1.2"},
    "flow, Muon, noisy times, less spread": {**_NOISY, "objective.logit_std": "0.7"},
    "flow, Muon, noisy times, more spread": {**_NOISY, "objective.logit_std": "1.4"},
    "flow, Muon, noisy times, batch 32": {**_NOISY, "training.batch_size": "32"},
    "best": {**_BEST},
    "flow, Muon, noisy times, attention in the middle alone": {**_NOISY, "model.attention_levels": "[false, false]"},
    "flow, Muon, noisy times, width 48, 96": {**_NOISY, "model.block_out_channels": "[48, 96]"},
    "Muon, noisy times": {
        "optim.optimizer": "muon",
        "objective.timesteps": "logit_normal",
        "objective.logit_mean": "1",  # about as noisy, on this schedule, as 0.8 is on a flow
    },
    "flow, Muon, attention in the middle alone": {**_MUON, "model.attention_levels": "[false, false]"},
    "flow, Muon, width 64, 96, attention in the middle alone": {
        **_MUON,
        "model.block_out_channels": "[64, 96]",
        "model.attention_levels": "[false, false]",
    },
    "flow, attention in the middle alone": {**_FLOW, "model.attention_levels": "[false, false]"},
    "flow, prediction of the sample": {**_FLOW, "scheduler.prediction_type": "sample"},
    "stratified times": {"objective.timesteps": "stratified"},
    "logit-normal times": {"objective.timesteps": "logit_normal"},
    "min-SNR weight": {"objective.weighting": "min_snr"},
    "sigmoid weight": {"objective.weighting": "sigmoid"},
    "label dropout 0.2": {"training.label_dropout": "0.2"},
    # One change more.
    "best, an image for each class": {**_BEST, "model.class_channels": "1"},
    "best, an image of two channels for each class": {**_BEST, "model.class_channels": "2"},
    "best, a fifth uniform": {**_BEST, "objective.uniform_share": "0.2"},
    "best, two blocks a level": {**_BEST, "model.layers_per_block": "2"},
    "best, attention at both levels": {**_BEST, "model.attention_levels": "[true, true]"},
    "best, patches of 4": {**_BEST, "model.patch_size": "4", "model.block_out_channels": "[64, 96]"},
    "best, prediction of the sample": {**_SAMPLE},
    "best, prediction of the sample, an image for each class": {**_SAMPLE, "model.class_channels": "1"},
    "best, prediction of the sample, less noisy times": {**_SAMPLE, "objective.logit_mean": "0.4"},
    "best, learning rate 8e-3": {**_BEST, "optim.lr": "8e-3"},
    "best, average half as long": {**_BEST, "optim.ema_sigma_rels": "[0.05, 0.1]"},
    "best, average twice as long": {**_BEST, "optim.ema_sigma_rels": "[0.2, 0.1]"},
    "best, dropout 0.1": {**_BEST, "model.dropout": "0.1"},
    "best, label dropout 0.2": {**_BEST, "training.label_dropout": "0.2"},
    "best, label dropout 0.05": {**_BEST, "training.label_dropout": "0.05"},
}


def recipe(variant: str, seed: int, folder: Path) -> tuple[RunConfig, float]:
    """The config of a variant, and the operations that it spends: a whole number of steps within `TRAINING_FLOPS`."""
    changes: Mapping[str, str | None] = {**BASE, **VARIANTS[variant]}
    fixed = {
        "training.seed": str(seed),
        "training.output_dir": str(folder),
        "training.report_to": "none",
        "data.validation_every": "0",
        "training.max_train_steps": "1",
        "training.preview_steps": "1000000",
        "training.checkpointing_steps": "1000000",
    }
    given = [f"{key}={value}" for key, value in {**changes, **fixed}.items() if value is not None]
    config = load_config(str(changes["model.type"]).lower(), given)
    flops = (1 + BACKWARD_FACTOR) * flops_per_image(build_model(config.model.type, config.model.options))
    steps = int(TRAINING_FLOPS[config.model.type] / (flops * config.training.batch_size))
    config = load_config(str(changes["model.type"]).lower(), [*given, f"training.max_train_steps={steps}"])
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
    judge = Judge(data, cache=cache_folder())
    scores = judge.score(to_bytes(images), labels, pixels=False)
    return {name: round(value, 5) for name, value in scores.figures.items()}


def run_missing(variants: Sequence[str], seeds: Sequence[int], jobs: int, path: Path) -> list[dict[str, Any]]:
    """Measure what the file of results has not, `jobs` at a time with one thread each; every result is kept at once."""
    results = read_results(path)
    done = {(each["variant"], each["seed"]) for each in results}

    def run(task: tuple[str, int]) -> dict[str, Any]:
        command = [sys.executable, "-m", "text2digit.benchmarks.quality", "--measure", task[0], "--seeds", str(task[1])]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(output.splitlines()[-1])

    tasks = [(variant, seed) for seed in seeds for variant in variants if (variant, seed) not in done]
    with ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(run, tasks):
            results.append(result)
            shown = {
                name: result[name] for name in ("variant", "seed", "steps", "seconds", "frechet_distance", "accuracy")
            }
            print(json.dumps(shown), flush=True)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m text2digit.benchmarks.quality", description=__doc__)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="which (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="of weights, order and noise (0 1)")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread at a time (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of results, which is gone on with")
    parser.add_argument("--measure", choices=VARIANTS, help="measure this one in this process, and print JSON")
    arguments = parser.parse_args(argv)
    if arguments.measure:
        keep_freed_memory()  # before the first tensor
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(arguments.measure, arguments.seeds[0], Path(folder) / "run")))
        return 0
    load_dataset(load_config("unet").data, "train")  # a download, where there is one, before two processes start it
    results = run_missing(arguments.variants, arguments.seeds, arguments.jobs, arguments.out)
    if arguments.out == RESULTS:
        write_table("quality", table(results))
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
