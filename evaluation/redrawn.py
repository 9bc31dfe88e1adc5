"""Drawing again, in one picture: `python -m text2digit.evaluation.redrawn --model unet-mnist -o redrawn.png`.

Ten images a row: a digit drawn again as another one, the further from it the more noise; its upper half drawn anew as
each digit; and from one digit to another.
"""

import argparse
import sys
from typing import Any

import torch

from ..pipelines import DigitImg2ImgPipeline, DigitInpaintPipeline, DigitPipeline, interpolate
from ..pipelines.images import image_grid
from ..pipelines.loading import find_pipeline_folder
from ..shell import Parser, Result, command, output, set_up, whole

COLUMNS, STEPS = 10, 20
# What is drawn, what it is drawn again as, and the two ends of the way; by classes and by words.
CLASSES: tuple[Any, ...] = (3, 8, (3, 8))
PROMPTS: tuple[Any, ...] = ("a thin 3", "a thick 3", ("a thin 3 leaning left", "a thick 8 leaning right"))


def redrawn(pipeline: Any) -> torch.Tensor:
    """(30, C, H, W) in [0, 1]: the rows of the picture, by a pipeline of classes or of texts.

    Noise is of seed 0, that of the second end of seed 1; steps are `STEPS`, the rest the pipeline's defaults.
    """
    conditioner = pipeline.conditioner
    digit, other, (first, second) = PROMPTS if conditioner.reads_words else CLASSES
    settings = {"num_inference_steps": STEPS, "generator": 0, "output_type": "pt"}
    start = pipeline(digit, **settings).images

    def draw_again(kind: type[DigitImg2ImgPipeline], asked: Any, **arguments: Any) -> torch.Tensor:
        again: Any = kind.from_pipe(pipeline)
        again.set_progress_bar_config(disable=True)
        return again(**{conditioner.argument: asked}, image=start, **arguments, **settings).images

    by_strength = [draw_again(DigitImg2ImgPipeline, other, strength=i / COLUMNS) for i in range(COLUMNS)]
    upper_half = torch.zeros_like(start)
    upper_half[:, :, : start.shape[2] // 2] = 1
    digits = conditioner.inputs_for_classes(range(COLUMNS))
    parts = [draw_again(DigitInpaintPipeline, each, mask_image=upper_half) for each in digits]
    way = interpolate(pipeline, first, second, count=COLUMNS, num_inference_steps=STEPS, output_type="pt")
    return torch.cat([*by_strength, *parts, torch.stack(way)]).cpu()


def draw_picture(arguments: argparse.Namespace) -> Result:
    """Draw and save."""
    find_pipeline_folder(arguments.model)
    set_up()
    pipeline = DigitPipeline.from_pretrained(arguments.model)
    pipeline.set_progress_bar_config(disable=True)
    with whole(arguments.output) as place:
        image_grid(redrawn(pipeline), COLUMNS).save(place)
    return Result(f"{arguments.output}: drawn again by strength, in part, and on the way from one digit to another")


def flags(parser: Parser) -> None:
    """Of the command."""
    parser.add_argument("--model", default="unet-mnist", help="a folder, shipped weights, or user/name on the Hub")
    parser.add_argument("-o", "--output", type=output(".png"), default="redrawn.png", help="FILE.png (%(default)s)")


main = command("python -m text2digit.evaluation.redrawn", __doc__, flags, draw_picture)

if __name__ == "__main__":
    sys.exit(main())
