"""How the prediction under a condition and a weaker one become one. Pure functions, exchangeable by name.

`cond` and `weak` are float32 predictions of the same x_t, (B, C, H, W). What is weak about the second is up to the
caller: no condition, for classifier-free guidance, or the same condition and a worse model, for autoguidance. With
`guidance_scale` 1 every rule returns exactly `cond`, and with 0 exactly `weak`.

"cfg" means the same for every prediction type, because the types are affine in each other at a given x_t; the other two
depend on what is predicted.
"""

from collections.abc import Callable

import torch

# How much of the rescaled prediction "cfg_rescale" takes; 0.7 is the paper's (2305.08891, section 3.4).
RESCALE = 0.7


def classifier_free_guidance(cond: torch.Tensor, weak: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """weak + guidance_scale * (cond - weak).

    A lerp, because it never subtracts at its two ends. The paper's w is `guidance_scale - 1`.

    Source: 2207.12598, equation 6; for autoguidance 2406.02507, equation 3.
    """
    return torch.lerp(weak, cond, guidance_scale)


def rescaled_guidance(cond: torch.Tensor, weak: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """Guidance that keeps each image's standard deviation near that of `cond`, so that contrast does not grow.

    Source: 2305.08891, equations 14 to 16.
    """
    guided = classifier_free_guidance(cond, weak, guidance_scale)
    if guidance_scale == 0:
        return guided
    places = tuple(range(1, cond.dim()))
    ratio = cond.std(places, keepdim=True) / guided.std(places, keepdim=True)
    return torch.lerp(guided, guided * ratio, RESCALE)


def zero_star_guidance(cond: torch.Tensor, weak: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """Guidance away from the projection of `cond` on `weak`: a weak one of the wrong length misleads less.

    Source: CFG-Zero*, 2503.18886, equations 8 and 9; its zero start is `starts_with_zero`.
    """
    if guidance_scale == 0:
        return weak
    places = tuple(range(1, cond.dim()))
    length = (cond * weak).sum(places, keepdim=True) / weak.square().sum(places, keepdim=True).clamp(min=1e-8)
    return torch.lerp(length * weak, cond, guidance_scale)


GuidanceRule = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
GUIDANCE_RULES: dict[str, GuidanceRule] = {
    "cfg": classifier_free_guidance,
    "cfg_rescale": rescaled_guidance,
    "cfg_zero": zero_star_guidance,
}


def get_guidance_rule(guidance: str) -> GuidanceRule:
    """The rule of a name.

    Raises:
        ValueError: an unknown name.
    """
    if not isinstance(guidance, str) or guidance not in GUIDANCE_RULES:
        raise ValueError(f"guidance: got {guidance!r}, expected one of {', '.join(GUIDANCE_RULES)}.")
    return GUIDANCE_RULES[guidance]


def starts_with_zero(guidance: str, guidance_scale: float, step: int, prediction_type: str) -> bool:
    """Whether the prediction of a step is replaced by zero: the first of "cfg_zero" (2503.18886, section 3.3).

    A flow's velocity of zero leaves the sample where it is, and v's only shrinks it; a noise or an image of zero would
    throw it elsewhere.

    Raises:
        ValueError: a prediction type that is no velocity.
    """
    if guidance != "cfg_zero":
        return False
    if prediction_type not in ("v_prediction", "flow_prediction"):
        raise ValueError(
            f"guidance: 'cfg_zero' starts with a velocity of zero, and this model predicts {prediction_type}; use cfg."
        )
    return step == 0 and guidance_scale not in (0, 1)


def scale_in_interval(guidance_scale: float, interval: tuple[float, float], progress: float) -> float:
    """The scale of a step: `guidance_scale` within the interval, and outside at most 1, which is off.

    A scale below 1 leans to the unconditional, as was asked for, and is kept at every step.

    Args:
        guidance_scale: what was asked for.
        interval: start and end as fractions of the steps, 0 <= start <= end <= 1.
        progress: fraction of the steps from pure noise that are done, in [0, 1).

    Source: 2404.07724, equation 6, with steps in place of noise levels.
    """
    return guidance_scale if interval[0] <= progress < interval[1] else min(guidance_scale, 1.0)
