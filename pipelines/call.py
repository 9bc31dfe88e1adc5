"""One call of a pipeline: what changes while it runs, and the denoising loop."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from .conditioners import Conditions
from .guidance import scale_in_interval
from .options import Generators, SamplingOptions
from .predictors import make_predictor
from .samplers import Sampler, make_sampler


class Call:
    """Everything that one call changes, so that calls of one pipeline by several threads do not meet.

    Args:
        pipeline: of the call; it is not changed.
        options: what the user asked for.
        generators: of the fresh noise, or None.
        device: where the denoiser works.

    Attributes:
        view: a copy of the pipeline that shares its components, for callbacks: `view._guidance_scale` is the scale of
            the next steps, and `view._interrupt = True` ends the call after this one. `view.scheduler` is the call's
            own.
        sampler: the call's own.
    """

    def __init__(self, pipeline: Any, options: SamplingOptions, generators: Generators, device: torch.device):
        self.options, self.generators = options, generators
        self.sampler: Sampler = make_sampler(pipeline.scheduler, options, device)
        self.view = copy.copy(pipeline)
        state = {"scheduler": self.sampler.scheduler, "_guidance_scale": options.guidance.scale, "_interrupt": False}
        vars(self.view).update(state, _num_timesteps=len(self.sampler.timesteps))

    def run(
        self,
        x: torch.Tensor,
        conditions: Conditions,
        keep: Callable[[torch.Tensor, int], torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return the sample after all steps: predict, step, tell the callback.

        Args:
            x: (N, C, H, W) float32, where the sampler starts.
            conditions: of the N pieces.
            keep: gets the sample and the number of steps that are done, and returns what goes on; for inpainting.
        """
        sampler, view, guidance = self.sampler, self.view, self.options.guidance
        channels = sampler.num_channels(x.shape[1])
        tensors = (conditions.cond, conditions.null)
        predict = make_predictor(view.denoiser, *tensors, guidance, sampler.prediction_type, channels)
        with view.progress_bar(total=len(sampler.timesteps)) as progress:
            for i, t in enumerate(sampler.timesteps):
                done = (sampler.skipped + i) / sampler.total  # of the whole way: an interval means noise levels
                scale = scale_in_interval(view.guidance_scale, guidance.interval, done)
                model_input = sampler.model_input(x, i)
                prediction = predict(model_input, t, scale, i)
                x = sampler.step(prediction.output, x, i, self.generators)
                if self.options.callback is not None:
                    told = {
                        "latents": x,
                        "model_output": prediction.output,
                        "model_input": model_input,
                        "cond_output": prediction.cond,
                        "weak_output": prediction.weak,
                    }
                    asked = {name: told[name] for name in self.options.callback_tensor_inputs}
                    x = (self.options.callback(view, i, t, asked) or {}).get("latents", x)
                if keep is not None:
                    x = keep(x, i + 1)
                progress.update()
                if view.interrupt:
                    break
        return x
