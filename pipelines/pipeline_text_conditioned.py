"""`TextConditionedDigitPipeline`: digits and numbers as a prompt describes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import DigitDiT2DModel, DigitUNet2DModel
from .conditions import PromptConditions, texts_of_row
from .grids import set_timesteps
from .pipeline_digit import DigitPipeline, Seeds, make_generators
from .rows import compose_row


@dataclass
class TextConditionedOutput(BaseOutput):
    """What was drawn.

    Attributes:
        images: one per prompt and repetition, of the call's output type. Where all are single digits: a list of PIL
            images or an array of (B, …); where some are numbers, whose rows are wider: a list.
        digits: for each image the list of its pieces, one per digit of the number.
    """

    images: Any
    digits: list


class TextConditionedDigitPipeline(PromptConditions, DigitPipeline):
    """Draws what a prompt describes, in English or Korean, with classifier-free guidance.

    A number of several digits is drawn as one row.

    Args:
        denoiser: predicts; with cross-attention to a text.
        scheduler: any scheduler of diffusers' interface whose `prediction_type` is what the denoiser predicts.
        text_encoder: any text encoder of transformers whose width is the denoiser's `cross_attention_dim`.
        tokenizer: the encoder's.
        vae: decodes latents; None where the denoiser works on pixels.
        max_prompt_tokens: tokens that a prompt is padded or cut to.
        digit_guidance: where a call gives no `negative_prompt`, guidance leads away from the prompt with its digit left
            open ("a thin digit" for "a thin 4") in place of "": it sharpens which digit it is, and not the style.
        default_num_inference_steps, default_guidance_scale, default_guidance_interval: what a call uses that does not
            say.

    Raises:
        ValueError: a denoiser without text, or one of another width.
    """

    model_cpu_offload_seq = "text_encoder->denoiser->vae"

    def __init__(
        self,
        denoiser: DigitUNet2DModel | DigitDiT2DModel,
        scheduler: SchedulerMixin,
        text_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        vae: AutoencoderKL | None = None,
        max_prompt_tokens: int = 32,
        digit_guidance: bool = False,
        default_num_inference_steps: int = 10,
        default_guidance_scale: float = 2.0,
        default_guidance_interval: list | tuple = (0.0, 1.0),
    ):
        super().__init__()
        width = denoiser.config.cross_attention_dim
        if width != text_encoder.config.hidden_size:
            raise ValueError(
                f"denoiser: got a model with cross_attention_dim={width}, expected {text_encoder.config.hidden_size}, "
                "the width of the text encoder."
            )
        self.register_modules(
            denoiser=denoiser, scheduler=scheduler, text_encoder=text_encoder, tokenizer=tokenizer, vae=vae
        )
        self.register_to_config(
            max_prompt_tokens=max_prompt_tokens,
            digit_guidance=digit_guidance,
            default_num_inference_steps=default_num_inference_steps,
            default_guidance_scale=default_guidance_scale,
            default_guidance_interval=default_guidance_interval,
        )
        if type(tokenizer).__name__ == "TokenizersBackend":
            # transformers 5 calls PreTrainedTokenizerFast so; 4 knows the old name alone, and 5 both.
            self.register_to_config(tokenizer=("transformers", "PreTrainedTokenizerFast"))

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
        callback_on_step_end: Callable[..., dict | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance: str = "cfg",
        guidance_interval: tuple[float, float] | None = None,
        weak_denoiser: DigitUNet2DModel | DigitDiT2DModel | None = None,
    ) -> TextConditionedOutput | tuple[Any, list]:
        """Draw.

        Args:
            prompt: what to draw, one or a list: a digit in any form ("7", "seven", "VII", "칠"), with words for its
                stroke ("a thin 4 leaning left"), or a number ("2026", "three hundred and five", "이천이십육"), whose
                digits share one style. "" is unconditional. Words that are not understood are named in a warning and
                left out.
            negative_prompt: what guidance leads away from, one or a list of one per prompt; None is "", or what
                `digit_guidance` makes of the prompt if the weights were saved with it.
            num_images_per_prompt: images of each prompt; those of one prompt come next to each other.
            generator: as in `ClassConditionedDigitPipeline`, one per image. The digits of a number are drawn from one
                generator, the style that they share first.
            latents: (B, C, H, W) noise of unit variance, one for each piece.
            prompt_embeds: (B, S, D) in place of `prompt`, as `encode_prompt` returns; each is drawn as one piece.
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
        # 1. Check inputs; read the prompt.
        steps = self._check_call(num_inference_steps, output_type, callback_on_step_end_tensor_inputs)
        guide = self._guidance(guidance_scale, guidance, guidance_interval, weak_denoiser)
        if num_images_per_prompt < 1:
            raise ValueError(f"num_images_per_prompt: got {num_images_per_prompt}, expected 1 or more.")
        if (prompt is None) == (prompt_embeds is None):
            raise ValueError("prompt: pass exactly one of prompt and prompt_embeds.")
        readings = [] if prompt is None else self._read(prompt)
        count = num_images_per_prompt * (len(readings) if prompt_embeds is None else len(prompt_embeds))
        generators = make_generators(generator, count)
        rows = self._rows(readings, num_images_per_prompt, generators) if readings else [[""]] * count
        sizes = [len(row) for row in rows]

        # 2. Encode the conditions, one for each piece.
        texts = [text for row in rows for text in row]
        cond = self._prompt_conditions(texts, prompt_embeds, prompt_attention_mask, len(texts))
        negatives = self._default_negatives(texts)
        if negative_prompt is not None:
            negatives = self._negative_texts(negative_prompt, num_images_per_prompt, sizes)
        uncond = self._prompt_conditions(negatives, negative_prompt_embeds, negative_prompt_attention_mask, len(texts))

        # 3. Make noise: the pieces of a row one after the other from its generator.
        device = self._execution_device
        grid = set_timesteps(self.scheduler, steps, timesteps, device)
        if isinstance(generators, list):
            generators = [g for g, size in zip(generators, sizes, strict=True) for _ in range(size)]
        latents = self._prepare_latents(len(texts), generators, latents, device)

        # 4. Denoise, 5. decode and compose.
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
        images, digits = self._compose(latents, sizes, output_type)
        self.maybe_free_model_hooks()
        return TextConditionedOutput(images=images, digits=digits) if return_dict else (images, digits)

    def _rows(self, readings: Sequence[Any], repeats: int, generators: Any) -> list[list[str]]:
        """For each image the texts of its pieces."""
        repeated = [reading for reading in readings for _ in range(repeats)]
        own = generators if isinstance(generators, list) else [generators] * len(repeated)
        return [texts_of_row(reading, generator) for reading, generator in zip(repeated, own, strict=True)]

    def _negative_texts(self, negative_prompt: str | Sequence[str], repeats: int, sizes: Sequence[int]) -> list[str]:
        """A negative text for each piece."""
        texts = [reading.text for reading in self._read(negative_prompt, "negative_prompt")]
        count = len(sizes) // repeats
        if len(texts) not in (1, count):
            raise ValueError(f"negative_prompt: got {len(texts)} for {count} prompts; pass one, or one per prompt.")
        texts = texts * count if len(texts) == 1 else texts
        own = [text for text in texts for _ in range(repeats)]
        return [text for text, size in zip(own, sizes, strict=True) for _ in range(size)]

    def _compose(self, latents: torch.Tensor, sizes: Sequence[int], output_type: str) -> tuple[Any, list]:
        """Images and their pieces: rows of `sizes` pieces each."""
        pieces = self._decode(latents, output_type)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        digits = [[pieces[i] for i in range(start, start + size)] for start, size in zip(starts, sizes, strict=True)]
        if output_type == "latent" or max(sizes) == 1:
            return pieces, digits
        drawn = self._decode(latents, "pt")
        processor = VaeImageProcessor(vae_scale_factor=1, do_normalize=False)
        images = []
        for start, size in zip(starts, sizes, strict=True):
            row = compose_row(list(drawn[start : start + size].cpu())) if size > 1 else drawn[start].cpu()
            images.append(processor.postprocess(row[None], output_type=output_type, do_denormalize=[False])[0])
        return images, digits
