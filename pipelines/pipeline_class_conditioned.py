"""`ClassConditionedDigitPipeline`: digits of the classes that one asks for."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from ..models import DigitDiT2DModel, DigitUNet2DModel
from .conditions import ClassConditions, Labels, names_by_id
from .grids import set_timesteps
from .pipeline_digit import DigitPipeline, Seeds, make_generators


class ClassConditionedDigitPipeline(ClassConditions, DigitPipeline):
    """Draws images of given classes, with classifier-free guidance.

    Args:
        denoiser: predicts; trained with label dropout if guidance is wanted.
        scheduler: any scheduler of diffusers' interface whose `prediction_type` is what the denoiser predicts.
        vae: decodes latents; None where the denoiser works on pixels.
        id2label: names of the classes, several names of one class separated by commas.
        default_num_inference_steps, default_guidance_scale, default_guidance_interval: what a call uses that does not
            say.

    Raises:
        ValueError: a denoiser without classes.
    """

    def __init__(
        self,
        denoiser: DigitUNet2DModel | DigitDiT2DModel,
        scheduler: SchedulerMixin,
        vae: AutoencoderKL | None = None,
        id2label: dict | None = None,
        default_num_inference_steps: int = 10,
        default_guidance_scale: float = 2.0,
        default_guidance_interval: list | tuple = (0.0, 1.0),
    ):
        super().__init__()
        if denoiser.config.num_classes is None:
            raise ValueError(
                "denoiser: got a model with num_classes=None, expected one that is conditioned on classes."
            )
        self.register_modules(denoiser=denoiser, scheduler=scheduler, vae=vae)
        self.register_to_config(
            id2label=names_by_id(id2label),
            default_num_inference_steps=default_num_inference_steps,
            default_guidance_scale=default_guidance_scale,
            default_guidance_interval=default_guidance_interval,
        )

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
        callback_on_step_end: Callable[..., dict | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance: str = "cfg",
        guidance_interval: tuple[float, float] | None = None,
        weak_denoiser: DigitUNet2DModel | DigitDiT2DModel | None = None,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Draw.

        Args:
            class_labels: a class or several: ids, names of `id2label`, or an integer tensor.
            num_images_per_prompt: images of each class; those of one class come next to each other.
            num_inference_steps: denoising steps; None is the default saved with the weights.
            guidance_scale: `uncond + s * (cond - uncond)`: 1 is off and costs one forward, 0 is unconditional, more is
                truer to class and less diverse; None is the default saved with the weights.
            generator: a generator or a list of one per image; or a seed (image i is seeded `seed + i`), or a list of
                one seed per image. With one per image, an image is the same in any batch.
            latents: (B, C, H, W) noise of unit variance to start from, in place of drawn noise.
            eta: fresh noise of DDIM, 0 (none) to 1 (as much as DDPM).
            timesteps: a grid of one's own, descending, in place of `num_inference_steps`.
            output_type: "pil", "np" (B, H, W, C) or "pt" (B, C, H, W) in [0, 1], or "latent" (B, C, H, W) in [-1, 1].
            return_dict: return an `ImagePipelineOutput`, else a tuple.
            callback_on_step_end: called after each step as (pipeline, step, timestep, {name: tensor}); the "latents"
                of a dict that it returns replace the pipeline's.
            callback_on_step_end_tensor_inputs: which of "latents" and "model_output" it gets.
            guidance: "cfg", "cfg_rescale" or "cfg_zero" (`pipelines/guidance.py`).
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
        # 1. Check inputs; encode the condition.
        steps = self._check_call(num_inference_steps, output_type, callback_on_step_end_tensor_inputs)
        guide = self._guidance(guidance_scale, guidance, guidance_interval, weak_denoiser)
        if num_images_per_prompt < 1:
            raise ValueError(f"num_images_per_prompt: got {num_images_per_prompt}, expected 1 or more.")
        ids = [i for i in self._label_ids(class_labels) for _ in range(num_images_per_prompt)]
        device = self._execution_device
        cond, uncond = self._class_conditions(ids, device)

        # 2. Make noise.
        grid = set_timesteps(self.scheduler, steps, timesteps, device)
        generators = make_generators(generator, len(ids))
        latents = self._prepare_latents(len(ids), generators, latents, device)

        # 3. Denoise, 4. decode.
        latents = self._denoise(
            latents,
            grid,
            cond,
            uncond,
            guide,
            generators,
            eta,
            callback_on_step_end,
            callback_on_step_end_tensor_inputs,
        )
        images = self._decode(latents, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)
