"""What a denoiser may predict, and how to read the clean image and the noise out of it.

Every target is a fixed mixture of the two unknowns, `target = a * x_0 + b * noise`. Together with the known mixture
`x_t = alpha_t * x_0 + sigma_t * noise` that makes two linear equations, so one 2x2 solve serves every prediction type.
Only arithmetic is used, so numbers, torch tensors and NumPy arrays all work.
"""

from typing import Any

Coefficient = Any  # alpha_t or sigma_t: a number, or an array that broadcasts against the images
Array = Any

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction", "flow_prediction")


def target_coefficients(
    prediction_type: str, alpha_t: Coefficient, sigma_t: Coefficient
) -> tuple[Coefficient, Coefficient]:
    """Return the mixture (a, b) that a prediction type stands for.

    Args:
        prediction_type: one of `PREDICTION_TYPES`: "epsilon" is the noise (2006.11239), "sample" is x_0,
            "v_prediction" is alpha_t * noise - sigma_t * x_0 (2202.00512, appendix D), "flow_prediction" is
            noise - x_0 (2209.03003).
        alpha_t, sigma_t: the level.

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


def make_target(prediction_type: str, x_0: Array, noise: Array, alpha_t: Coefficient, sigma_t: Coefficient) -> Array:
    """Return what the denoiser should predict, of the shape of `x_0`."""
    a, b = target_coefficients(prediction_type, alpha_t, sigma_t)
    return a * x_0 + b * noise


def x_0_coefficients(
    prediction_type: str, alpha_t: Coefficient, sigma_t: Coefficient
) -> tuple[Coefficient, Coefficient]:
    """Return (p, q) of `x_0 = p * x_t + q * output`; arguments as in `target_coefficients`.

    Exact where the output is x_0 itself; undefined where the level makes x_0 unknowable ("epsilon" at alpha_t = 0).
    """
    a, b = target_coefficients(prediction_type, alpha_t, sigma_t)
    determinant = alpha_t * b - sigma_t * a
    return b / determinant, -sigma_t / determinant


def noise_coefficients(
    prediction_type: str, alpha_t: Coefficient, sigma_t: Coefficient
) -> tuple[Coefficient, Coefficient]:
    """Return (p, q) of `noise = p * x_t + q * output`, the other half of the solve; undefined for "sample" at
    sigma_t = 0."""
    a, b = target_coefficients(prediction_type, alpha_t, sigma_t)
    determinant = alpha_t * b - sigma_t * a
    return -a / determinant, alpha_t / determinant


def split_prediction(
    prediction_type: str, model_output: Array, sample: Array, alpha_t: Coefficient, sigma_t: Coefficient
) -> tuple[Array, Array]:
    """Return the predicted x_0 and the predicted noise.

    Args:
        prediction_type: one of `PREDICTION_TYPES`.
        model_output: the denoiser's prediction, of the shape of `sample`.
        sample: x_t.
        alpha_t, sigma_t: the level of x_t, as in `target_coefficients`.
    """
    of_sample, of_output = x_0_coefficients(prediction_type, alpha_t, sigma_t)
    x_0 = of_sample * sample + of_output * model_output
    of_sample, of_output = noise_coefficients(prediction_type, alpha_t, sigma_t)
    return x_0, of_sample * sample + of_output * model_output


def convert_prediction(
    source: str, target: str, model_output: Array, sample: Array, alpha_t: Coefficient, sigma_t: Coefficient
) -> Array:
    """Convert a prediction of type `source` into one of type `target`; arguments as in `split_prediction`."""
    x_0, noise = split_prediction(source, model_output, sample, alpha_t, sigma_t)
    return make_target(target, x_0, noise, alpha_t, sigma_t)


def x_0_error_scale(prediction_type: str, alpha_t: Coefficient, sigma_t: Coefficient) -> Coefficient:
    """Return how much a squared error of the prediction weighs as a squared error of x_0.

    1 / SNR for "epsilon", 1 for "sample", sigma_t^2 for "v_prediction" on a variance-preserving path and for
    "flow_prediction" on a flow.
    """
    return x_0_coefficients(prediction_type, alpha_t, sigma_t)[1] ** 2
