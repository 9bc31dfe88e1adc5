"""From one digit to another: between two noises on the sphere, between two conditions by their predictions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from .options import GuidanceOptions, make_generators


def slerp(first: torch.Tensor, second: torch.Tensor, fraction: float) -> torch.Tensor:
    """The way from one noise to another along the great circle: in between it is as long as noise is.

    A straight mean of two noises is shorter by a factor of up to 0.71, and would be denoised into a blur.

    Args:
        first, second: of one shape, each taken as one vector.
        fraction: 0 is exactly the first, 1 the second.

    Source: Shoemake, 1985, "Animating rotation with quaternion curves".
    """
    if fraction in (0, 1):
        return second if fraction else first
    cosine = torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle.sin() < 1e-4:  # they point the same way
        return torch.lerp(first, second, fraction)
    return (torch.sin((1 - fraction) * angle) * first + torch.sin(fraction * angle) * second) / torch.sin(angle)


@torch.no_grad()
def interpolate(
    pipeline: Any,
    first: int | str,
    second: int | str,
    count: int = 8,
    seeds: Sequence[int] = (0, 1),
    num_inference_steps: int | None = None,
    output_type: str = "pil",
) -> list:
    """Images on the way from one digit to another.

    Between the conditions the predictions are mixed: the score of p(x | first)^(1 - f) p(x | second)^f, which is
    guidance by f with the first condition in the place of none (2206.01714, section 3). So the ends are drawn with
    guidance off, by `guidance_scale=1`.

    Args:
        pipeline: of classes or of texts.
        first, second: classes, or prompts of one digit; alike, the noise alone changes.
        count: images, with both ends.
        seeds: of the two noises; alike, the condition alone changes.
        num_inference_steps, output_type: as in the pipeline's call.

    Returns:
        `count` images.

    Raises:
        ValueError: fewer than two, or what the pipeline does not take.
    """
    if count < 2:
        raise ValueError(f"count: got {count}, expected 2 or more: both ends.")
    options = pipeline.check_inputs(num_inference_steps, output_type=output_type, guidance_interval=(0.0, 1.0))
    conditioner = pipeline.conditioner
    inputs = conditioner.listed([first, second] if not conditioner.reads_words else [str(first), str(second)])
    ends = [conditioner.encode([condition]) for condition in inputs]
    if max(end.sizes[0] for end in ends) > 1:
        raise ValueError(
            f"prompt: got a number of {max(end.sizes[0] for end in ends)} digits, expected one for one image."
        )
    noises = [pipeline.prepare_latents(1, make_generators(int(seed), 1)) for seed in seeds]
    images = []
    for i in range(count):
        fraction = i / (count - 1)
        mixed = replace(ends[1], null=ends[0].cond)
        chosen = replace(options, guidance=GuidanceOptions(fraction))
        latents = pipeline.denoise(slerp(noises[0], noises[1], fraction), mixed, chosen)
        images.append(pipeline.decode_latents(latents, output_type)[0])
    pipeline.maybe_free_model_hooks()
    return images
