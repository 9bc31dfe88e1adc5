"""Fields of the page: what to draw and how, and how they are read."""

import random
from typing import Any

import gradio as gr

from ..data.prompts import copies_of, read_prompt
from .parts import Desk
from .studio import MOST_IMAGES, MOST_STEPS, OWN, Settings
from .words import Complaint, check_choice

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
        label = self._desk.words(self._label or self._noun(model))
        return {"choices": names, "value": value, "label": label, "visible": not studio.takes_prompts(model)}

    def _noun(self, model: str) -> str:
        nouns = ("digit", "digits") if self._desk.studio.draws_digits(model) else ("class", "classes")
        return nouns[not self._one]

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
            chosen = classes if isinstance(classes, list) else [classes] if classes else []
            if not chosen:
                raise Complaint("none_chosen", field=self._noun(model))
            return [names.index(check_choice(self._noun(model), name, names)) for name in chosen]
        texts = [line.strip() for line in str(prompt or "").splitlines() if line.strip()] or [""]
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
        self._desk, words, model = desk, desk.words, desk.studio.model
        own = desk.studio.settings(model)

        def field(kind: Any, key: str, about: str, *values: Any, **options: Any) -> Any:
            return kind(*values, label=words(key), info=words(about), **options)

        with gr.Accordion(words("settings"), open=False, elem_classes="t2d-settings"):
            with gr.Row():
                self.steps = field(gr.Number, "steps", "steps_info", own.steps, min_width=130)
                self.guidance = field(
                    gr.Number, "guidance", "guidance_info", own.guidance_scale, step=0.1, min_width=130, visible=guided
                )
            ends = [
                field(gr.Slider, key, "interval_info", 0, 100, value, step=1, visible=guided)
                for key, value in zip(("guidance_from", "guidance_to"), own.percent, strict=True)
            ]
            self.scheduler = field(gr.Dropdown, "scheduler", "scheduler_info", **desk.schedulers(model))
            self.spacing = field(gr.Dropdown, "spacing", "spacing_info", **self._spacings(model, OWN))
            self.seed = field(gr.Textbox, "seed", "seed_info", "0", visible=seed, max_lines=1)
            if seed:
                desk.listen(gr.Button(words("new_seed"), size="sm").click, _fresh_seed, None, self.seed)
        fields = [self.steps, self.guidance, *ends, self.scheduler, self.spacing]
        desk.when_model_changes(self._show, fields)
        desk.listen(
            self.scheduler.input,
            lambda model, name: gr.update(**self._spacings(model, name)),
            [desk.model, self.scheduler],
            self.spacing,
        )
        self.inputs = [*fields, self.seed]

    def _spacings(self, model: str, scheduler: str) -> dict[str, Any]:
        known = self._desk.studio.spacings(model, scheduler)
        return {"choices": [(self._desk.words("own"), OWN), *((name, name) for name in known)], "value": OWN}

    def _show(self, model: str) -> tuple:
        own = self._desk.studio.settings(model)
        choices = gr.update(**self._desk.schedulers(model)), gr.update(**self._spacings(model, OWN))
        return own.steps, own.guidance_scale, *own.percent, *choices


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
