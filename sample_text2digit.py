"""Draw digits: `text2digit sample --classes 0-9 --num 10 -o digits.png`, or `--prompt "a thin 7" "2026"`.

The output is a grid (FILE.png), single images (a folder) or arrays (FILE.npz: images uint8 (N, H, W), labels int64).
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from text2digit.pipelines.loading import find_pipeline_folder
from text2digit.runtime import check_processes, describe_device, say
from text2digit.schedulers import SCHEDULERS
from text2digit.shell import Parser, Result, command, number, output, seconds, set_up, whole

DEFAULT_MODEL = "unet-mnist"
DEFAULT_TEXT_MODEL = "text-mnist"
# Arguments of the pipeline's call that are flags.
CALL = ("num_inference_steps", "guidance_scale", "guidance_interval", "eta", "negative_prompt")


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    models = f"{DEFAULT_MODEL}, or for prompts {DEFAULT_TEXT_MODEL}"
    add("--model", help=f"a folder, shipped weights, or user/name on the Hub ({models})")
    add("--prompt", nargs="+", help="what to draw, by weights of texts: digits and numbers in words; one row each")
    add("--negative-prompt", help="what guidance leads away from")
    add("--classes", "--digits", dest="class_labels", metavar="LIST",
        help="which, by id or name, such as 7 or 0-9 or 1,3,5-7 (all)")  # fmt: skip
    add("--num", type=number(int, 1, 1_000_000), default=10, help="images of each class or prompt (%(default)s)")
    add("--steps", dest="num_inference_steps", type=number(int, 1), metavar="N",
        help="denoising steps (the model's default)")  # fmt: skip
    add("--guidance-scale", type=number(), help="1 is off (the model's default)")
    add("--guidance-interval", type=number(float, 0, 1), nargs=2, metavar=("START", "END"),
        help="fractions of the steps between which guidance is on, such as 0.2 0.8 (the model's default)")  # fmt: skip
    add("--scheduler", choices=SCHEDULERS, metavar="NAME",
        help=f"{', '.join(SCHEDULERS)} (the model's own)")  # fmt: skip
    add("--eta", type=number(float, 0, 1), default=0.0, help="fresh noise of ddim, 0 to 1 (%(default)s)")
    add("--seed", type=number(int, 0, 2**62), default=0, help="image i is seeded SEED + i (%(default)s)")
    add("-o", "--output", type=output(".png", ".npz", is_folder=True), default="digits.png",
        help="FILE.png, FILE.npz or a folder (%(default)s)")  # fmt: skip


def parse_classes(text: str | None, num_classes: int, names: Mapping[str, int] = {}) -> list[int]:
    """Class ids of "7", "0-9", "1,3,5-7" or "Sandal,Ankle boot"; None is all.

    Args:
        text: names in any case, ids, and ranges of either.
        num_classes: ids are from 0 to `num_classes - 1`.
        names: ids of the classes that have names.

    Raises:
        ValueError: anything else, or a class that there is not.
    """
    if text is None:
        return list(range(num_classes))
    ids = {str(i): i for i in range(num_classes)} | {name.lower(): i for name, i in names.items()}
    classes: list[int] = []
    for part in map(str.strip, text.lower().split(",")):
        first, _, last = (part, "", part) if part in ids else part.partition("-")
        if ids.get(first, num_classes) > ids.get(last, -1):
            known = f"classes from 0 to {num_classes - 1}{''.join(f', {name}' for name in names)}"
            raise ValueError(f"class_labels: got {text!r}, expected {known}, or ranges, such as 7 or 0-9 or 1,3,5-7.")
        classes += range(ids[first], ids[last] + 1)
    return classes


def save_images(images: Any, labels: list[int], columns: int, output: Path) -> str:
    """Write what the output's name asks for; returns a sentence about it."""
    import numpy as np
    from PIL import Image

    from text2digit.pipelines.images import image_grid, to_uint8

    with whole(output) as place:
        if output.suffix.lower() == ".npz":
            with place.open("wb") as file:  # numpy adds ".npz" to other names
                np.savez_compressed(file, images=to_uint8(images), labels=np.asarray(labels))
            return f"{output}: images {to_uint8(images).shape} uint8, labels"
        if output.suffix.lower() == ".png":
            image_grid(images, columns).save(place)
            return f"{output}: a grid, one row per class or prompt"
        place.mkdir()
        for i, (array, label) in enumerate(zip(to_uint8(images), labels, strict=True)):
            Image.fromarray(array).save(place / f"{label}-{i:05d}.png")
        return f"{output}: {len(labels)} images, named CLASS-NUMBER.png"


def what_to_draw(arguments: argparse.Namespace, pipeline: Any, model: str) -> tuple[list, list[int]]:
    """Inputs of the pipeline, and the number of the class or prompt that each belongs to.

    Raises:
        ValueError: prompts for weights of classes, or with classes.
    """
    conditioner = pipeline.conditioner
    if arguments.prompt and arguments.class_labels:
        raise ValueError("class_labels: got it with --prompt, which says what to draw; pass one of them.")
    for name in ("prompt", "negative_prompt"):
        if getattr(arguments, name) and not conditioner.reads_words:
            raise ValueError(f"{name}: got it for {model}, which knows classes; pass weights of texts.")
    if arguments.prompt:
        asked = [(i, text) for i, prompt in enumerate(arguments.prompt) for text in conditioner.listed(prompt)]
        asked = [one for one in asked for _ in range(arguments.num)]
        return [text for _, text in asked], [i for i, _ in asked]
    classes = parse_classes(arguments.class_labels, len(conditioner.class_names), getattr(conditioner, "ids", {}))
    labels = [label for label in classes for _ in range(arguments.num)]
    return conditioner.inputs_for_classes(labels), labels


def sample(arguments: argparse.Namespace) -> Result | None:
    """Draw and save."""
    model = arguments.model or (DEFAULT_TEXT_MODEL if arguments.prompt else DEFAULT_MODEL)
    find_pipeline_folder(model)  # before libraries, which take seconds
    set_up()
    from accelerate import Accelerator

    from text2digit.pipelines import DigitPipeline
    from text2digit.pipelines.drawing import draw_images
    from text2digit.pipelines.samplers import replace_scheduler

    accelerator = Accelerator()
    check_processes(accelerator.num_processes)
    imported = seconds()
    pipeline: Any = DigitPipeline.from_pretrained(model).to(accelerator.device)
    inputs, labels = what_to_draw(arguments, pipeline, model)
    if arguments.scheduler:
        replace_scheduler(pipeline, arguments.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    loaded = seconds()
    settings = {name: getattr(arguments, name) for name in CALL if getattr(arguments, name) is not None}
    seeds = range(arguments.seed, arguments.seed + len(labels))
    images = draw_images(pipeline, inputs, seeds=seeds, show_progress=True, **settings)
    if not accelerator.is_main_process:
        return None
    drawn = seconds()
    sentence = save_images(images, labels, arguments.num, arguments.output)
    told = {"imported": imported, "loaded": loaded - imported, "drawn": drawn - loaded}
    parts = ", ".join(f"{what} in {duration:.1f} s" for what, duration in told.items())
    device = describe_device(accelerator.device)
    say(f"{len(labels)} images by {model} on {device}: {parts}, {seconds():.1f} s in all")
    facts = {"output": arguments.output, "images": len(labels), "labels": labels, "model": model, "device": device}
    return Result(sentence, {**facts, "scheduler": type(pipeline.scheduler).__name__, **settings,
                             "seed": arguments.seed, "seconds": seconds()})  # fmt: skip


main = command("text2digit sample", __doc__, flags, sample, has_json=True)

if __name__ == "__main__":
    sys.exit(main())
