"""`DigitPipeline`: what every pipeline here shares, from checked arguments to decoded images."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor

from ..models import DigitDiT2DModel, DigitUNet2DModel
from .call import Call
from .codec import LatentCodec, PixelCodec, image_processor
from .conditioners import Conditioner, Conditions, id_of, names_by_id
from .options import OUTPUT_TYPES, TENSOR_INPUTS, Generators, GuidanceOptions, SamplingOptions, whole_number
from .stored import StoredPipeline

Denoiser = DigitUNet2DModel | DigitDiT2DModel
Pipeline = TypeVar("Pipeline", bound="DigitPipeline")

# What a pipeline says of its weights where neither the pipeline nor the denoiser's config says it.
PIPELINE_DEFAULTS: dict[str, Any] = {
    "id2label": None,
    "max_prompt_tokens": 32,
    "digit_guidance": False,
    "default_num_inference_steps": 10,
    "default_guidance_scale": 2.0,
    "default_guidance_interval": (0.0, 1.0),
}


class DigitPipeline(StoredPipeline):
    """Base of the pipelines; `DigitPipeline.from_pretrained` returns the class that the folder names.

    A subclass is a signature: its `__call__` puts together the methods here.
    Calls change nothing of the pipeline but the record of the last one (`guidance_scale`, `num_timesteps`,
    `interrupt`), so threads may share it.
    """

    model_cpu_offload_seq = "text_encoder->denoiser->vae"
    _optional_components = ["vae"]
    _callback_tensor_inputs = list(TENSOR_INPUTS)

    denoiser: Denoiser
    vae: AutoencoderKL | None
    scheduler: Any

    def _register(self, components: Mapping[str, Any], **given: Any) -> None:
        """Keep components and defaults.

        Defaults that are not given are those in the denoiser's config, which gets all of them: it goes where
        `pipe.components` go.
        """
        self.register_modules(**components)
        if type(components.get("tokenizer")).__name__ == "TokenizersBackend":
            # transformers 5 calls PreTrainedTokenizerFast so; 4 knows the old name alone, and 5 both.
            self.register_to_config(tokenizer=("transformers", "PreTrainedTokenizerFast"))
        saved = self.denoiser.config.get("pipeline_defaults") or {}
        defaults = {}
        for name, general in PIPELINE_DEFAULTS.items():
            known = given.get(name) if given.get(name) is not None else saved.get(name)
            defaults[name] = general if known is None else known
        if defaults["id2label"] is not None:
            defaults["id2label"] = names_by_id(defaults["id2label"])
        check_parts(components, defaults)
        self.register_to_config(**{name: defaults[name] for name in given})
        self.denoiser.register_to_config(pipeline_defaults=defaults)

    @classmethod
    def from_pipe(cls: type[Pipeline], pipeline: Any, **kwargs: Any) -> Pipeline:
        """Return a pipeline of this class around the components of another one, in the dtypes that they have.

        Args:
            pipeline: any, with the components that this class needs.
            kwargs: components and config entries to replace, and `torch_dtype` to cast to.

        Raises:
            ValueError: a component that is missing, or an argument that the class does not have.
        """
        casts = [dtype for dtype in (kwargs.pop("torch_dtype", None), kwargs.pop("dtype", None)) if dtype is not None]
        parameters = list(inspect.signature(cls.__init__).parameters)[1:]
        if unknown := sorted(set(kwargs) - set(parameters)):
            raise ValueError(f"from_pipe: got {', '.join(unknown)}, expected some of {', '.join(parameters)}.")
        known = {**pipeline.config, **pipeline.components, **kwargs}
        given = {name: known[name] for name in parameters if name in known}
        if "denoiser" not in given:
            raise ValueError(f"from_pipe: got a {type(pipeline).__name__}, expected a pipeline with a denoiser.")
        new = cls(**given)
        return new.to(dtype=casts[0]) if casts else new

    # --- parts ---------------------------------------------------------------------------------------------------

    @property
    def conditioner(self) -> Conditioner:
        """Turns the inputs of a call into conditions of the denoiser."""
        raise NotImplementedError(f"{type(self).__name__} has no conditioner; use a pipeline of classes or of texts.")

    @property
    def labels(self) -> dict[str, int]:
        """Id of each class name."""
        return self.conditioner.ids

    def get_label_ids(self, label: str | Sequence[str]) -> list[int]:
        """Return the ids of one class name or several.

        Raises:
            ValueError: a name that the model does not know; the message lists those it knows.
        """
        return [id_of(name, self.labels) for name in ([label] if isinstance(label, str) else label)]

    @property
    def codec(self) -> PixelCodec | LatentCodec:
        """Turns images into what the denoiser works on, and back."""
        return PixelCodec(self.denoiser.config.in_channels) if self.vae is None else LatentCodec(self.vae)

    @property
    def vae_scale_factor(self) -> int:
        """Pixels of an image per place of its latents, in height and in width."""
        return self.codec.scale_factor

    @property
    def image_processor(self) -> VaeImageProcessor:
        """Reads images of any kind and size, and writes them; diffusers' own."""
        return image_processor(self.codec.channels)

    @property
    def unet(self) -> Denoiser:
        """The denoiser, if it is a UNet: diffusers' tools look for it by this name."""
        return self._denoiser_called("unet")

    @property
    def transformer(self) -> Denoiser:
        """The denoiser, if it is a transformer: diffusers' tools look for it by this name."""
        return self._denoiser_called("transformer")

    def _denoiser_called(self, name: str) -> Denoiser:
        if self.denoiser.component_name != name:
            raise AttributeError(f"{type(self).__name__} has no {name}; its denoiser is pipe.denoiser.")
        return self.denoiser

    # --- the last call, or in a callback the one under way ---------------------------------------------------------

    @property
    def guidance_scale(self) -> float:
        """Guidance scale; a callback changes that of the next steps by `pipe._guidance_scale`."""
        return self._guidance_scale

    @property
    def num_timesteps(self) -> int:
        """Number of denoising steps."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Whether a callback ended the call early, by `pipe._interrupt = True`."""
        return self._interrupt

    # --- the way of a call -----------------------------------------------------------------------------------------

    def check_inputs(
        self,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        eta: float = 0.0,
        timesteps: Sequence[float] | None = None,
        strength: float = 1.0,
        output_type: str = "pil",
        callback_on_step_end: Any = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance: str = "cfg",
        guidance_interval: tuple[float, float] | None = None,
        weak_denoiser: Denoiser | None = None,
        num_images_per_prompt: int = 1,
    ) -> SamplingOptions:
        """Return the options of a call: what its arguments say, and what was saved with the weights where they do not.

        Args:
            num_inference_steps and all others: as in `ClassConditionedDigitPipeline` and `DigitImg2ImgPipeline`.

        Raises:
            ValueError: an argument that is out of range.
        """
        whole_number("num_images_per_prompt", num_images_per_prompt)
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type: got {output_type!r}, expected one of {', '.join(OUTPUT_TYPES)}.")
        c = self.config
        rule = GuidanceOptions(
            c.default_guidance_scale if guidance_scale is None else guidance_scale,
            guidance,
            c.default_guidance_interval if guidance_interval is None else guidance_interval,
            weak_denoiser,
        )
        steps = c.default_num_inference_steps if num_inference_steps is None else num_inference_steps
        callback = (callback_on_step_end, callback_on_step_end_tensor_inputs)
        return SamplingOptions(steps, timesteps, strength, eta, rule, *callback)

    def encode_conditions(
        self, inputs: Any, negative: Any = None, repeats: int = 1, generators: Generators = None
    ) -> Conditions:
        """Return what the denoiser is told for classes or prompts; see `Conditioner.encode`."""
        conditioner = self.conditioner
        return conditioner.encode(conditioner.listed(inputs), negative, repeats=repeats, generators=generators)

    def prepare_latents(
        self,
        batch_size: int,
        generators: Generators = None,
        latents: torch.Tensor | None = None,
        device: torch.device | None = None,
    ) -> torch.Tensor:
        """Return `latents` if given, otherwise draw Gaussian noise: (B, C, H, W) float32 of unit variance.

        Noise is drawn on the CPU unless the generator lives elsewhere, so that one seed is one image on every device.

        Args:
            batch_size: B.
            generators: one, or one for each image.
            latents: noise to start from, of this shape.
            device: where the denoiser works; None looks it up, which takes a walk over its layers.

        Raises:
            ValueError: latents of another shape.
        """
        c = self.denoiser.config
        shape = (batch_size, c.in_channels, c.sample_size, c.sample_size)
        if latents is None:
            first = generators[0] if isinstance(generators, list) else generators
            source = torch.device("cpu") if first is None else first.device
            latents = randn_tensor(shape, generator=generators, device=source, dtype=torch.float32)
        elif not isinstance(latents, torch.Tensor):
            raise ValueError(f"latents: got {type(latents).__name__}, expected a tensor of shape {shape}.")
        elif latents.shape != shape:
            raise ValueError(f"latents: got shape {tuple(latents.shape)}, expected {shape}.")
        return latents.to(device or self._execution_device, torch.float32)

    @torch.no_grad()
    def denoise(
        self,
        latents: torch.Tensor,
        conditions: Conditions,
        options: SamplingOptions,
        generators: Generators = None,
        original: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return clean latents, (N, C, H, W) float32.

        Args:
            latents: (N, C, H, W) noise of unit variance, as `prepare_latents` returns it.
            conditions: of the N pieces.
            options: as `check_inputs` returns them.
            generators: of the fresh noise of a sampler that adds some; one, or one for each piece.
            original: clean latents to begin from, with noise added up to the level that `options.strength` says.
            mask: (N or 1, 1, H, W), 1 where to sample and 0 where the original stays (2201.09865, equation 8).
        """
        call = Call(self, options, generators, latents.device)
        sampler, keep = call.sampler, None
        if original is None:
            x = sampler.start(latents)
        else:
            x = sampler.noised(original, latents, 0)
            if mask is not None:

                def keep(x: torch.Tensor, step: int) -> torch.Tensor:
                    return torch.where(mask > 0, x, sampler.noised(original, latents, step))

        x = call.run(x, conditions, keep)
        view = call.view
        self._guidance_scale, self._interrupt, self._num_timesteps = (
            view.guidance_scale,
            view.interrupt,
            view.num_timesteps,
        )
        return x

    @torch.no_grad()
    def decode_latents(self, latents: torch.Tensor, output_type: str = "pt") -> Any:
        """Return latents as `output_type` says: "pil" list, "np" (B, H, W, C) or "pt" (B, C, H, W) in [0, 1], or as
        they are ("latent")."""
        if output_type == "latent":
            return latents
        return self.image_processor.postprocess(self.codec.decode(latents), output_type=output_type)


def check_parts(components: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise a ValueError if components and names of classes do not fit each other, before a call fails on it."""
    encoder, tokenizer, vae = (components.get(name) for name in ("text_encoder", "tokenizer", "vae"))
    denoiser, max_prompt_tokens = components["denoiser"].config, defaults["max_prompt_tokens"]
    largest_id = max(defaults["id2label"] or {-1: ""})
    if denoiser.num_classes is not None and largest_id >= denoiser.num_classes:
        raise ValueError(
            f"id2label: got a name of class {largest_id}, expected classes 0 to {denoiser.num_classes - 1}, as the "
            "denoiser has them."
        )
    if encoder is not None and denoiser.cross_attention_dim != encoder.config.hidden_size:
        raise ValueError(
            f"denoiser: got a model with cross_attention_dim={denoiser.cross_attention_dim}, expected "
            f"{encoder.config.hidden_size}, the width of the text encoder."
        )
    if encoder is not None and tokenizer is not None:
        known, largest = encoder.get_input_embeddings().num_embeddings, max(tokenizer.get_vocab().values())
        if largest >= known:
            raise ValueError(f"tokenizer: got a token {largest}, expected ids below the text encoder's {known} tokens.")
        least, most = (
            tokenizer.num_special_tokens_to_add() + 1,
            getattr(encoder.config, "max_position_embeddings", 2**20),
        )
        if not least <= max_prompt_tokens <= most:
            raise ValueError(f"max_prompt_tokens: got {max_prompt_tokens}, expected {least} to {most}.")
    if vae is not None and vae.config.latent_channels != denoiser.in_channels:
        raise ValueError(
            f"vae: got latents of {vae.config.latent_channels} channels, expected {denoiser.in_channels}, as the "
            "denoiser takes."
        )
