"""What the app draws with: loaded models, one forward at a time, told step by step.

Nothing here knows of Gradio, and nothing samples: every picture comes out of a pipeline's own call.
"""

import inspect
import queue
import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from ..data.images import DIGIT_NAMES
from ..data.prompts import read_prompt
from ..evaluation.classifier import DigitClassifier, load_classifier
from ..pipelines import DigitPipeline
from ..pipelines.foreign import known_spacings, scheduler_from_config
from ..pipelines.loading import shipped_names
from ..pipelines.options import TENSOR_INPUTS
from ..pipelines.samplers import make_scheduler
from ..schedulers import SCHEDULERS
from ..schedulers.noise import NoisePath
from .line import Line
from .words import Complaint, check_choice

# The model's own scheduler, or the spacing that a scheduler has anyway.
OWN = "own"
# Of one call: images (each digit of a number is one), steps, and seconds on this machine while nobody else draws.
MOST_IMAGES, MOST_STEPS, MOST_SECONDS = 100, 1000, 180
# What an image in a forward takes on two cores, and how many images the forward itself takes as long as: a first guess,
# which the line corrects by what drawings take.
SECONDS_AN_IMAGE, FORWARD_IN_IMAGES = 0.0015, 8
# Seconds after which the one who waits is told of it.
TELL_AFTER = 1.0

Watch = Callable[..., None]


@dataclass(frozen=True)
class Settings:
    """How to draw; the fields are those of a pipeline's call, and the scheduler's.

    Attributes:
        model: a folder, the name of shipped weights, or user/name on the Hub.
        scheduler: a short name of `SCHEDULERS`, or `OWN`.
        spacing: a `timestep_spacing`, or `OWN`.
        interval: start and end of guidance, as fractions of the steps.
    """

    model: str
    steps: int
    guidance_scale: float
    scheduler: str = OWN
    spacing: str = OWN
    seed: int = 0
    interval: tuple[float, float] = (0.0, 1.0)

    @property
    def percent(self) -> tuple[float, float]:
        """The guidance interval in percent of the steps."""
        start, end = self.interval
        return round(100 * start, 4), round(100 * end, 4)

    def arguments(self) -> dict[str, Any]:
        """Arguments of a pipeline's call, which returns tensors."""
        return {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "guidance_interval": self.interval,
            "generator": self.seed,
            "output_type": "pt",
        }


@dataclass(frozen=True)
class Step:
    """Steps that are done, and in all."""

    index: int
    total: int


@dataclass(frozen=True)
class Done:
    """The end of a call.

    Attributes:
        images: what it returned, (C, H, W) in [0, 1] each.
        seconds: that it drew.
        passes: images that the denoiser looked at in each forward; under guidance it looks at each twice.
    """

    images: list[torch.Tensor]
    seconds: float
    passes: list[int]


@dataclass(frozen=True)
class Waiting:
    """Nothing new: how many drawings come first, 0 while it draws, and in about how many seconds they are done."""

    ahead: int
    seconds: float


Drawing = Generator[Step | Done | Waiting, None, None]


class Studio:
    """The models of an app, loaded when first asked for.

    Args:
        model: the one that the page opens with.
        others: more to choose from; None is all that ship and draw the like.

    Raises:
        ValueError, FileNotFoundError: as `DigitPipeline.from_pretrained`.
    """

    def __init__(self, model: str, others: Sequence[str] | None = None):
        self._pipelines: dict[str, DigitPipeline] = {}
        self._loading, self.line = threading.Lock(), Line()
        self._classifier: DigitClassifier | None = None
        self.model = model
        self.models = tuple(dict.fromkeys([model, *(shipped_names() if others is None else others)]))
        self.pipeline(model)

    def pipeline(self, model: str) -> Any:
        """A loaded pipeline, which nobody may change: `prepare` makes one to draw with."""
        check_choice("model", model, self.models)
        with self._loading:
            if model not in self._pipelines:
                pipeline = DigitPipeline.from_pretrained(model)
                pipeline.denoiser.register_forward_pre_hook(lambda *_: self.line.pass_on())
                self._pipelines[model] = pipeline
            return self._pipelines[model]

    def takes_prompts(self, model: str) -> bool:
        """Whether a model draws prompts, and not classes."""
        return self.pipeline(model).conditioner.reads_words

    def class_names(self, model: str) -> list[str]:
        """What a visitor may choose from, each different from the others: digits, or the names of classes."""
        pipeline = self.pipeline(model)
        if self.takes_prompts(model):
            return [str(i) for i in range(len(DIGIT_NAMES))]
        count = pipeline.denoiser.config.num_classes
        if self.draws_digits(model):
            return [str(i) for i in range(count)]
        known = pipeline.config.id2label or {}
        names = [known[i].split(",")[0].strip() if i in known else str(i) for i in range(count)]
        often = {name for name, n in Counter(names).items() if n > 1 or not name}
        return [f"{i} {name}" if name in often else name for i, name in enumerate(names)]

    def settings(self, model: str) -> Settings:
        """What a model is saved with."""
        config = self.pipeline(model).config
        interval = tuple(config.default_guidance_interval)
        return Settings(model, config.default_num_inference_steps, config.default_guidance_scale, interval=interval)

    def schedulers(self, model: str) -> list[str]:
        """Short names of the schedulers that fit a model."""
        fitting = []
        for name in SCHEDULERS:
            with suppress(ValueError):
                make_scheduler(name, self.pipeline(model).scheduler.config)
                fitting.append(name)
        return fitting

    def own_scheduler(self, model: str) -> str:
        """Short name of a model's own scheduler, or its class where it has none."""
        name = type(self.pipeline(model).scheduler).__name__
        return {known: short for short, known in SCHEDULERS.items()}.get(name, name)

    def spacings(self, model: str, scheduler: str) -> list[str]:
        """Spacings that a scheduler follows; none where it has no choice."""
        own = self.pipeline(model).scheduler
        check_choice("scheduler", scheduler, [OWN, *SCHEDULERS])
        name = self.own_scheduler(model) if scheduler == OWN else scheduler
        known = known_spacings(own if scheduler == OWN else make_scheduler(name, own.config))
        return ["leading"] if name == "heun" else list(known)  # Heun starts right with this alone (samplers.py)

    def path(self, model: str) -> NoisePath:
        """alpha_t and sigma_t of the levels that a model was trained on."""
        return make_scheduler("ddim", self.pipeline(model).scheduler.config).path

    def prepare(self, settings: Settings, kind: type[DigitPipeline] | None = None) -> Any:
        """A pipeline with a scheduler of its own, that shares the weights.

        Args:
            settings: of which model, scheduler and spacing count.
            kind: class of the pipeline, such as `DigitInpaintPipeline`; None is the model's.

        Raises:
            ValueError: a scheduler that does not fit the model, or a spacing that the scheduler does not know.
        """
        source = self.pipeline(settings.model)
        check_choice("spacing", settings.spacing, [OWN, *self.spacings(settings.model, settings.scheduler)])
        changes = {} if settings.spacing == OWN else {"timestep_spacing": settings.spacing}
        scheduler = source.scheduler
        if settings.scheduler != OWN:
            scheduler = make_scheduler(settings.scheduler, scheduler.config)
        scheduler = scheduler_from_config(type(scheduler), scheduler.config, **changes)
        # Not by from_pipe, which casts the weights that everyone shares.
        make = kind or type(source)
        known = inspect.signature(make.__init__).parameters
        parts = {**source.config, **source.components, "scheduler": scheduler}
        pipeline = make(**{name: part for name, part in parts.items() if name in known})
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def classifier(self, model: str) -> DigitClassifier | None:
        """The digit classifier that ships, for models of digits; None for others."""
        if not self.draws_digits(model) or self.pipeline(model).denoiser.config.in_channels != 1:
            return None
        with self._loading:
            self._classifier = self._classifier or load_classifier()
        return self._classifier

    def seconds(
        self, settings: Settings, asked: Sequence[int] | Sequence[str], repeats: int = 1, calls: int = 1
    ) -> float:
        """How long a call will take on this machine, about.

        Args:
            asked: classes or prompts, each drawn `repeats` times; every digit of a number is an image.
            calls: how many such calls, one after another.

        Raises:
            ValueError: more than one visitor may ask for at once.
        """
        if settings.steps > MOST_STEPS:
            raise Complaint("bad_whole", field="steps", got=settings.steps, least=1, most=MOST_STEPS)
        images = len(asked) * repeats
        if images <= MOST_IMAGES:  # before prompts are read, which takes time too
            images = repeats * sum(max(len(read_prompt(x).digits), 1) if isinstance(x, str) else 1 for x in asked)
        if images > MOST_IMAGES:
            raise Complaint("too_many_images", count=images, most=MOST_IMAGES)
        looks = images * (1 if settings.guidance_scale in (0, 1) else 2)
        forwards = calls * settings.steps * (2 if settings.scheduler == "heun" else 1)
        seconds = self.line.slowness * SECONDS_AN_IMAGE * forwards * (looks + FORWARD_IN_IMAGES)
        if seconds > MOST_SECONDS:
            facts = {"steps": settings.steps, "count": calls * images, "seconds": seconds, "most": MOST_SECONDS}
            raise Complaint("too_much_work", fitting=max(int(settings.steps * MOST_SECONDS / seconds), 1), **facts)
        return seconds

    def draw(
        self,
        settings: Settings,
        inputs: list[int] | list[str],
        watch: Watch | None = None,
        repeats: int = 1,
        pipeline: Any = None,
        **given: Any,
    ) -> Drawing:
        """Call a pipeline, and tell of it as `stream` does.

        Args:
            inputs: classes or prompts, each drawn `repeats` times.
            watch: called after each step as a pipeline's callback is, with all of `TENSOR_INPUTS`.
            pipeline: of `prepare`; None makes it of the settings.
            given: more arguments of its call.
        """
        pipeline = pipeline or self.prepare(settings)
        name = "prompt" if self.takes_prompts(settings.model) else "class_labels"
        asked = {name: inputs, **({"num_images_per_prompt": repeats} if repeats > 1 else {}), **given}

        def call(tell: Watch) -> tuple[list[torch.Tensor], list[int]]:
            passes = []

            def on_step(pipe: Any, i: int, t: torch.Tensor, tensors: dict[str, Any]) -> None:
                passes.append(sum(len(tensors[x]) for x in ("cond_output", "weak_output") if tensors[x] is not None))
                if watch is not None:
                    watch(pipe, i, t, tensors)
                tell(pipe, i, t, tensors)

            callback = {"callback_on_step_end": on_step, "callback_on_step_end_tensor_inputs": TENSOR_INPUTS}
            return pipeline(**asked, **settings.arguments(), **callback).images, passes

        return self.stream(call, self.seconds(settings, inputs, repeats))

    def stream(self, call: Callable[[Watch], tuple[Sequence[torch.Tensor], list[int]]], seconds: float = 0) -> Drawing:
        """Run a call in a thread of its own, in turn with those of others, and tell of it.

        Who takes no more from this generator, because the visitor left or pressed Stop, ends the call after its step.

        Args:
            call: given the callback of a pipeline; returns images, and what `Done` tells of its forwards.
            seconds: how long it will take.

        Yields:
            Steps, of which those are left out that came faster than they were taken, never the last one, and then a
            `Done`; a `Waiting` each second without either.

        Raises:
            Whatever the call raised.
        """
        told: queue.SimpleQueue[Step | Done | BaseException] = queue.SimpleQueue()
        place = self.line.join(seconds)

        def work() -> None:
            try:
                with self.line.turn(place):
                    images, passes = call(lambda pipe, i, *_: told.put(Step(i + 1, pipe.num_timesteps)))
                told.put(Done([image.float().cpu() for image in images], place.used, passes))
            except BaseException as error:  # told to the visitor by the thread that waits
                told.put(error)

        thread = threading.Thread(target=work, name="text2digit-drawing", daemon=True)
        try:
            thread.start()
            while True:
                try:
                    news = told.get(timeout=TELL_AFTER)
                except queue.Empty:
                    yield Waiting(*self.line.ahead(place))
                    continue
                while isinstance(news, Step) and not told.empty():
                    step, news = news, told.get()
                    if not isinstance(news, Step):
                        yield step  # the last one, however soon the end came after it
                if isinstance(news, BaseException):
                    raise news
                yield news
                if isinstance(news, Done):
                    return
        finally:
            self.line.leave(place)
            if thread.is_alive():
                thread.join()

    def draws_digits(self, model: str) -> bool:
        """Whether a model's classes are the ten digits, or its prompts are numbers."""
        names = self.pipeline(model).config.get("id2label")
        known = names is None or [name.split(",")[0] for name in names.values()] == list(DIGIT_NAMES)
        classes = self.pipeline(model).denoiser.config.num_classes
        return self.takes_prompts(model) or (known and classes == len(DIGIT_NAMES))
