"""How much an error counts at each noise level.

A weight is defined once, as a function of SNR that multiplies the squared error of x_0, and is carried over to what the
model predicts by `x_0_error_scale`. So each has the right form for each prediction type, and a model may change its
type and keep its objective.
"""

import torch

from ..config import ObjectiveConfig
from ..schedulers.noise import log_snr
from ..schedulers.prediction import x_0_error_scale


def loss_weights(
    objective: ObjectiveConfig, prediction_type: str, alpha_t: torch.Tensor, sigma_t: torch.Tensor
) -> torch.Tensor:
    """Weights of the squared errors of a prediction.

    Args:
        objective: its weighting, and the numbers that belong to it. "uniform" is 1 whatever is predicted. The others,
            on the squared error of x_0: "min_snr" min(SNR, gamma) (2303.09556, section 3.4), "truncated_snr" max(SNR,
            1) (2202.00512, section 4), "edm" SNR + 1 / sigma_data^2 (2206.00364, table 1, with its sigma = sigma_t /
            alpha_t), "sigmoid" SNR * sigmoid(bias - log SNR) (2303.00848, appendix D).
        prediction_type: what the model predicts.
        alpha_t, sigma_t: levels, of any one shape; sigma_t > 0.

    Returns:
        Of the shape of `alpha_t` and its dtype; not normalized to a mean of 1, as in the papers.

    Raises:
        ValueError: a weighting that has no value for "epsilon" at pure noise.
    """
    o = objective
    if o.weighting == "uniform":
        return torch.ones_like(alpha_t)
    if prediction_type == "epsilon" and bool((alpha_t == 0).any()):
        raise ValueError(
            f"objective.weighting: got {o.weighting!r} for epsilon at a level of pure noise, where it would be "
            "infinite; use uniform, another prediction_type, or a schedule without zero terminal SNR."
        )
    snr = log_snr(alpha_t.double(), sigma_t.double()).exp()
    if o.weighting == "min_snr":
        on_x_0 = snr.clamp(max=o.min_snr_gamma)
    elif o.weighting == "truncated_snr":
        on_x_0 = snr.clamp(min=1)
    elif o.weighting == "edm":
        on_x_0 = snr + o.sigma_data**-2
    else:
        on_x_0 = snr * torch.sigmoid(o.sigmoid_bias - snr.log())
    return (on_x_0 * x_0_error_scale(prediction_type, alpha_t.double(), sigma_t.double())).to(alpha_t.dtype)
