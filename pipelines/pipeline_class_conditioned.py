"""`ClassConditionedDigitPipeline`: images of the classes that one asks for."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from ..models import DigitDiT2DModel, DigitUNet2DModel
from .conditioners import ClassConditioner, Labels
from .options import Seeds, StepCallback, make_generators
from .pipeline_digit import DigitPipeline


class ClassConditionedDigitPipeline(DigitPipeline):
    """Samples images of given classes, with classifier-free guidance.

    Args:
        denoiser: predicts; trained with label dropout if guidance is wanted.
        scheduler: any scheduler of diffusers' interface whose `prediction_type` is what the denoiser predicts.
        vae: decodes latents; None where the denoiser works on pixels.
        id2label: names of the classes, several names of one class separated by commas. None is what the denoiser's
            config says, and so for the next three.
        default_num_inference_steps, default_guidance_scale, default_guidance_interval: what a call uses that does not
            say; 10, 2.0 and (0.0, 1.0) if the denoiser's config does not say either.

    Raises:
        ValueError: a denoiser without classes.
    """

    def __init__(
        self,
        denoiser: DigitUNet2DModel | DigitDiT2DModel,
        scheduler: SchedulerMixin,
        vae: AutoencoderKL | AutoencoderTiny | None = None,
        id2label: dict | None = None,
        default_num_inference_steps: int | None = None,
        default_guidance_scale: float | None = None,
        default_guidance_interval: list | tuple | None = None,
    ):
        super().__init__()
        if denoiser.config.num_classes is None:
            raise ValueError(
                "denoiser: got a model with num_classes=None, expected one that is conditioned on classes."
            )
        self._register(
            {"denoiser": denoiser, "scheduler": scheduler, "vae": vae},
            id2label=id2label,
            default_num_inference_steps=default_num_inference_steps,
            default_guidance_scale=default_guidance_scale,
            default_guidance_interval=default_guidance_interval,
        )

    @property
    def conditioner(self) -> ClassConditioner:
        """Turns classes into conditions."""
        return ClassConditioner(self.denoiser.config.num_classes, self.config.id2label, self._execution_device)

    @torch.no_grad()
    def __call__(
        self,
        class_labels: Labels,
        num_images_per_prompt: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: Seeds | None = None,
        latents: torch.Tensor | None = None,
        eta: float = 0.0,
        timesteps: Sequence[float] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance: str = "cfg",
        guidance_interval: tuple[float, float] | None = None,
        weak_denoiser: DigitUNet2DModel | DigitDiT2DModel | None = None,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Sample images.

        Args:
            class_labels: a class or several: ids, names of `id2label`, or an integer array or tensor.
            num_images_per_prompt: images of each class; those of one class come next to each other.
            num_inference_steps: denoising steps; None is the default saved with the weights.
            guidance_scale: `uncond + s * (cond - uncond)`: 1 is off and costs one forward, 0 is unconditional, more is
                truer to class and less diverse; None is the default saved with the weights.
            generator: a generator or one per image; or a seed (image i is seeded `seed + i`), or one seed per image.
                With one per image, an image is the same in any batch, up to the rounding of float32.
            latents: (B, C, H, W) noise of unit variance to start from, in place of drawn noise.
            eta: fresh noise of DDIM, 0 (none) to 1 (as much as DDPM).
            timesteps: a grid of one's own, descending, in place of `num_inference_steps`.
            output_type: "pil", "np" (B, H, W, C) or "pt" (B, C, H, W) in [0, 1], or "latent" (B, C, H, W) in [-1, 1].
            return_dict: return an `ImagePipelineOutput`, else a tuple.
            callback_on_step_end: called after each step as (pipeline, step, timestep, {name: tensor}); the "latents"
                of a dict that it returns replace the call's. The pipeline that it gets is the call's own view: see
                `Call`. Also a `PipelineCallback` of diffusers.
            callback_on_step_end_tensor_inputs: which of `options.TENSOR_INPUTS` it gets.
            guidance: name of a rule in `guidance.GUIDANCE_RULES`, such as "cfg".
            guidance_interval: start and end of guidance as fractions of the steps from pure noise, outside of which a
                scale above 1 is off and costs one forward; None is the default saved with the weights.
            weak_denoiser: autoguidance (2406.02507): a worse model of the same kind, such as an early checkpoint,
                takes the place of "no condition".

        Returns:
            `.images`.

        Raises:
            ValueError: for any argument that is out of range; the message says what was expected.

        Source: 2207.12598 for guidance; the samplers' papers are named in `schedulers/`.
        """
        options = self.check_inputs(
            num_inference_steps,
            guidance_scale,
            eta,
            timesteps,
            output_type=output_type,
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
            guidance=guidance,
            guidance_interval=guidance_interval,
            weak_denoiser=weak_denoiser,
            num_images_per_prompt=num_images_per_prompt,
        )
        conditions = self.encode_conditions(class_labels, repeats=int(num_images_per_prompt))
        generators = make_generators(generator, len(conditions))
        latents = self.prepare_latents(len(conditions), generators, latents, conditions.device)
        latents = self.denoise(latents, conditions, options, generators)
        images = self.decode_latents(latents, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)
