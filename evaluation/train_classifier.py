"""The recipe of the digit classifier: `python -m text2digit.evaluation.train_classifier --out DIR`.

AdamW with one cycle of the learning rate, random affine maps of the images, and the average of the weights, on the
reference part of the training images (`judge.split_training`). The number of epochs is fixed; the held-out part is what
a change of the recipe is judged by, and the test images are looked at once, after the last step.
"""

import argparse
import json
import sys
import time
from typing import cast

import torch
import torch.nn.functional as F
from diffusers.training_utils import EMAModel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from ..config import DataConfig
from ..data import ImageData, batch_indices, counter_generator, counter_seed, load_dataset
from ..shell import Parser, Result, command, number, output, set_up, whole
from .classifier import DigitClassifier, classify, weights_sha256
from .judge import split_training

EPOCHS = 16
BATCH_SIZE = 128
LR = 4e-3
WEIGHT_DECAY = 0.05
EMA_DECAY = 0.998
# Of the random affine maps: degrees, and fractions; the shift is one of the side, two pixels of 28. Uniform in ± each.
ROTATION, SHEAR, STRETCH, SHIFT = 15.0, 0.2, 0.12, 2 / 28

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


def random_affine(x_0: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn, shear, stretch and shift each image by a little, bilinearly; what comes in from outside is -1, the ground.

    Args:
        x_0: (B, C, H, W) in [-1, 1].
        generator: on the CPU.

    Returns:
        As `x_0`.
    """
    turn, shear, stretch_x, stretch_y, shift_x, shift_y = torch.rand(6, len(x_0), generator=generator) * 2 - 1
    angle = torch.deg2rad(turn * ROTATION)
    rows = [angle.cos(), -angle.sin(), angle.sin(), angle.cos()]
    rotation = torch.stack(rows, dim=1).view(-1, 2, 2)
    one, zero = torch.ones_like(shear), torch.zeros_like(shear)
    rows = [1 + stretch_x * STRETCH, shear * SHEAR, zero, one + stretch_y * STRETCH]
    shape = torch.stack(rows, dim=1).view(-1, 2, 2)
    shift = torch.stack([shift_x, shift_y], dim=1)[..., None] * (2 * SHIFT)  # the side is 2 long
    grid = F.affine_grid(torch.cat([rotation @ shape, shift], dim=2), list(x_0.shape), align_corners=False)
    return F.grid_sample(x_0 + 1, grid, align_corners=False) - 1


def train_classifier(data: ImageData, epochs: int = EPOCHS, seed: int = 0, progress: bool = True) -> DigitClassifier:
    """Train a fresh classifier.

    Args:
        data: real images, or synthetic ones for the classification-accuracy score.
        epochs: passes over them.
        seed: of weights, order and affine maps; the same seed and threads give the same weights.
        progress: show a bar, on a terminal.

    Returns:
        The average of the weights over the last steps, in evaluation mode, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(counter_seed(seed, "classifier"))
        model = DigitClassifier(data.images.shape[1], len(data.class_names))
    # Averages the statistics of batch norm too, which belong to the weights.
    average = AveragedModel(model, multi_avg_fn=_average, use_buffers=True)
    steps = max(1, epochs * len(data) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps, pct_start=0.2)
    bar = tqdm(range(steps), desc="classifier", unit="step", disable=None if progress else True, mininterval=10)
    model.train()
    for step in bar:
        indices = batch_indices(step, BATCH_SIZE, len(data), seed)
        x_0 = random_affine(data.x_0(indices), counter_generator(seed, "affine", step))
        loss = F.cross_entropy(model(x_0).logits, data.labels[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        if step % 100 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")
    return cast(DigitClassifier, average.module.eval())


def _average(averages: Tensors, weights: Tensors, num_averaged: torch.Tensor | int) -> None:
    """Exponential moving average with diffusers' warm-up, so that the random start is soon forgotten."""
    decay = EMAModel([], decay=EMA_DECAY).get_decay(int(num_averaged) + 1)
    get_ema_multi_avg_fn(decay)(averages, weights, num_averaged)


def accuracy(classifier: DigitClassifier, data: ImageData) -> float:
    """Share of images, in [0, 1], that are given their class."""
    return (classify(classifier, data.images).logits.argmax(dim=1) == data.labels).double().mean().item()


def train_and_save(arguments: argparse.Namespace) -> Result:
    """Train, test, and save the classifier with a record of both."""
    set_up()
    config = DataConfig(dataset=arguments.dataset, data_dir=arguments.data_dir)
    train, held_out = split_training(load_dataset(config, "train"))
    test = load_dataset(config, "test")
    started = time.perf_counter()
    classifier = train_classifier(train, arguments.epochs, arguments.seed)
    record = {
        "dataset": arguments.dataset,
        "seed": arguments.seed,
        "epochs": arguments.epochs,
        "train_images": len(train),
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "held_out_images": len(held_out),
        "held_out_accuracy": accuracy(classifier, held_out),
        "test_images": len(test),
        "test_accuracy": accuracy(classifier, test),
    }
    with whole(arguments.out) as folder:
        classifier.save_pretrained(folder)
        text = json.dumps({**record, "weights_sha256": weights_sha256(folder)}, indent=1)
        (folder / "training.json").write_text(text + "\n", encoding="utf-8")
    return Result(text)


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("--out", type=output(is_folder=True), required=True, help="folder of config.json, the weights, training.json")
    add("--epochs", type=number(int, 1), default=EPOCHS, help="passes over the training images (%(default)s)")
    add("--seed", type=number(int, 0), default=0, help="of weights, order and affine maps (%(default)s)")
    add("--dataset", default="mnist", help="as in training (%(default)s)")
    add("--data-dir", help="as in training")


main = command("python -m text2digit.evaluation.train_classifier", __doc__, flags, train_and_save)

if __name__ == "__main__":
    sys.exit(main())
