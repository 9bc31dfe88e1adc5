"""From which noise on a digit is lost: `python -m text2digit.evaluation.strengths --model unet-mnist`.

Real digits that the classifier has not seen get noise up to a strength and are drawn again from there as the class that
they are, without guidance. Where the share of right ones falls between two strengths, the denoiser goes wrong between
these two levels of noise; so that is where training should look more often (`objective.logit_mean`).
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import torch

from ..config import DataConfig
from ..data import cache_folder
from ..pipelines import DigitImg2ImgPipeline, DigitPipeline
from ..pipelines.drawing import BATCH_SIZE
from ..pipelines.images import to_bytes
from ..pipelines.loading import find_pipeline_folder
from ..shell import Parser, Result, command, number, set_up
from .judge import Judge, evenly
from .page import markdown_table

NUM, STEPS = 1000, 20
STRENGTHS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def by_strength(pipeline: Any, judge: Judge, strengths: Sequence[float], num: int) -> list[dict[str, float]]:
    """Strength, share of right digits and Fréchet distance, a dict for each strength; of always the same digits.

    Args:
        pipeline: of classes or of texts, which are then asked by numerals.
        strengths: in [0, 1]: fractions of `STEPS` that are drawn again; 0 leaves the digits as they are.
        num: digits, evenly over the classes. Image i has noise of seed i.
    """
    again: Any = DigitImg2ImgPipeline.from_pipe(pipeline)
    again.set_progress_bar_config(disable=True)
    real = evenly(judge.held_out, num)
    asked = pipeline.conditioner.inputs_for_classes(real.labels.tolist())
    results = []
    for strength in strengths:
        parts = [
            again(
                **{pipeline.conditioner.argument: asked[start : start + BATCH_SIZE]},
                image=real.images[start : start + BATCH_SIZE],
                strength=strength,
                num_inference_steps=STEPS,
                guidance_scale=1.0,
                generator=start,
                output_type="pt",
            ).images
            for start in range(0, len(real), BATCH_SIZE)
        ]
        figures = judge.score(to_bytes(torch.cat(parts)), real.labels, pixels=False).figures
        results.append({"strength": strength, **{name: figures[name] for name in ("accuracy", "frechet_distance")}})
    return results


def measure(arguments: argparse.Namespace) -> Result:
    """Measure, and return the table."""
    find_pipeline_folder(arguments.model)
    set_up()
    pipeline = DigitPipeline.from_pretrained(arguments.model)
    judge = Judge(DataConfig(data_dir=arguments.data_dir), cache=cache_folder("evaluation"))
    results = by_strength(pipeline, judge, arguments.strengths, arguments.num)
    rows = [(f"{x['strength']:g}", f"{x['accuracy']:.1%}", f"{x['frechet_distance']:.3f}") for x in results]
    return Result(markdown_table(("strength", "accuracy", "Fréchet distance"), rows))


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("--model", default="unet-mnist", help="a folder, shipped weights, or user/name on the Hub")
    add("--num", type=number(int, 1), default=NUM, help="digits, evenly over the classes (%(default)s)")
    add("--strengths", type=number(float, 0, 1), nargs="+", default=STRENGTHS, help="in [0, 1]")
    add("--data-dir", help="as in training")


main = command("python -m text2digit.evaluation.strengths", __doc__, flags, measure)

if __name__ == "__main__":
    sys.exit(main())
