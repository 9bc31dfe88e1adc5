"""What a run would do and cost, before it does."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..config import RunConfig
from ..data import describe_data, load_training_data
from ..runtime import describe_device
from .checkpoint import step_of
from .loop import train_step
from .prepare import assemble_run, check_recipe, count_steps, find_checkpoint, make_accelerator
from .run import Run

PROBE_SECONDS = 3.0
# As many images are captioned for the trial; all of MNIST would take a minute, and nothing of it may be kept.
PROBED_IMAGES = 2048
# A backward pass takes about twice the multiplications of the forward pass: for the weights and for the inputs.
BACKWARD_FACTOR = 2


def plan(config: RunConfig) -> dict[str, Any]:
    """What a run would do; steps are tried for a few seconds, nothing is written.

    Raises:
        ValueError, FileNotFoundError: as `prepare_run`.
    """
    accelerator = make_accelerator(config)
    check_recipe(config)
    data, validation = load_training_data(config.data, read_only=True)
    some = data.take(torch.arange(min(len(data), PROBED_IMAGES)))
    run = assemble_run(config, accelerator, some, validation, read_only=True)
    conditions = run.text.coder(["7"]) if run.text is not None else None
    flops, seconds = flops_per_image(run.bare_model, conditions), probe(run, PROBE_SECONDS)
    batch_size, total_steps = config.training.batch_size, count_steps(config, len(data))
    checkpoint = find_checkpoint(run.config, run.folder)
    done = step_of(checkpoint) if checkpoint is not None else 0
    return {
        "dataset": config.data.dataset,
        "data": describe_data(config.data.dataset, data),
        "images": len(data),
        "shape": tuple(data.images.shape[1:]),
        "classes": len(data.class_names),
        "held_out_images": len(validation),
        "model": config.model.type,
        "parameters": sum(p.numel() for p in run.bare_model.parameters()),
        "mflop": flops / 1e6,
        "training_mflop": (1 + BACKWARD_FACTOR) * flops / 1e6,
        "steps": total_steps,
        "batch_size": batch_size,
        "epochs": total_steps * batch_size / len(data),
        "optimizer": run.config.optim.optimizer,
        "device": describe_device(run.accelerator.device),
        "processes": run.accelerator.num_processes,
        "mixed_precision": run.config.training.mixed_precision,
        "minutes": (total_steps - done) * seconds / 60,
        "images_per_second": batch_size / seconds,
        "gflop_per_second": (1 + BACKWARD_FACTOR) * flops * batch_size / seconds / 1e9,
        "tried_seconds": PROBE_SECONDS,
        "output_dir": str(run.folder),
        "done_steps": done,
    }


def describe_plan(plan: Mapping[str, Any]) -> str:
    """Return a plan in lines for a person."""
    return """
data:   {data}
model:  {model}, {parameters:,} parameters, {mflop:.1f} MFLOP per image forward, {training_mflop:.0f} in training
steps:  {steps:,} of {batch_size} images, {epochs:.1f} epochs, {optimizer}
device: {device}, processes: {processes}, mixed precision {mixed_precision}
time:   about {minutes:.1f} minutes at {images_per_second:.0f} images/s, {gflop_per_second:.0f} GFLOP/s
        (tried for {tried_seconds:g} s)
output: {output_dir}, from step {done_steps:,}""".lstrip().format(**plan)


def flops_per_image(model: nn.Module, conditions: Mapping[str, torch.Tensor] | None = None) -> int:
    """Floating-point operations of one forward pass for one image; a multiplication and an addition are two.

    Args:
        model: of ours, or another of the same forward and the same names in its config.
        conditions: of one image, on the CPU; None is a class.
    """
    c: Any = model.config
    device = next(model.parameters()).device
    sample = torch.zeros(1, c.in_channels, c.sample_size, c.sample_size, device=device)
    conditions = conditions or {"class_labels": torch.zeros(1, dtype=torch.long)}
    arguments = {name: tensor.to(device) for name, tensor in conditions.items()}
    # Attention written out: torch's counter does not know the fused kernel of the CPU, and would leave it out.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.forward(sample, torch.ones(1, device=device), **arguments)
    return counter.get_total_flops()


def probe(run: Run, seconds: float) -> float:
    """Seconds per step, by taking steps for a while; the first, which warms up, does not count.

    All processes take the same number of steps: the slowest decides.
    """
    started = time.perf_counter()
    train_step(run)
    first = torch.tensor([time.perf_counter() - started], device=run.accelerator.device)
    count = max(1, int(seconds / run.accelerator.gather(first).max().item()))
    started = time.perf_counter()
    for _ in range(count):
        train_step(run)
    return (time.perf_counter() - started) / count
