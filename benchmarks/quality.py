"""Quality of recipes at equal compute: `python -m text2digit.benchmarks.quality`.

Every variant is the base recipe with something changed. All may spend the same number of floating-point operations on
training, so a model that is twice as dear takes half the steps, and a busy machine changes nothing. What is drawn by
ten UniPC steps without guidance is then measured: guidance hides what a model has not learned.
"""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..config import RunConfig, load_config
from ..evaluation.page import markdown_table
from ..models import build_model
from ..training.planning import BACKWARD_FACTOR, flops_per_image
from .study import FOLDER, Study, score, train_timed

# 9 TFLOP is a quarter of what five minutes on two cores buy; after as little, no transformer draws a digit.
TRAINING_FLOPS = {"UNet": 9e12, "DiT": 27e12}

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


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """One line for each variant, the best first: mean over seeds (least to most)."""
    by_variant: dict[str, list[Mapping[str, Any]]] = {}
    for each in results:
        by_variant.setdefault(each["variant"], []).append(each)

    def mean(many: Sequence[Mapping[str, Any]], name: str) -> float:
        return statistics.mean(each[name] for each in many)

    rows = []
    for variant, many in sorted(by_variant.items(), key=lambda item: mean(item[1], "frechet_distance")):
        distances = [each["frechet_distance"] for each in many]
        spread = f" ({min(distances):.3f} to {max(distances):.3f})" if len(many) > 1 else ""
        rows.append((
            *(variant, f"{many[0]['parameters']:,}", f"{many[0]['steps']:,}", len(many)),
            f"{mean(many, 'frechet_distance'):.3f}{spread}",
            *(f"{mean(many, 'accuracy'):.1%}", f"{mean(many, 'recall'):.3f}"),
        ))  # fmt: skip
    return markdown_table(("variant", "parameters", "steps", "seeds", "Fréchet distance", "accuracy", "recall"), rows)


STUDY = Study("quality", "variant", VARIANTS, measure, table, jobs=2)
main = STUDY.command(__doc__)

if __name__ == "__main__":
    sys.exit(main())
