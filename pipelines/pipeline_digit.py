"""`DigitPipeline`: what every pipeline here shares, above all the one denoising loop."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor

from ..models import DigitDiT2DModel, DigitUNet2DModel
from .guidance import get_guidance_rule, scale_in_interval, starts_with_zero
from .stored import StoredPipeline

OUTPUT_TYPES = ("pil", "np", "pt", "latent")

Denoiser = DigitUNet2DModel | DigitDiT2DModel
Seeds = torch.Generator | int | Sequence[torch.Generator] | Sequence[int]
Conditions = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Guidance:
    """How a call is guided; the fields are the arguments of `__call__`."""

    guidance_scale: float = 1.0
    guidance: str = "cfg"
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    weak_denoiser: Denoiser | None = None

    def __post_init__(self) -> None:
        scale, interval = self.guidance_scale, self.guidance_interval
        if not isinstance(scale, int | float) or not abs(scale) < float("inf"):
            raise ValueError(f"guidance_scale: got {scale!r}, expected a finite number; 1 is off, 0 unconditional.")
        if len(interval) != 2 or not 0 <= interval[0] <= interval[1] <= 1:
            raise ValueError(f"guidance_interval: got {interval}, expected start and end with 0 <= start <= end <= 1.")
        get_guidance_rule(self.guidance)


class DigitPipeline(StoredPipeline):
    """Base of the pipelines; `DigitPipeline.from_pretrained` returns the class that the folder names.

    Subclasses turn their own arguments into conditions of the denoiser and call `_denoise` and `_decode`.
    """

    model_cpu_offload_seq = "denoiser->vae"
    _optional_components = ["vae"]
    _callback_tensor_inputs = ["latents", "model_output"]

    denoiser: Denoiser
    vae: AutoencoderKL | None
    scheduler: Any

    @property
    def guidance_scale(self) -> float:
        """Guidance of the call under way; a callback may change it for the next steps by `pipe._guidance_scale`."""
        return self._guidance_scale

    @property
    def num_timesteps(self) -> int:
        """Number of denoising steps of the call under way."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Set `pipe._interrupt = True` in a callback to end the call after that step."""
        return self._interrupt

    def _check_call(self, num_inference_steps: int | None, output_type: str, tensor_inputs: Sequence[str]) -> int:
        """Refuse what no call takes; returns the number of steps, by default that saved with the weights."""
        if num_inference_steps is None:
            num_inference_steps = int(self.config.default_num_inference_steps)
        if not isinstance(num_inference_steps, int) or num_inference_steps < 1:
            raise ValueError(f"num_inference_steps: got {num_inference_steps!r}, expected a whole number from 1 up.")
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type: got {output_type!r}, expected one of {', '.join(OUTPUT_TYPES)}.")
        for name in tensor_inputs:
            if name not in self._callback_tensor_inputs:
                raise ValueError(
                    f"callback_on_step_end_tensor_inputs: got {name!r}, expected some of "
                    f"{', '.join(self._callback_tensor_inputs)}."
                )
        return num_inference_steps

    def _guidance(
        self,
        guidance_scale: float | None,
        guidance: str,
        guidance_interval: tuple[float, float] | None,
        weak_denoiser: Denoiser | None,
    ) -> Guidance:
        """How a call is guided: as it says, and as was saved with the weights where it does not say."""
        scale = self.config.default_guidance_scale if guidance_scale is None else guidance_scale
        interval = self.config.default_guidance_interval if guidance_interval is None else guidance_interval
        return Guidance(scale, guidance, interval, weak_denoiser)

    def _draw_noise(
        self,
        batch_size: int,
        generator: torch.Generator | list[torch.Generator] | None,
        latents: torch.Tensor | None,
        device: torch.device,
    ) -> torch.Tensor:
        """Noise of unit variance, or what is given in its place: float32 on the device."""
        c = self.denoiser.config
        shape = (batch_size, c.in_channels, c.sample_size, c.sample_size)
        if latents is None:
            # Drawn on the CPU unless the generator lives elsewhere, so that one seed is one image on every device.
            latents = randn_tensor(shape, generator=generator, device=_device_of(generator), dtype=torch.float32)
        elif latents.shape != shape:
            raise ValueError(f"latents: got shape {tuple(latents.shape)}, expected {shape}.")
        return latents.to(device, torch.float32)

    def _prepare_latents(
        self,
        batch_size: int,
        generator: torch.Generator | list[torch.Generator] | None,
        latents: torch.Tensor | None,
        device: torch.device,
    ) -> torch.Tensor:
        """Noise of the scheduler's initial scale."""
        # diffusers' flow schedulers name no initial scale: a flow starts at unit variance.
        scale = getattr(self.scheduler, "init_noise_sigma", 1.0)
        return self._draw_noise(batch_size, generator, latents, device) * scale

    def _predict(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        cond: Conditions,
        uncond: Conditions,
        guidance: Guidance,
        guidance_scale: float,
    ) -> torch.Tensor:
        """The guided prediction, float32; two conditions in one forward, or one where the other has no say."""
        weak_denoiser = guidance.weak_denoiser
        combine = get_guidance_rule(guidance.guidance)
        if guidance_scale == 1:
            output = self.denoiser(sample, timestep, **cond).sample.float()
        elif weak_denoiser is not None:
            weak = weak_denoiser(sample.to(weak_denoiser.dtype), timestep, **cond).sample.float()
            output = combine(self.denoiser(sample, timestep, **cond).sample.float(), weak, guidance_scale)
        elif guidance_scale == 0:
            output = self.denoiser(sample, timestep, **uncond).sample.float()
        else:
            both = {name: torch.cat([uncond[name], cond[name]]) for name in cond}
            output = self.denoiser(torch.cat([sample, sample]), timestep, **both).sample.float()
            uncond_output, cond_output = output.chunk(2)
            output = combine(cond_output, uncond_output, guidance_scale)
        # A model with a learned variance says two things; only DDPM's learned types listen to the second.
        learned = str(self.scheduler.config.get("variance_type")).startswith("learned")
        return output if learned else output[:, : self.denoiser.config.in_channels]

    def _denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        cond: Conditions,
        uncond: Conditions,
        guidance: Guidance,
        generator: torch.Generator | list[torch.Generator] | None,
        eta: float,
        callback_on_step_end: Callable[..., dict | None] | None,
        callback_on_step_end_tensor_inputs: Sequence[str],
    ) -> torch.Tensor:
        """The loop: predict, step, tell the callback.

        Args:
            latents: (B, C, H, W) noise, float32.
            timesteps: the scheduler's grid, or the end of it.
            cond, uncond: keyword tensors of the denoiser, (B, ...), the second for "no condition".
            guidance, generator, eta: as in the pipelines' `__call__`.
            callback_on_step_end: called as (pipeline, step, timestep, {name: tensor}); may return replacements.
            callback_on_step_end_tensor_inputs: which tensors it gets.

        Returns:
            (B, C, H, W) float32.
        """
        self._guidance_scale, self._num_timesteps, self._interrupt = guidance.guidance_scale, len(timesteps), False
        # FlowMatchEuler and FlowMatchHeun name no prediction type: a flow is all that they know.
        prediction_type = self.scheduler.config.get("prediction_type", "flow_prediction")
        step_arguments = self._step_arguments(generator, eta)
        whole = len(self.scheduler.timesteps)
        skipped = whole - len(timesteps)  # what a strength leaves out: an interval means noise levels
        dtype = self.denoiser.dtype  # diffusers finds it by a walk over the weights, half a millisecond
        with self.progress_bar(total=len(timesteps)) as progress:
            for i, t in enumerate(timesteps):
                scale = scale_in_interval(self._guidance_scale, guidance.guidance_interval, (skipped + i) / whole)
                model_input = self.scheduler.scale_model_input(latents, t) if self._scales_input() else latents
                model_output = self._predict(model_input.to(dtype), t, cond, uncond, guidance, scale)
                if starts_with_zero(guidance.guidance, scale, i, prediction_type):
                    model_output = torch.zeros_like(model_output)
                latents = self.scheduler.step(model_output, t, latents, **step_arguments).prev_sample
                if callback_on_step_end is not None:
                    tensors = {"latents": latents, "model_output": model_output}
                    asked = {name: tensors[name] for name in callback_on_step_end_tensor_inputs}
                    latents = (callback_on_step_end(self, i, t, asked) or {}).get("latents", latents)
                progress.update()
                if self._interrupt:
                    break
        return latents

    def _scales_input(self) -> bool:
        return hasattr(self.scheduler, "scale_model_input")  # diffusers' flow schedulers have nothing to scale

    def _step_arguments(self, generator: torch.Generator | list[torch.Generator] | None, eta: float) -> dict[str, Any]:
        """Those of `generator` and `eta` that the scheduler's `step` knows."""
        accepted = inspect.signature(self.scheduler.step).parameters
        if eta and "eta" not in accepted:
            raise ValueError(f"eta: got {eta}, but {type(self.scheduler).__name__} has no eta; pass 0.")
        offered = {"generator": generator, "eta": eta}
        return {name: value for name, value in offered.items() if name in accepted}

    def _decode(self, latents: torch.Tensor, output_type: str) -> torch.Tensor | Any:
        """Latents to what `output_type` names: "pil" list, "np" (B, H, W, C) or "pt" (B, C, H, W) in [0, 1]."""
        if output_type == "latent":
            return latents
        if self.vae is not None:
            scaled = latents.to(self.vae.dtype) / self.vae.config.scaling_factor
            latents = self.vae.decode(scaled).sample.float()
        return VaeImageProcessor(vae_scale_factor=1).postprocess(latents, output_type=output_type)


def make_generators(generator: Seeds | None, batch_size: int) -> torch.Generator | list[torch.Generator] | None:
    """What `generator=` may be, as generators.

    Args:
        generator: a generator or a list of one per image; or a seed, which gives image i a generator of its own seeded
            `seed + i`, or a list of one seed per image.
        batch_size: number of images.

    Raises:
        ValueError: a list of another length.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return generator
    if isinstance(generator, int):
        generator = range(generator, generator + batch_size)
    if len(generator) != batch_size:
        raise ValueError(f"generator: got {len(generator)} for {batch_size} images; pass one per image, or one seed.")
    return [g if isinstance(g, torch.Generator) else torch.Generator().manual_seed(g) for g in generator]


def _device_of(generator: torch.Generator | list[torch.Generator] | None) -> torch.device:
    first = generator[0] if isinstance(generator, list) else generator
    return torch.device("cpu") if first is None else first.device
