"""`TextConditionedDigitPipeline`: digits and numbers as a prompt describes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import DigitDiT2DModel, DigitUNet2DModel
from .conditioners import Conditions
from .options import Generators, Seeds, StepCallback, make_generators, whole_number
from .pipeline_digit import DigitPipeline
from .prompt_conditioner import Embedded, PromptConditioner
from .rows import compose_row


@dataclass
class TextConditionedOutput(BaseOutput):
    """What was sampled.

    Attributes:
        images: one per prompt and repetition, of the call's output type. Where all are single digits: a list of PIL
            images or an array of (B, …); where some are numbers, whose rows are wider: a list.
        digits: for each image the list of its pieces, one per digit of the number.
    """

    images: Any
    digits: list


class TextConditionedDigitPipeline(DigitPipeline):
    """Samples what a prompt describes, in English or Korean, with classifier-free guidance.

    A number of several digits becomes one row.

    Args:
        denoiser: predicts; with cross-attention to a text.
        scheduler: any scheduler of diffusers' interface whose `prediction_type` is what the denoiser predicts.
        text_encoder: any text encoder of transformers whose width is the denoiser's `cross_attention_dim`.
        tokenizer: the encoder's.
        vae: decodes latents; None where the denoiser works on pixels.
        max_prompt_tokens: tokens that a prompt is padded or cut to. None is what the denoiser's config says, or else
            32; likewise for the next four.
        digit_guidance: where a call gives no `negative_prompt`, guidance leads away from the prompt with its digit left
            open ("a thin digit" for "a thin 4") in place of "": it sharpens which digit it is, and not the style.
        default_num_inference_steps, default_guidance_scale, default_guidance_interval: what a call uses that does not
            say.

    Raises:
        ValueError: a denoiser without text, or one of another width.
    """

    def __init__(
        self,
        denoiser: DigitUNet2DModel | DigitDiT2DModel,
        scheduler: SchedulerMixin,
        text_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        vae: AutoencoderKL | AutoencoderTiny | None = None,
        max_prompt_tokens: int | None = None,
        digit_guidance: bool | None = None,
        default_num_inference_steps: int | None = None,
        default_guidance_scale: float | None = None,
        default_guidance_interval: list | tuple | None = None,
    ):
        super().__init__()
        components = {"denoiser": denoiser, "scheduler": scheduler, "vae": vae}
        self._register(
            {**components, "text_encoder": text_encoder, "tokenizer": tokenizer},
            max_prompt_tokens=max_prompt_tokens,
            digit_guidance=digit_guidance,
            default_num_inference_steps=default_num_inference_steps,
            default_guidance_scale=default_guidance_scale,
            default_guidance_interval=default_guidance_interval,
        )

    @property
    def conditioner(self) -> PromptConditioner:
        """Turns prompts into conditions."""
        c, device = self.config, self._execution_device
        parts = (self.text_encoder, self.tokenizer, self.denoiser)
        return PromptConditioner(*parts, c.max_prompt_tokens, c.digit_guidance, device)

    def _conditions(
        self,
        prompt: str | Sequence[str] | None,
        negative_prompt: str | Sequence[str] | None,
        repeats: int,
        generator: Seeds | None,
        embedded: Embedded | None,
        negative_embedded: Embedded | None,
    ) -> tuple[Conditions, Generators]:
        """Conditions of prompts, or of embeddings in their place, and a generator for each image."""
        if (prompt is None) == (embedded is None):
            raise ValueError("prompt: pass exactly one of prompt and prompt_embeds.")
        conditioner = self.conditioner
        inputs = conditioner.listed(prompt) if prompt is not None else cast(Embedded, embedded)
        count = len(inputs.states if isinstance(inputs, Embedded) else inputs)
        generators = make_generators(generator, count * whole_number("num_images_per_prompt", repeats))
        negative = negative_prompt if negative_embedded is None else negative_embedded
        return conditioner.encode(inputs, negative, repeats=int(repeats), generators=generators), generators

    def encode_prompt(
        self,
        prompt: str | Sequence[str] | None = None,
        do_classifier_free_guidance: bool = True,
        negative_prompt: str | Sequence[str] | None = None,
        num_images_per_prompt: int = 1,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        prompt_attention_mask: torch.Tensor | None = None,
        negative_prompt_attention_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return embeddings that a call takes in place of prompts, in the form of diffusers' PixArt pipelines.

        Args:
            prompt, negative_prompt, num_images_per_prompt, and embeddings in their place: as in `__call__`.
            do_classifier_free_guidance: whether to return the negative half as well.

        Returns:
            `prompt_embeds` (N, S, D), `prompt_attention_mask` (N, S), `negative_prompt_embeds` and
            `negative_prompt_attention_mask` of N pieces: a number is one piece for each digit.

        Raises:
            ValueError: as `__call__`.
        """
        embedded = _embedded(prompt_embeds, prompt_attention_mask)
        negative = _embedded(negative_prompt_embeds, negative_prompt_attention_mask)
        made, _ = self._conditions(prompt, negative_prompt, num_images_per_prompt, None, embedded, negative)
        (states, mask), (null_states, null_mask) = made.cond.values(), made.null.values()
        return (states, mask, null_states, null_mask) if do_classifier_free_guidance else (states, mask, None, None)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        num_images_per_prompt: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: Seeds | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        prompt_attention_mask: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        negative_prompt_attention_mask: torch.Tensor | None = None,
        eta: float = 0.0,
        timesteps: Sequence[float] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance: str = "cfg",
        guidance_interval: tuple[float, float] | None = None,
        weak_denoiser: DigitUNet2DModel | DigitDiT2DModel | None = None,
    ) -> TextConditionedOutput | tuple[Any, list]:
        """Sample images.

        Args:
            prompt: one or a list: a digit in any form ("7", "seven", "VII", "칠"), with words for its stroke ("a thin 4
                leaning left"), or a number ("2026", "three hundred and five", "이천이십육"), whose digits share one
                style. "" is unconditional. Words that are not understood are named in a warning and left out.
            negative_prompt: what guidance leads away from, one or a list of one per prompt; None is "", or what
                `digit_guidance` makes of the prompt if the weights were saved with it.
            num_images_per_prompt: images of each prompt; those of one prompt come next to each other.
            generator: as in `ClassConditionedDigitPipeline`, one per image. The digits of a number are drawn from one
                generator, the style that they share first.
            latents: (B, C, H, W) noise of unit variance, one for each piece.
            prompt_embeds: (B, S, D) in place of `prompt`, as `encode_prompt` returns; each is sampled as one piece.
            prompt_attention_mask: (B, S) of `prompt_embeds`; None reads all tokens.
            negative_prompt_embeds, negative_prompt_attention_mask: in place of `negative_prompt`, likewise.
            num_inference_steps, guidance_scale, eta, timesteps, callback_on_step_end,
                callback_on_step_end_tensor_inputs, guidance, guidance_interval, weak_denoiser: as in
                `ClassConditionedDigitPipeline`.
            output_type: "pil", "np" (H, W, C) or "pt" (C, H, W) in [0, 1], or "latent", which composes no rows.
            return_dict: return a `TextConditionedOutput`, else a tuple.

        Returns:
            `.images` and `.digits`.

        Raises:
            ValueError: for any argument that is out of range, or a prompt with a number that is none.
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
        )
        embedded = _embedded(prompt_embeds, prompt_attention_mask)
        negative = _embedded(negative_prompt_embeds, negative_prompt_attention_mask)
        conditions, generators = self._conditions(
            prompt, negative_prompt, num_images_per_prompt, generator, embedded, negative
        )
        # The pieces of a row one after the other from its generator.
        generators = conditions.per_piece(generators)
        latents = self.prepare_latents(len(conditions), generators, latents, conditions.device)
        latents = self.denoise(latents, conditions, options, generators)
        images, digits = self._compose(latents, conditions.sizes, output_type)
        self.maybe_free_model_hooks()
        return TextConditionedOutput(images=images, digits=digits) if return_dict else (images, digits)

    def _compose(self, latents: torch.Tensor, sizes: Sequence[int], output_type: str) -> tuple[Any, list]:
        """Images and their pieces: rows of `sizes` pieces each."""
        pieces = self.decode_latents(latents, output_type)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        digits = [[pieces[i] for i in range(start, start + size)] for start, size in zip(starts, sizes, strict=True)]
        if output_type == "latent" or max(sizes) == 1:
            return pieces, digits
        sampled = self.decode_latents(latents, "pt").cpu()
        images = []
        for start, size in zip(starts, sizes, strict=True):
            row = compose_row(list(sampled[start : start + size])) if size > 1 else sampled[start]
            images.append(
                self.image_processor.postprocess(row[None], output_type=output_type, do_denormalize=[False])[0]
            )
        return images, digits


def _embedded(states: torch.Tensor | None, mask: torch.Tensor | None) -> Embedded | None:
    return None if states is None else Embedded(states, mask)
