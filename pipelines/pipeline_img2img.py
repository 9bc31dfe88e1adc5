"""`DigitImg2ImgPipeline`: a given image sampled anew, by the weights of classes or of texts."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.image_processor import PipelineImageInput, VaeImageProcessor
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import DigitDiT2DModel, DigitUNet2DModel
from .codec import unit_images
from .conditioners import ClassConditioner, Conditions, Labels
from .options import Seeds, StepCallback, make_generators, whole_number
from .pipeline_digit import DigitPipeline
from .prompt_conditioner import PromptConditioner


class DigitImg2ImgPipeline(DigitPipeline):
    """Samples an image anew: noise is added up to a level, and taken out under another class or prompt (2108.01073).

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

    _optional_components = ["vae", "text_encoder", "tokenizer"]
    _takes_any_weights = True

    def __init__(
        self,
        denoiser: DigitUNet2DModel | DigitDiT2DModel,
        scheduler: SchedulerMixin,
        vae: AutoencoderKL | AutoencoderTiny | None = None,
        text_encoder: PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        id2label: dict | None = None,
        max_prompt_tokens: int | None = None,
        digit_guidance: bool | None = None,
        default_num_inference_steps: int | None = None,
        default_guidance_scale: float | None = None,
        default_guidance_interval: list | tuple | None = None,
    ):
        super().__init__()
        if denoiser.config.cross_attention_dim is not None and text_encoder is None:
            raise ValueError("text_encoder: got None for a denoiser with text, expected the encoder that it knows.")
        components = {"denoiser": denoiser, "scheduler": scheduler, "vae": vae}
        self._register(
            {**components, "text_encoder": text_encoder, "tokenizer": tokenizer},
            id2label=id2label,
            max_prompt_tokens=max_prompt_tokens,
            digit_guidance=digit_guidance,
            default_num_inference_steps=default_num_inference_steps,
            default_guidance_scale=default_guidance_scale,
            default_guidance_interval=default_guidance_interval,
        )

    @property
    def conditioner(self) -> ClassConditioner | PromptConditioner:
        """Turns prompts into conditions, or classes where there is no text encoder."""
        c, device = self.config, self._execution_device
        if self.text_encoder is None:
            return ClassConditioner(self.denoiser.config.num_classes, c.id2label, device)
        parts = (self.text_encoder, self.tokenizer, self.denoiser)
        return PromptConditioner(*parts, c.max_prompt_tokens, c.digit_guidance, device)

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        image: PipelineImageInput | None = None,
        strength: float = 0.6,
        class_labels: Labels | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        **arguments: Any,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Sample anew.

        Args:
            prompt: for the weights of texts, one or a list, of one digit each.
            image: PIL, array or tensor, one or a batch, brought to the model's size and channels: bytes are 0 to 255,
                floats in [0, 1].
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
        inputs = {"prompt": prompt, "class_labels": class_labels}
        return self.redraw(inputs, image, None, strength, negative_prompt, **arguments)

    @torch.no_grad()
    def redraw(
        self,
        inputs: dict[str, Any],
        image: PipelineImageInput | None,
        mask_image: PipelineImageInput | None,
        strength: float,
        negative_prompt: str | Sequence[str] | None = None,
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
        """Sample an image anew, or the part of it that a mask leaves open: what the calls of this class and of
        `DigitInpaintPipeline` do.

        Args:
            inputs: what was given as `prompt` and as `class_labels`.
            mask_image: white is sampled anew, black is kept; None for all of the image.
            image, strength, negative_prompt and all others: as in `__call__`.
        """
        options = self.check_inputs(
            num_inference_steps,
            guidance_scale,
            eta,
            strength=strength,
            output_type=output_type,
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
            guidance=guidance,
            guidance_interval=guidance_interval,
            weak_denoiser=weak_denoiser,
        )
        if image is None:
            raise ValueError("image: got None, expected the image to start from.")
        original = self.encode_image(image)
        conditions = self._conditions(inputs, negative_prompt, len(original), num_images_per_prompt)
        original = original.repeat_interleave(len(conditions) // len(original), dim=0)
        mask = None if mask_image is None else self._encode_mask(mask_image, original)
        generators = make_generators(generator, len(conditions))
        noise = self.prepare_latents(len(conditions), generators, latents, original.device)
        result = self.denoise(noise, conditions, options, generators, original, mask)
        images = self.decode_latents(result, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _conditions(
        self, inputs: dict[str, Any], negative: str | Sequence[str] | None, num_originals: int, repeats: int
    ) -> Conditions:
        """Conditions of the argument that the weights know: one image may have many, and back."""
        conditioner: Any = self.conditioner
        repeats = whole_number("num_images_per_prompt", repeats)
        given = {name for name, value in inputs.items() if value is not None}
        if given != {conditioner.argument} or (negative is not None and not conditioner.reads_words):
            what = "class_labels: expected them, and no prompt, for weights of classes."
            if conditioner.reads_words:
                what = "prompt: expected it, and no class_labels, for weights of texts."
            raise ValueError(what)
        items = conditioner.listed(inputs[conditioner.argument])
        longest = max(len(items), num_originals)
        if longest % len(items) or longest % num_originals:
            raise ValueError(
                f"image: got {num_originals} images for {len(items)} conditions, {repeats} times; expected one of "
                "either, or as many."
            )
        conditions = conditioner.encode(items * (longest // len(items)), negative, repeats=repeats)
        if max(conditions.sizes) > 1:
            raise ValueError(f"prompt: got a number of {max(conditions.sizes)} digits, expected one for one image.")
        return conditions

    def encode_image(self, image: PipelineImageInput) -> torch.Tensor:
        """Return (B, C, H, W) float32 latents of images; without a vae, their pixels in [-1, 1].

        Args:
            image: as in `__call__`.

        Raises:
            ValueError: floats outside [0, 1], or another number of channels.
        """
        codec = self.codec
        side = self.denoiser.config.sample_size * codec.scale_factor
        pixels = self.image_processor.preprocess(unit_images(image), height=side, width=side)
        pixels = pixels.to(self._execution_device, torch.float32)
        if pixels.shape[1] != codec.channels:
            raise ValueError(f"image: got {pixels.shape[1]} channels, expected {codec.channels}.")
        return codec.encode(pixels)

    def _encode_mask(self, mask_image: PipelineImageInput, original: torch.Tensor) -> torch.Tensor:
        """(B or 1, 1, H, W) of the latents' size: 1 where to sample, 0 where the original stays."""
        height, width = original.shape[-2:]
        processor = VaeImageProcessor(
            vae_scale_factor=1, do_normalize=False, do_binarize=True, do_convert_grayscale=True, resample="nearest"
        )
        mask = processor.preprocess(unit_images(mask_image, "mask_image"), height=height, width=width).to(original)
        if len(original) % len(mask) or mask.shape[1] != 1:
            raise ValueError(
                f"mask_image: got {tuple(mask.shape)}, expected one mask of one channel, or one for each of "
                f"{len(original)} images."
            )
        return mask.repeat_interleave(len(original) // len(mask), dim=0)
