"""What a denoiser may predict, and how to read the clean image and the noise out of it.

Every target is a fixed mixture of the two unknowns, `target = a * x_0 + b * noise`. Together with the known mixture
`x_t = alpha_t * x_0 + sigma_t * noise` that makes two linear equations, so one 2x2 solve serves every prediction type.
"""

from typing import TypeVar

import torch

Level = TypeVar("Level", float, torch.Tensor)

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction", "flow_prediction")


def target_coefficients(prediction_type: str, alpha_t: Level, sigma_t: Level) -> tuple[Level | float, Level | float]:
    """The mixture (a, b) that a prediction type stands for.

    Args:
        prediction_type: one of `PREDICTION_TYPES`: "epsilon" is the noise (2006.11239), "sample" is x_0,
            "v_prediction" is alpha_t * noise - sigma_t * x_0 (2202.00512, appendix D), "flow_prediction" is
            noise - x_0 (2209.03003).
        alpha_t, sigma_t: the level, as numbers or as tensors that broadcast against the images.

    Raises:
        ValueError: an unknown prediction type.
    """
    if prediction_type == "epsilon":
        return 0.0, 1.0
    if prediction_type == "sample":
        return 1.0, 0.0
    if prediction_type == "v_prediction":
        return -sigma_t, alpha_t
    if prediction_type == "flow_prediction":
        return -1.0, 1.0
    raise ValueError(f"prediction_type: got {prediction_type!r}, expected one of {', '.join(PREDICTION_TYPES)}.")


def make_target(
    prediction_type: str, x_0: torch.Tensor, noise: torch.Tensor, alpha_t: Level, sigma_t: Level
) -> torch.Tensor:
    """What the denoiser should have said, of the shape of `x_0`."""
    a, b = target_coefficients(prediction_type, alpha_t, sigma_t)
    return a * x_0 + b * noise


def split_prediction(
    prediction_type: str, model_output: torch.Tensor, sample: torch.Tensor, alpha_t: Level, sigma_t: Level
) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a prediction as (x_0, noise).

    Args:
        prediction_type: one of `PREDICTION_TYPES`.
        model_output: what the denoiser said, of the shape of `sample`.
        sample: x_t.
        alpha_t, sigma_t: the level of x_t, as in `target_coefficients`.

    Returns:
        The predicted clean image and the predicted noise. Exact where the answer is the prediction itself; undefined
        where the level makes it unknowable ("epsilon" at alpha_t = 0, "sample" at sigma_t = 0).
    """
    a, b = target_coefficients(prediction_type, alpha_t, sigma_t)
    determinant = alpha_t * b - sigma_t * a
    x_0 = (b / determinant) * sample + (-sigma_t / determinant) * model_output
    noise = (alpha_t / determinant) * model_output + (-a / determinant) * sample
    return x_0, noise


def convert_prediction(
    source: str, target: str, model_output: torch.Tensor, sample: torch.Tensor, alpha_t: Level, sigma_t: Level
) -> torch.Tensor:
    """Say in the words of `target` what a model of type `source` said; arguments as in `split_prediction`."""
    x_0, noise = split_prediction(source, model_output, sample, alpha_t, sigma_t)
    return make_target(target, x_0, noise, alpha_t, sigma_t)


def x_0_error_scale(prediction_type: str, alpha_t: torch.Tensor, sigma_t: torch.Tensor) -> torch.Tensor:
    """How much a squared error of the prediction weighs as a squared error of x_0: (sigma_t / determinant)^2.

    1 / SNR for "epsilon", 1 for "sample", sigma_t^2 for "v_prediction" on a variance-preserving path and for
    "flow_prediction" on a flow.
    """
    a, b = target_coefficients(prediction_type, alpha_t, sigma_t)
    return (sigma_t / (alpha_t * b - sigma_t * a)) ** 2
