"""Save a run's pipeline with an average of another length: `text2digit ema --run RUN --sigma-rel 0.08 --out DIR`."""

import argparse
from pathlib import Path

from ..pipelines.loading import find_pipeline_folder
from ..shell import Parser, Result, command, output, set_up


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("--run", type=Path, required=True, help="folder of a finished run with optim.ema=power")
    add("--sigma-rel", type=float, required=True, help="width, such as 0.08")
    add("--step", type=int, help="where the average ends; the last snapshot if left out")
    add("--out", type=output(is_folder=True, is_empty=True), required=True, help="folder of the new pipeline")


def average(arguments: argparse.Namespace) -> Result:
    """Average and save."""
    find_pipeline_folder(arguments.run)
    set_up()
    from ..pipelines import DigitPipeline
    from .durable import whole_folder
    from .ema import EMA
    from .posthoc import reconstruct

    weights = reconstruct(arguments.run, arguments.sigma_rel, arguments.step)
    pipeline = DigitPipeline.from_pretrained(arguments.run)
    EMA(pipeline.denoiser, lambda _: 0.0).load(weights, 0)  # refuses those of another model
    pipeline.denoiser.load_state_dict(weights)
    if arguments.out.exists():
        arguments.out.rmdir()  # it is empty
    with whole_folder(arguments.out) as place:
        pipeline.save_pretrained(place)
    return Result(f"saved: {arguments.out}, the average of width {arguments.sigma_rel:g}")


main = command("text2digit ema", __doc__, flags, average)
