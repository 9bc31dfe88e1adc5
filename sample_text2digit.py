"""Draw digits: `text2digit sample --digits 0-9 --num 10 -o digits.png`, or `--prompt "a thin 7" "2026"`.

The output is a grid (FILE.png), single images (a folder) or arrays (FILE.npz: images uint8 (N, H, W), labels int64).
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from text2digit.pipelines.samplers import SCHEDULERS, replace_scheduler
from text2digit.runtime import (
    check_processes,
    describe_device,
    keep_freed_memory,
    process_index,
    start_missing_processes,
    use_all_cores,
)

DEFAULT_MODEL = "unet-mnist"
DEFAULT_TEXT_MODEL = "text-mnist"


def make_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="text2digit sample", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    models = f"{DEFAULT_MODEL}, or for prompts {DEFAULT_TEXT_MODEL}"
    add("--model", help=f"a folder, shipped weights, or user/name on the Hub ({models})")
    add("--prompt", nargs="+", help="what to draw, by weights of texts: digits and numbers in words; one row each")
    add("--negative-prompt", "--negative_prompt", help="what guidance leads away from")
    add("--digits", "--classes", default=None, help="which classes, such as 7 or 0-9 or 1,3,5-7 (all)")
    add("--num", type=int, default=10, help="images of each class or prompt (%(default)s)")
    add("--steps", type=int, help="denoising steps (the model's default)")
    add("--guidance-scale", "--guidance_scale", type=float, help="1 is off (the model's default)")
    add("--guidance-interval", "--guidance_interval", type=float, nargs=2, metavar=("START", "END"),
        help="fractions of the steps between which guidance is on, such as 0.2 0.8 (the model's default)")  # fmt: skip
    add("--scheduler", default=None, help=f"{', '.join(SCHEDULERS)} (the model's own)")
    add("--eta", type=float, default=0.0, help="fresh noise of ddim, 0 to 1 (%(default)s)")
    add("--seed", type=int, default=0, help="image i is seeded SEED + i (%(default)s)")
    add("-o", "--output", type=Path, default=Path("digits.png"), help="FILE.png, FILE.npz or a folder (%(default)s)")
    return parser


def parse_classes(text: str | None, num_classes: int) -> list[int]:
    """Class ids of "7", "0-9" or "1,3,5-7"; None is all.

    Raises:
        ValueError: anything else, or a class that there is not.
    """
    if text is None:
        return list(range(num_classes))
    classes: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"--digits: got {text!r}, expected numbers and ranges, such as 7 or 0-9 or 1,3,5-7.")
        classes += range(int(first), int(last or first) + 1)
    if not classes or max(classes) >= num_classes:
        raise ValueError(f"--digits: got {text!r}, expected classes from 0 to {num_classes - 1}.")
    return classes


def save_images(images: Any, labels: list[int], columns: int, output: Path) -> str:
    """Write what the output's name asks for; returns a sentence about it."""
    import numpy as np
    from PIL import Image

    from text2digit.pipelines.images import image_grid, to_uint8

    if output.suffix == ".npz":
        output.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(output, images=to_uint8(images), labels=np.asarray(labels))
        return f"{output}: images {to_uint8(images).shape} uint8, labels"
    if output.suffix == "":
        output.mkdir(parents=True, exist_ok=True)
        for i, (array, label) in enumerate(zip(to_uint8(images), labels, strict=True)):
            Image.fromarray(array).save(output / f"{label}-{i:05d}.png")
        return f"{output}: {len(labels)} images, named CLASS-NUMBER.png"
    output.parent.mkdir(parents=True, exist_ok=True)
    image_grid(images, columns).save(output)
    return f"{output}: a grid, one row per class or prompt"


def what_to_draw(arguments: argparse.Namespace, pipeline: Any) -> tuple[list, list[int]]:
    """Inputs of the pipeline, and the number of the class or prompt that each belongs to.

    Raises:
        ValueError: prompts for weights of classes, or with classes.
    """
    conditioner = pipeline.conditioner
    if arguments.prompt and arguments.digits:
        raise ValueError("--digits: got it with --prompt, which says what to draw; pass one of them.")
    if not conditioner.reads_words and (arguments.prompt or arguments.negative_prompt):
        raise ValueError(
            f"--prompt: got it for {arguments.model or DEFAULT_MODEL}, which knows classes; pass weights of texts."
        )
    if arguments.prompt:
        asked = [(i, text) for i, prompt in enumerate(arguments.prompt) for text in conditioner.listed(prompt)]
        asked = [one for one in asked for _ in range(arguments.num)]
        return [text for _, text in asked], [i for i, _ in asked]
    labels = [
        label for label in parse_classes(arguments.digits, len(conditioner.class_names)) for _ in range(arguments.num)
    ]
    return conditioner.inputs_for_classes(labels), labels


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    start_missing_processes()
    arguments = make_parser().parse_args(argv)
    started = time.perf_counter()
    keep_freed_memory()  # before the first tensor
    use_all_cores()
    from accelerate import Accelerator
    from diffusers.utils import logging

    from text2digit.pipelines import DigitPipeline
    from text2digit.pipelines.drawing import draw_images

    logging.disable_progress_bar()
    try:
        accelerator = Accelerator()
        check_processes(accelerator.num_processes)
        model = arguments.model or (DEFAULT_TEXT_MODEL if arguments.prompt else DEFAULT_MODEL)
        pipeline = DigitPipeline.from_pretrained(model).to(accelerator.device)
        inputs, labels = what_to_draw(arguments, pipeline)
        if arguments.num < 1:
            raise ValueError(f"--num: got {arguments.num}, expected 1 or more.")
        if arguments.output.suffix not in ("", ".npz", ".png"):
            raise ValueError(f"--output: got {arguments.output}, expected FILE.png, FILE.npz or a folder.")
        if arguments.scheduler:
            replace_scheduler(pipeline, arguments.scheduler)
        pipeline.set_progress_bar_config(disable=True)
        loaded = time.perf_counter()
        images = draw_images(
            pipeline,
            inputs,
            seeds=range(arguments.seed, arguments.seed + len(labels)),
            show_progress=True,
            num_inference_steps=arguments.steps,
            guidance_scale=arguments.guidance_scale,
            guidance_interval=arguments.guidance_interval,
            eta=arguments.eta,
            **({"negative_prompt": arguments.negative_prompt} if arguments.negative_prompt else {}),
        )
    except (ValueError, FileNotFoundError) as error:
        if process_index() == 0:
            print(f"error: {error}", file=sys.stderr)
        return 2
    if process_index() > 0:
        return 0
    drawn = time.perf_counter()
    print(save_images(images, labels, arguments.num, arguments.output))
    print(
        f"{len(labels)} images by {model} on {describe_device(accelerator.device)}: loaded in "
        f"{loaded - started:.1f} s, drawn in {drawn - loaded:.1f} s, {time.perf_counter() - started:.1f} s in all"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
