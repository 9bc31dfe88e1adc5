"""`ClassConditionedDigitPipeline`: digits of the classes that one asks for."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from ..models import DigitDiT2DModel, DigitUNet2DModel
from .pipeline_digit import DigitPipeline, Guidance, Seeds, make_generators

Labels = int | str | Sequence[int | str] | torch.Tensor


class ClassConditionedDigitPipeline(DigitPipeline):
    """Draws images of given classes, with classifier-free guidance.

    Args:
        denoiser: predicts; trained with label dropout if guidance is wanted.
        scheduler: any scheduler of diffusers' interface whose `prediction_type` is what the denoiser predicts.
        vae: decodes latents; None where the denoiser works on pixels.
        id2label: names of the classes, several names of one class separated by commas.
        default_num_inference_steps, default_guidance_scale: what a call uses that does not say.

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
    ):
        super().__init__()
        if denoiser.config.num_classes is None:
            raise ValueError(
                "denoiser: got a model with num_classes=None, expected one that is conditioned on classes."
            )
        self.register_modules(denoiser=denoiser, scheduler=scheduler, vae=vae)
        self.register_to_config(
            id2label=_names_by_id(id2label),
            default_num_inference_steps=default_num_inference_steps,
            default_guidance_scale=default_guidance_scale,
        )

    @property
    def labels(self) -> dict[str, int]:
        """Id of each name that `id2label` knows."""
        names = self.config.id2label or {}
        return {name.strip(): int(i) for i, joined in names.items() for name in joined.split(",")}

    def get_label_ids(self, label: str | Sequence[str]) -> list[int]:
        """Ids of class names.

        Args:
            label: a name or several.

        Raises:
            ValueError: a name that the model does not know; the message lists those it knows.
        """
        names = [label] if isinstance(label, str) else list(label)
        for name in names:
            if name not in self.labels:
                known = ", ".join(self.labels) or "no names, only ids"
                raise ValueError(f"class_labels: got {name!r}, expected a name that the model knows: {known}.")
        return [self.labels[name] for name in names]

    def _label_ids(self, class_labels: Labels) -> list[int]:
        """Check labels of any accepted kind and turn them into ids."""
        num_classes = self.denoiser.config.num_classes
        if isinstance(class_labels, torch.Tensor):
            class_labels = class_labels.flatten().tolist()
        elif isinstance(class_labels, str) or not isinstance(class_labels, Sequence):
            class_labels = [class_labels]
        ids: list[int] = []
        for label in class_labels:
            if isinstance(label, str):
                ids += self.get_label_ids(label)
            elif isinstance(label, Integral) and not isinstance(label, bool) and 0 <= int(label) < num_classes:
                ids.append(int(label))
            else:
                raise ValueError(
                    f"class_labels: got {label!r}, expected whole numbers from 0 to {num_classes - 1} or class names."
                )
        if not ids:
            raise ValueError("class_labels: got an empty list, expected at least one class.")
        return ids

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
        guidance_interval: tuple[float, float] = (0.0, 1.0),
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
            guidance_interval: start and end of guidance as fractions of the steps; outside it is off.
            weak_denoiser: autoguidance (2406.02507): a worse model of the same kind, such as an early checkpoint,
                takes the place of "no condition".

        Returns:
            `.images`.

        Raises:
            ValueError: for any argument that is out of range; the message says what was expected.

        Source: 2207.12598 for guidance; the samplers' papers are named in `schedulers/`.
        """
        # 1. Check inputs; encode the condition.
        if num_inference_steps is None:
            num_inference_steps = self.config.default_num_inference_steps
        if guidance_scale is None:
            guidance_scale = self.config.default_guidance_scale
        self._check_call(num_inference_steps, output_type, callback_on_step_end_tensor_inputs)
        guide = Guidance(guidance_scale, guidance, guidance_interval, weak_denoiser)
        if num_images_per_prompt < 1:
            raise ValueError(f"num_images_per_prompt: got {num_images_per_prompt}, expected 1 or more.")
        ids = [i for i in self._label_ids(class_labels) for _ in range(num_images_per_prompt)]
        labels = torch.tensor(ids, device=self._execution_device)
        null_labels = torch.full_like(labels, self.denoiser.config.num_classes)

        # 2. Make noise.
        grid = self._set_timesteps(num_inference_steps, timesteps)
        generators = make_generators(generator, len(ids))
        latents = self._prepare_latents(len(ids), generators, latents)

        # 3. Denoise, 4. decode.
        latents = self._denoise(
            latents,
            grid,
            {"class_labels": labels},
            {"class_labels": null_labels},
            guide,
            generators,
            eta,
            callback_on_step_end,
            callback_on_step_end_tensor_inputs,
        )
        images = self._decode(latents, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)


def _names_by_id(id2label: Mapping[Any, str] | None) -> dict[int, str] | None:
    """JSON turns integer keys into strings; turn them back."""
    return None if id2label is None else {int(i): name for i, name in id2label.items()}
