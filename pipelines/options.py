"""What a user asks of a call: checked once, frozen, and the same until the call ends."""

import math
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback

from .guidance import get_guidance_rule

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
# What a callback may ask for. The last three are what the step's prediction was made of; "weak_output" is None at
# steps without guidance.
TENSOR_INPUTS = ("latents", "model_output", "model_input", "cond_output", "weak_output")

LARGEST_FLOAT = torch.finfo(torch.float64).max
LARGEST_SCALE = 1e6  # beyond, float32 ends in NaN or black and white

StepCallback = Callable[..., dict | None]
Seeds = torch.Generator | int | Sequence[torch.Generator] | Sequence[int]
Generators = torch.Generator | list[torch.Generator] | None


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of any kind as an int.

    Raises:
        ValueError: another type, or a number below `least`.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: got {value!r}, expected a whole number from {least} up.")
    return int(value)


def finite_number(name: str, value: Any, expected: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a number of any kind as a float.

    Raises:
        ValueError: another type, a number that is not finite, or one outside [least, most]; says what is `expected`.
    """
    # No float is as large as some whole numbers are, and a comparison with it knows that.
    number: Any = value
    if not isinstance(value, Real) or not max(least, -LARGEST_FLOAT) <= number <= min(most, LARGEST_FLOAT):
        raise ValueError(f"{name}: got {shown(value)}, expected {expected}.")
    return float(value)


def shown(value: Any) -> str:
    """Return a value for a message, cut; Python prints no whole number of some thousand digits, only its hex form."""
    is_long = isinstance(value, Integral) and abs(int(value)) >= 2**64
    return (hex(int(value)) if is_long else repr(value))[:60]


@dataclass(frozen=True)
class GuidanceOptions:
    """How a call is guided.

    Attributes:
        scale: `guidance_scale`: 1 is off, 0 is unconditional.
        rule: a name of `guidance.GUIDANCE_RULES`.
        interval: start and end of guidance, as fractions of the steps from pure noise.
        weak_denoiser: takes the place of "no condition" (autoguidance); None for classifier-free guidance.

    Raises:
        ValueError: a value out of range.
    """

    scale: float = 1.0
    rule: str = "cfg"
    interval: tuple[float, float] = (0.0, 1.0)
    weak_denoiser: Any = None

    def __post_init__(self) -> None:
        expected = f"a finite number of at most {LARGEST_SCALE:,.0f}; 1 is off, 0 unconditional"
        scale = finite_number("guidance_scale", self.scale, expected, -LARGEST_SCALE, LARGEST_SCALE)
        object.__setattr__(self, "scale", scale)
        ends = tuple(self.interval) if isinstance(self.interval, Iterable) else ()
        if len(ends) != 2 or not all(isinstance(end, Real) for end in ends) or not 0 <= ends[0] <= ends[1] <= 1:
            raise ValueError(
                f"guidance_interval: got {self.interval}, expected start and end with 0 <= start <= end <= 1."
            )
        object.__setattr__(self, "interval", (float(ends[0]), float(ends[1])))
        get_guidance_rule(self.rule)
        if not isinstance(self.weak_denoiser, torch.nn.Module | None):
            raise ValueError(f"weak_denoiser: got {shown(self.weak_denoiser)}, expected a model like the denoiser.")


@dataclass(frozen=True)
class SamplingOptions:
    """How a call samples.

    Attributes:
        num_inference_steps: denoising steps of the whole way from pure noise.
        timesteps: a grid of one's own, descending, in place of them.
        strength: the part of the way that is gone, from its noisy end: 1 is all of it.
        eta: fresh noise of DDIM, 0 (none) to 1 (as much as DDPM).
        guidance: how the prediction is guided.
        callback: called after each step as (pipeline, step, timestep, {name: tensor}); see `checked_callback`.
        callback_tensor_inputs: names of `TENSOR_INPUTS` that it gets.

    Raises:
        ValueError: a value out of range.
    """

    num_inference_steps: int
    timesteps: Sequence[float] | None = None
    strength: float = 1.0
    eta: float = 0.0
    guidance: GuidanceOptions = GuidanceOptions()
    callback: StepCallback | None = None
    callback_tensor_inputs: Sequence[str] = ("latents",)

    def __post_init__(self) -> None:
        keep = object.__setattr__
        keep(self, "num_inference_steps", whole_number("num_inference_steps", self.num_inference_steps))
        if self.timesteps is not None:
            try:
                keep(self, "timesteps", tuple(torch.as_tensor(self.timesteps).flatten().tolist()))
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(f"timesteps: got {shown(self.timesteps)}, expected numbers, descending.") from error
        expected = "a number from 0 (the image) to 1 (all new)"
        keep(self, "strength", finite_number("strength", self.strength, expected, 0, 1))
        keep(self, "eta", finite_number("eta", self.eta, "a number from 0 up", 0))
        keep(self, "callback_tensor_inputs", checked_callback(self.callback, self.callback_tensor_inputs))


def checked_callback(callback: StepCallback | None, tensor_inputs: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the tensors that a callback gets; diffusers' `PipelineCallback` names them itself.

    Raises:
        ValueError: a name that no step has, or a callback of diffusers for other pipelines.
    """
    parts = callback.callbacks if isinstance(callback, MultiPipelineCallbacks) else [callback]
    for part in parts:
        if isinstance(part, PipelineCallback) and type(part).__module__.startswith("diffusers."):
            raise ValueError(
                f"callback_on_step_end: got diffusers' {type(part).__name__}, which sets a guidance scale of 0 to end "
                "guidance, and 0 is unconditional here; pass guidance_interval=(0.0, 0.4) to end it after 40 % of the "
                "steps."
            )
    if isinstance(callback, PipelineCallback | MultiPipelineCallbacks):
        tensor_inputs = callback.tensor_inputs
    if callback is not None and not callable(callback):
        raise ValueError(f"callback_on_step_end: got {shown(callback)}, expected a function.")
    if isinstance(tensor_inputs, str) or not isinstance(tensor_inputs, Iterable):
        raise ValueError(f"callback_on_step_end_tensor_inputs: got {shown(tensor_inputs)}, expected a list of names.")
    for name in tensor_inputs:
        if name not in TENSOR_INPUTS:
            raise ValueError(
                f"callback_on_step_end_tensor_inputs: got {name!r}, expected some of {', '.join(TENSOR_INPUTS)}."
            )
    return tuple(tensor_inputs)


def make_generators(generator: Any, batch_size: int) -> Generators:
    """Return what `generator=` may be as generators.

    Args:
        generator: a generator or one per image; or a seed, which gives image i a generator of its own seeded
            `seed + i`, or one seed per image, in any sequence or array.
        batch_size: number of images.

    Raises:
        ValueError: another number of them, or something that is no seed.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return generator
    if isinstance(generator, np.ndarray | torch.Tensor):
        generator = generator.tolist()
    if not isinstance(generator, Integral | Sized):
        raise ValueError(f"generator: got {shown(generator)}, expected a seed, a generator, or one of them per image.")
    if isinstance(generator, Integral):
        generator = range(int(generator), int(generator) + batch_size)
    if len(generator) != batch_size:
        raise ValueError(f"generator: got {len(generator)} for {batch_size} images; pass one per image, or one seed.")
    return [g if isinstance(g, torch.Generator) else _seeded(g) for g in generator]


def _seeded(seed: Any) -> torch.Generator:
    # numpy's numbers are Integral, a tensor's elements are not; both turn into int.
    if not isinstance(seed, Integral | torch.Tensor) or not -(2**63) <= int(seed) < 2**64:
        raise ValueError(f"generator: got the seed {shown(seed)}, expected a whole number from -2^63 to 2^64 - 1.")
    return torch.Generator().manual_seed(int(seed))
