"""`--preset five-minutes` beside a plain recipe: `python -m text2digit.benchmarks.five_minutes`.

The plain one is what one would write down in an afternoon: a UNet of the same size, rectified flow, AdamW at a constant
1e-3, no average of the weights, ten steps of Euler's method; it may train for a third longer. What the file of results
has is not measured again; remove it to begin anew.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..config import load_config
from ..evaluation.page import markdown_table
from .study import Study, score, train_timed

SCALES = (1.0, 1.25, 1.5)
PLAIN = (
    "model.block_out_channels=[32, 64]",
    "model.attention_levels=[false, true]",
    "scheduler.beta_schedule=flow",
    "scheduler.prediction_type=flow_prediction",
    "objective.timesteps=uniform",
    "optim.optimizer=adamw",
    "optim.lr=1e-3",
    "optim.warmup_steps=0",
    "optim.decay=constant",
    "optim.ema=exponential",
    "optim.ema_decay=0",
    "training.sampler=ddim",
    "training.batch_size=128",
    "training.max_train_steps=1100",
)
SYSTEMS = {"five-minutes": ("five-minutes", ()), "plain": ("unet", PLAIN)}
QUIET = ("training.report_to=none", "training.preview_steps=100000", "training.validation_steps=100000")


def measure(system: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train one and measure what it draws, at each scale of guidance."""
    recipe, changes = SYSTEMS[system]
    own = (f"training.seed={seed}", f"training.output_dir={folder}", "training.quality_images=0")
    config = load_config(recipe, [*changes, *QUIET, *own])
    pipeline, cost = train_timed(config)
    return {
        "system": system,
        "seed": seed,
        "images": config.training.batch_size * (config.training.max_train_steps or 0),
        "threads": torch.get_num_threads(),
        **cost,
        "by_guidance": {str(scale): score(pipeline, config.data, scale) for scale in SCALES},
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A line for each system, seed and scale of guidance."""
    head = ("system", "seed", "guidance", "Fréchet distance", "accuracy", "precision / recall", "trained")
    rows = [
        (
            *(each["system"], each["seed"], scale, f"{figures['frechet_distance']:.3f}", f"{figures['accuracy']:.2%}"),
            f"{figures['precision']:.3f} / {figures['recall']:.3f}",
            f"{each['images']:,} images in {each['seconds'] / 60:.1f} min",
        )
        for each in results
        for scale, figures in each["by_guidance"].items()
    ]
    return markdown_table(head, rows)


STUDY = Study("five_minutes", "system", SYSTEMS, measure, table, jobs=1)
main = STUDY.command(__doc__)

if __name__ == "__main__":
    sys.exit(main())
