"""The prediction that a step takes: one forward or two, guided or not. The loop does not know which."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .guidance import get_guidance_rule, starts_with_zero
from .options import GuidanceOptions


@dataclass(frozen=True)
class Prediction:
    """What was predicted at a step; (B, C, H, W) float32 each.

    Attributes:
        output: what the sampler takes.
        cond, weak: what it was made of: under the condition, and the weaker one; None where it was not asked for.
    """

    output: torch.Tensor
    cond: torch.Tensor | None
    weak: torch.Tensor | None


Predictor = Callable[[torch.Tensor, torch.Tensor, float, int], Prediction]


def make_predictor(
    denoiser: Any,
    cond: dict[str, torch.Tensor],
    null: dict[str, torch.Tensor],
    guidance: GuidanceOptions,
    prediction_type: str,
    num_channels: int,
) -> Predictor:
    """Return a function of (x, timestep, guidance scale, number of the step).

    Args:
        denoiser: of the pipeline.
        cond, null: its keyword tensors under the condition and under none, (B, ...) each.
        guidance: the rule, and a weak denoiser in place of the null condition.
        prediction_type: what the denoiser predicts.
        num_channels: of the output that are kept: a model with a learned variance has more than those of x.
    """
    combine = get_guidance_rule(guidance.rule)
    weak_denoiser = guidance.weak_denoiser
    dtype = denoiser.dtype  # diffusers finds it by a walk over the weights, half a millisecond
    both = {name: torch.cat([null[name], cond[name]]) for name in cond}

    def forward(model: Any, x: torch.Tensor, t: torch.Tensor, condition: dict[str, torch.Tensor]) -> torch.Tensor:
        return model(x, t, **condition).sample.float()[:, :num_channels]

    def predict(x: torch.Tensor, t: torch.Tensor, scale: float, step: int) -> Prediction:
        x = x.to(dtype)
        if scale == 1:
            cond_output, weak_output = forward(denoiser, x, t, cond), None
            output = cond_output
        elif scale == 0 and weak_denoiser is None:
            weak_output, cond_output = forward(denoiser, x, t, null), None
            output = weak_output
        else:
            if weak_denoiser is None:
                weak_output, cond_output = forward(denoiser, torch.cat([x, x]), t, both).chunk(2)
            else:
                weak_output = forward(weak_denoiser, x.to(weak_denoiser.dtype), t, cond)
                cond_output = forward(denoiser, x, t, cond)
            output = combine(cond_output, weak_output, scale)
        if starts_with_zero(guidance.rule, scale, step, prediction_type):
            output = torch.zeros_like(output)
        return Prediction(output, cond_output, weak_output)

    return predict
