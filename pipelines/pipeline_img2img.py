"""`DigitImg2ImgPipeline`: a given image drawn again, by the weights of classes or of texts."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import PipelineImageInput, VaeImageProcessor
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import DigitDiT2DModel, DigitUNet2DModel
from .conditions import ClassConditions, Labels, PromptConditions, names_by_id
from .grids import set_timesteps
from .pipeline_digit import Conditions, DigitPipeline, Seeds, make_generators

StepCallback = Callable[..., dict | None]


class DigitImg2ImgPipeline(ClassConditions, PromptConditions, DigitPipeline):
    """Draws an image again: noise is added up to a level, and taken out under another class or prompt (2108.01073).

    It takes the weights of either kind: `DigitImg2ImgPipeline.from_pretrained("unet-mnist")`, or `from_pipe(pipeline)`,
    which shares them.

    Args:
        denoiser, scheduler, vae: as in the other pipelines.
        text_encoder, tokenizer: of a denoiser with text; None for one of classes.
        id2label, max_prompt_tokens, digit_guidance: as in the other pipelines.
        default_num_inference_steps, default_guidance_scale, default_guidance_interval: as in the other pipelines.

    Raises:
        ValueError: a denoiser with text and no encoder for it.
    """

    model_cpu_offload_seq = "text_encoder->denoiser->vae"
    _optional_components = ["vae", "text_encoder", "tokenizer"]
    _takes_any_weights = True

    def __init__(
        self,
        denoiser: DigitUNet2DModel | DigitDiT2DModel,
        scheduler: SchedulerMixin,
        vae: AutoencoderKL | None = None,
        text_encoder: PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        id2label: dict | None = None,
        max_prompt_tokens: int = 32,
        digit_guidance: bool = False,
        default_num_inference_steps: int = 10,
        default_guidance_scale: float = 2.0,
        default_guidance_interval: list | tuple = (0.0, 1.0),
    ):
        super().__init__()
        if denoiser.config.cross_attention_dim is not None and text_encoder is None:
            raise ValueError("text_encoder: got None for a denoiser with text, expected the encoder that it knows.")
        self.register_modules(
            denoiser=denoiser, scheduler=scheduler, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer
        )
        self.register_to_config(
            id2label=names_by_id(id2label),
            max_prompt_tokens=max_prompt_tokens,
            digit_guidance=digit_guidance,
            default_num_inference_steps=default_num_inference_steps,
            default_guidance_scale=default_guidance_scale,
            default_guidance_interval=default_guidance_interval,
        )

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        image: PipelineImageInput | None = None,
        strength: float = 0.6,
        class_labels: Labels | None = None,
        negative_prompt: str | None = None,
        **arguments: Any,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Draw again.

        Args:
            prompt: for the weights of texts, one or a list, of one digit each.
            image: PIL, array or tensor with values in [0, 1], one or a batch; brought to the model's size and channels.
            strength: how far up the noise goes, in [0, 1]: 0 returns the image, 1 keeps nothing of it.
            class_labels: for the weights of classes, in place of `prompt`.
            negative_prompt: what guidance leads away from; None as in `TextConditionedDigitPipeline`.
            arguments: `num_images_per_prompt`, `num_inference_steps` (of the whole way; `strength` of them are taken),
                `guidance_scale`, `generator`, `latents` (the noise that is added), `eta`, `output_type`, `return_dict`,
                `callback_on_step_end`, `callback_on_step_end_tensor_inputs`, `guidance`, `guidance_interval` and
                `weak_denoiser`, as in `ClassConditionedDigitPipeline`.

        Returns:
            `.images`.

        Raises:
            ValueError: for any argument that is out of range; the message says what was expected.
        """
        return self._redraw(prompt, image, None, strength, class_labels, negative_prompt, **arguments)

    @torch.no_grad()
    def _redraw(
        self,
        prompt: str | Sequence[str] | None,
        image: PipelineImageInput | None,
        mask_image: PipelineImageInput | None,
        strength: float,
        class_labels: Labels | None,
        negative_prompt: str | None,
        num_images_per_prompt: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: Seeds | None = None,
        latents: torch.Tensor | None = None,
        eta: float = 0.0,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance: str = "cfg",
        guidance_interval: tuple[float, float] | None = None,
        weak_denoiser: DigitUNet2DModel | DigitDiT2DModel | None = None,
    ) -> ImagePipelineOutput | tuple[Any]:
        # 1. Check inputs; encode conditions and image.
        steps = self._check_call(num_inference_steps, output_type, callback_on_step_end_tensor_inputs)
        guide = self._guidance(guidance_scale, guidance, guidance_interval, weak_denoiser)
        if not 0 <= strength <= 1:
            raise ValueError(f"strength: got {strength}, expected a number from 0 (the image) to 1 (all new).")
        if image is None:
            raise ValueError("image: got None, expected the image to start from.")
        original = self._encode_image(image)
        cond, uncond, count = self._conditions(
            prompt, class_labels, negative_prompt, len(original), num_images_per_prompt
        )
        original = original.repeat_interleave(count // len(original), dim=0)
        mask = None if mask_image is None else self._encode_mask(mask_image, original)

        # 2. Add noise up to the level that the strength says.
        grid = self._timesteps_from(steps, strength, original.device)
        generators = make_generators(generator, count)
        noise = self._draw_noise(count, generators, latents, original.device)
        result = original
        if len(grid):
            result = self._noised(original, noise, grid[0])
            if mask is not None:
                callback_on_step_end, callback_on_step_end_tensor_inputs = self._keeping(
                    original, noise, mask, grid, callback_on_step_end, callback_on_step_end_tensor_inputs
                )
            # 3. Denoise, 4. decode.
            result = self._denoise(
                result,
                grid,
                cond,
                uncond,
                guide,
                generators,
                eta,
                callback_on_step_end,
                callback_on_step_end_tensor_inputs,
            )
        images = self._decode(result, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _conditions(
        self,
        prompt: str | Sequence[str] | None,
        class_labels: Labels | None,
        negative_prompt: str | None,
        num_originals: int,
        repeats: int,
    ) -> tuple[Conditions, Conditions, int]:
        """Conditions with and without, and how many images there will be: one image may have many prompts, and back."""
        of_text = self.text_encoder is not None
        given, other = (prompt, class_labels) if of_text else (class_labels, prompt)
        if given is None or other is not None or (negative_prompt is not None and not of_text):
            wanted = "prompt: expected it, and no class_labels, for weights of texts."
            if not of_text:
                wanted = "class_labels: expected them, and no prompt, for weights of classes."
            raise ValueError(wanted)
        if of_text:
            readings = self._read(prompt or "")
            for reading in readings:
                if len(reading.digits) > 1:
                    raise ValueError(
                        f"prompt: got a number of {len(reading.digits)} digits, expected one for one image."
                    )
            items: list[Any] = [reading.text for reading in readings]
        else:
            items = self._label_ids(class_labels if class_labels is not None else [])
        longest = max(len(items), num_originals)
        if repeats < 1 or longest % len(items) or longest % num_originals:
            raise ValueError(
                f"image: got {num_originals} images for {len(items)} conditions, {repeats} times; expected one of "
                "either, or as many."
            )
        items = [item for item in items * (longest // len(items)) for _ in range(repeats)]
        if of_text:
            negative = self._default_negatives(items)
            if negative_prompt is not None:
                negative = [reading.text for reading in self._read(negative_prompt, "negative_prompt")]
            conditions = self._prompt_conditions(items, None, None, len(items))
            return conditions, self._prompt_conditions(negative, None, None, len(items)), len(items)
        return *self._class_conditions(items, self._execution_device), len(items)

    def _encode_image(self, image: PipelineImageInput) -> torch.Tensor:
        """(B, C, H, W) float32 latents of images; without a vae, their pixels in [-1, 1]."""
        c = self.denoiser.config
        channels = c.in_channels if self.vae is None else self.vae.config.in_channels
        processor = VaeImageProcessor(
            vae_scale_factor=1, do_convert_grayscale=channels == 1, do_convert_rgb=channels == 3
        )
        side = c.sample_size * (1 if self.vae is None else 2 ** (len(self.vae.config.block_out_channels) - 1))
        pixels = processor.preprocess(image, height=side, width=side).to(self._execution_device, torch.float32)
        if pixels.shape[1] != channels:
            raise ValueError(f"image: got {pixels.shape[1]} channels, expected {channels}.")
        if self.vae is None:
            return pixels
        return self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mode().float() * self.vae.config.scaling_factor

    def _encode_mask(self, mask_image: PipelineImageInput, original: torch.Tensor) -> torch.Tensor:
        """(B or 1, 1, H, W) of the latents' size: 1 where to draw, 0 where the original stays."""
        height, width = original.shape[-2:]
        processor = VaeImageProcessor(
            vae_scale_factor=1, do_normalize=False, do_binarize=True, do_convert_grayscale=True, resample="nearest"
        )
        mask = processor.preprocess(mask_image, height=height, width=width).to(original)
        if len(original) % len(mask) or mask.shape[1] != 1:
            raise ValueError(
                f"mask_image: got {tuple(mask.shape)}, expected one mask of one channel, or one for each of "
                f"{len(original)} images."
            )
        return mask.repeat_interleave(len(original) // len(mask), dim=0)

    def _timesteps_from(self, steps: int, strength: float, device: torch.device) -> torch.Tensor:
        """The last `strength` of the grid, none for too few; the scheduler is told where it begins."""
        grid = set_timesteps(self.scheduler, steps, None, device)
        begin = (steps - int(steps * strength)) * getattr(self.scheduler, "order", 1)
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(begin)
        return grid[begin:]

    def _noised(self, original: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The original at a noise level."""
        timesteps = timestep.reshape(1).expand(len(original))
        if hasattr(self.scheduler, "scale_noise"):  # what diffusers' flow schedulers call it, in another order
            return self.scheduler.scale_noise(original, timesteps, noise)
        return self.scheduler.add_noise(original, noise, timesteps)

    def _keeping(
        self,
        original: torch.Tensor,
        noise: torch.Tensor,
        mask: torch.Tensor,
        grid: torch.Tensor,
        callback: StepCallback | None,
        inputs: Sequence[str],
    ) -> tuple[StepCallback, Sequence[str]]:
        """A callback that puts the original back where the mask is 0, after the user's own has had its say.

        At each step it is put back with the noise of the level reached, and after the last without (2201.09865,
        equation 8).
        """

        def keep(pipeline: Any, i: int, t: torch.Tensor, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            latents = tensors["latents"]
            if callback is not None:
                own = {name: tensors[name] for name in inputs}
                latents = (callback(pipeline, i, t, own) or {}).get("latents", latents)
            last = i + 1 == len(grid)
            known = original if last else self._noised(original, noise, grid[i + 1])
            return {"latents": torch.where(mask > 0, latents, known)}

        return keep, tuple(dict.fromkeys(["latents", *inputs]))
