"""Fields of the page: what to draw and how, and how they are read."""

import random
from typing import Any

import gradio as gr

from ..data.prompts import copies_of, read_prompt
from .parts import Desk
from .studio import MOST_IMAGES, MOST_STEPS, OWN, Settings
from .words import Complaint

LARGEST_SEED = 2**32 - 1
MOST_GUIDANCE = 100
# Classes up to this many are boxes to tick, all ticked; more are a list to search, of which the first are chosen.
MOST_BOXES, FIRST_CHOSEN = 40, 10


class Asked:
    """What to draw: boxes for classes, or a field for prompts; which one shows is up to the model.

    Args:
        one: a single class or prompt.
        chosen: class that is chosen at first, as far as the model has it.
        label: key of a word, in place of "digit".
    """

    def __init__(self, desk: Desk, one: bool, chosen: int = 0, label: str | None = None):
        self._desk, self._one, self._chosen, self._label = desk, one, chosen, label
        model = desk.studio.model
        names = desk.studio.class_names(model)
        kind: Any = gr.Radio if one else gr.CheckboxGroup
        options: dict[str, Any] = {"elem_classes": "t2d-classes"}
        if len(names) > MOST_BOXES:
            kind, options = gr.Dropdown, {} if one else {"multiselect": True}
        self.classes = kind(**self._choices(model), **options)
        prompts = "prompt" if one else "prompts"
        self.prompt = gr.Textbox(
            str(chosen) if one else "\n".join(desk.words(f"example_{i}") for i in (1, 2, 3)),
            label=desk.words(label or prompts),
            info=desk.words("prompt_info" if one else "prompts_info"),
            lines=1 if one else 3,
            max_lines=1 if one else 8,
            visible=desk.studio.takes_prompts(model),
        )
        desk.when_model_changes(self._show, [self.classes, self.prompt])
        self.inputs = [self.classes, self.prompt]

    def _choices(self, model: str) -> dict[str, Any]:
        studio, names = self._desk.studio, self._desk.studio.class_names(model)
        value: Any = names[min(self._chosen, len(names) - 1)]
        if not self._one:
            value = names if len(names) <= MOST_BOXES else names[:FIRST_CHOSEN]
        nouns = ("digit", "digits") if studio.draws_digits(model) else ("class", "classes")
        label = self._desk.words(self._label or nouns[not self._one])
        return {"choices": names, "value": value, "label": label, "visible": not studio.takes_prompts(model)}

    def first(self, model: str) -> list[int] | list[str]:
        """What the field asks for when the page opens."""
        return self.read(model, self.classes.value, self.prompt.value)

    def _show(self, model: str) -> tuple:
        return gr.update(**self._choices(model)), gr.update(visible=self._desk.studio.takes_prompts(model))

    def read(self, model: str, classes: Any, prompt: str) -> list[int] | list[str]:
        """Class ids, or prompts, of which each can be read.

        Raises:
            ValueError: no class, a prompt that is no number, or a number where one digit is expected.
        """
        words, studio = self._desk.words, self._desk.studio
        if not studio.takes_prompts(model):
            names = studio.class_names(model)
            chosen = [classes] if isinstance(classes, str) else list(classes or [])
            if not chosen:
                raise Complaint("none_chosen", field="digits" if studio.draws_digits(model) else "classes")
            return [names.index(name) for name in chosen]
        texts = [line.strip() for line in prompt.splitlines() if line.strip()] or [""]
        if len(texts) > MOST_IMAGES and not self._one:  # before they are read, which takes time
            raise Complaint("too_many_images", count=len(texts), most=MOST_IMAGES)
        for text in texts if not self._one else texts[:1]:
            try:
                count = len(read_prompt(text).digits)
            except ValueError:
                if words.language == "en":
                    raise
                raise Complaint("bad_prompt", text=text) from None
            if self._one and count > 1:
                raise Complaint("one_digit", text=text, count=count)
        copies = [copy for text in texts for copy in copies_of(text)]
        return copies[:1] if self._one else copies


class Controls:
    """How to draw; every field follows the model's own defaults.

    Args:
        seed: whether to show the seed.
        guided: whether to show what concerns guidance.
    """

    def __init__(self, desk: Desk, seed: bool = True, guided: bool = True):
        self._desk, words = desk, desk.words
        own = desk.studio.settings(desk.studio.model)
        start, end = own.percent
        with gr.Accordion(words("settings"), open=False, elem_classes="t2d-settings"):
            with gr.Row():
                self.steps = gr.Number(own.steps, label=words("steps"), info=words("steps_info"), min_width=130)
                self.guidance = gr.Number(
                    own.guidance_scale, label=words("guidance"), info=words("guidance_info"), step=0.1, min_width=130,
                    visible=guided,
                )  # fmt: skip
            self.start, self.end = (
                gr.Slider(0, 100, value, step=1, label=words(key), info=words("interval_info"), visible=guided)
                for key, value in (("guidance_from", start), ("guidance_to", end))
            )
            self.scheduler = gr.Dropdown(
                desk.scheduler_choices(desk.studio.model), value=OWN, label=words("scheduler"),
                info=words("scheduler_info"),
            )  # fmt: skip
            self.spacing = gr.Dropdown(
                self._spacing_choices(desk.studio.model, OWN), value=OWN, label=words("spacing"),
                info=words("spacing_info"),
            )  # fmt: skip
            self.seed = gr.Textbox("0", label=words("seed"), info=words("seed_info"), visible=seed, max_lines=1)
            if seed:
                fresh = gr.Button(words("new_seed"), size="sm")
                fresh.click(_fresh_seed, None, self.seed, queue=False, api_visibility="private")
        fields = [self.steps, self.guidance, self.start, self.end, self.scheduler, self.spacing]
        desk.when_model_changes(self._show, fields)
        self.scheduler.input(
            lambda model, name: gr.update(choices=self._spacing_choices(model, name), value=OWN),
            [desk.model, self.scheduler],
            self.spacing,
            queue=False,
            api_visibility="private",
        )
        self.inputs = [*fields, self.seed]

    def _spacing_choices(self, model: str, scheduler: str) -> list[tuple[str, str]]:
        known = self._desk.studio.spacings(model, scheduler)
        return [(self._desk.words("own"), OWN), *((name, name) for name in known)]

    def _show(self, model: str) -> tuple:
        own = self._desk.studio.settings(model)
        schedulers = gr.update(choices=self._desk.scheduler_choices(model), value=OWN)
        spacings = gr.update(choices=self._spacing_choices(model, OWN), value=OWN)
        return own.steps, own.guidance_scale, *own.percent, schedulers, spacings


def read_settings(
    model: str, steps: Any, guidance: Any, start: Any, end: Any, scheduler: str, spacing: str, seed: Any
) -> Settings:
    """Fields of the page as settings; the guidance interval is in percent.

    Raises:
        ValueError: what is no number, or outside of its limits.
    """
    interval = [read_number(key, x, 0, 100, whole=False) for key, x in (("guidance_from", start), ("guidance_to", end))]
    if interval[0] > interval[1]:
        raise Complaint("bad_interval", start=interval[0], end=interval[1])
    return Settings(
        model,
        int(read_number("steps", steps, 1, MOST_STEPS)),
        read_number("guidance", guidance, 0, MOST_GUIDANCE, whole=False),
        scheduler,
        spacing,
        read_seed(seed),
        (interval[0] / 100, interval[1] / 100),
    )


def read_seed(typed: Any, field: str = "seed") -> int:
    """A seed.

    Raises:
        ValueError: no whole number, or one that is too large.
    """
    return int(read_number(field, typed, 0, LARGEST_SEED))


def read_number(field: str, typed: Any, least: int, most: int, whole: bool = True) -> int | float:
    """A number that was entered.

    Args:
        field: key of the field's name.
        typed: as the browser sends it; text, or None for an empty field, too.
        least, most: its limits.
        whole: refuse fractions.

    Raises:
        ValueError: it is none, or outside of the limits.
    """
    try:
        number = float(typed)
        allowed = least <= number <= most and (number.is_integer() or not whole)
    except (TypeError, ValueError, OverflowError):
        allowed = False
    if not allowed:
        got = str(typed).strip() if typed is not None else ""
        raise Complaint("bad_whole" if whole else "bad_number", field=field, got=got, least=least, most=most)
    return int(number) if number.is_integer() else number


def read_count(typed: Any) -> int:
    """How many images of each.

    Raises:
        ValueError: no whole number, or too many.
    """
    return int(read_number("count", typed, 1, MOST_IMAGES))


def _fresh_seed() -> str:
    return str(random.randrange(10_000))
