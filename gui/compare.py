"""The tab that draws the same noise under several settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import torch

from ..pipelines.images import image_grid
from .fields import Asked, read_settings
from .parts import Desk, Result, run_buttons, wire
from .pictures import thin, tiles
from .snippets import compare_snippet
from .studio import OWN, Done, Settings, Studio
from .words import Complaint, check_choice

MOST, COUNTS = 4, [2, 3, 4]
# What the columns open with, as far as it fits the model.
FIRST_CHOICES = ("ddim", "dpm++", "unipc", "ddpm")


@dataclass
class Drawn:
    """What is drawn in a column.

    Attributes:
        asked: a class for models of classes, a text for models of prompts.
        frames: (C, H, W) in [0, 1] after each step so far.
        done: the end, once it has come.
    """

    settings: Settings
    asked: int | str
    frames: list[torch.Tensor] = field(default_factory=list)
    done: Done | None = None

    def watch(self, pipeline: Any, _: int, __: Any, tensors: dict[str, Any]) -> None:
        """Keep the image after a step."""
        self.frames.append(pipeline.decode_latents(tensors["latents"], "pt")[0].float().cpu())


def compare_tab(desk: Desk) -> None:
    """What to draw, four columns of settings of which two show at first, and the pictures."""
    words = desk.words
    gr.Markdown(words("compare_about"), elem_classes="t2d-about")
    with gr.Row(equal_height=False):
        asked = Asked(desk, one=True, chosen=3)
        with gr.Column(scale=1, min_width=200):
            count = gr.Radio(COUNTS, value=2, label=words("how_many"))
            seed = gr.Textbox("0", label=words("seed"), info=words("seed_info"), max_lines=1)
    with gr.Row(equal_height=False, elem_classes="t2d-columns"):
        columns = [_column(desk, i) for i in range(MOST)]

    def show(n: Any) -> list:
        return [gr.update(visible=i < check_choice("how_many", n, COUNTS)) for i in range(MOST)]

    desk.listen(count.change, show, count, [column for column, _ in columns])
    buttons = run_buttons(words, "compare_button")
    result = Result(desk, "compare")

    def draw(model: str, classes: Any, prompt: str, n: Any, seed_text: str, *values: Any) -> Iterator[dict]:
        chosen = []
        for i in range(int(check_choice("how_many", n, COUNTS))):
            name, scheduler, steps, guidance = values[4 * i : 4 * i + 4]
            own = desk.studio.settings(name).percent
            chosen.append(read_settings(name, steps, guidance, *own, scheduler, OWN, seed_text))
        yield from draw_columns(desk, result, chosen, asked.read(model, classes, prompt))

    inputs = [part for _, parts in columns for part in parts]
    wire(buttons, draw, [desk.model, *asked.inputs, count, seed, *inputs], result)


def _column(desk: Desk, place: int) -> tuple[gr.Column, list[Any]]:
    """A column of settings, and its inputs."""
    studio, words, model = desk.studio, desk.words, desk.studio.model
    own = studio.settings(model)
    with gr.Column(min_width=220, visible=place < 2, elem_classes="t2d-column") as column:
        gr.Markdown(f"## {words('setting', number=place + 1)}")
        name = gr.Dropdown(list(studio.models), value=model, label=words("model"))
        scheduler = gr.Dropdown(**_schedulers(desk, model, place), label=words("scheduler"))
        steps = gr.Number(own.steps, label=words("steps"))
        guidance = gr.Number(own.guidance_scale, label=words("guidance"), step=0.1)

    def follow(chosen: str) -> tuple:
        new = studio.settings(chosen)
        return gr.update(**_schedulers(desk, chosen, place)), new.steps, new.guidance_scale

    desk.listen(name.change, follow, name, [scheduler, steps, guidance])
    desk.when_model_changes(lambda chosen: chosen, [name])
    return column, [name, scheduler, steps, guidance]


def _schedulers(desk: Desk, model: str, place: int) -> dict[str, Any]:
    fitting = [name for name in FIRST_CHOICES if name in desk.studio.schedulers(model)]
    return desk.schedulers(model, fitting[place] if place < len(fitting) else OWN)


def draw_columns(
    desk: Desk, result: Result, columns: Sequence[Settings], asked: list[int] | list[str]
) -> Iterator[dict]:
    """Draw one column after the other, and tell of every step."""
    words, studio = desk.words, desk.studio
    drawn = [Drawn(settings, _for_model(studio, settings.model, asked[0])) for settings in columns]
    told = [column.asked for column in drawn]
    for column in drawn:
        drawing = studio.draw(column.settings, [column.asked], column.watch)  # type: ignore[arg-type]
        column.done = yield from result.follow(drawing, lambda: _shown(desk, drawn))
    frames = [
        image_grid(torch.stack([column.frames[min(i, len(column.frames) - 1)] for column in drawn]), len(drawn))
        for i in thin(range(max(len(column.frames) for column in drawn)))
    ]
    seconds = sum(column.done.seconds for column in drawn if column.done)
    sentence = words("compared", seed=columns[0].seed, count=len(drawn), seconds=seconds)
    yield {
        result.picture: _shown(desk, drawn),
        **result.told(sentence, desk.notes(told[:1])),
        **result.files(frames[-1], frames, compare_snippet(columns, told)),
    }


def _for_model(studio: Studio, model: str, asked: int | str) -> int | str:
    """A class for models of classes, a text for models of prompts."""
    if studio.takes_prompts(model):
        return str(asked)
    names = studio.class_names(model)
    name = names[asked] if isinstance(asked, int) and asked < len(names) else str(asked)
    if name not in names:
        raise Complaint("not_a_class", model=model, got=name)
    return names.index(name)


def _shown(desk: Desk, drawn: Sequence[Drawn]) -> str:
    """The finished pictures with their cost, and the one that is under way."""
    words, images, captions = desk.words, [], []
    for number, column in enumerate(drawn, start=1):
        if column.frames:
            settings, done = column.settings, column.done
            own = settings.scheduler == OWN
            scheduler = desk.studio.own_scheduler(settings.model) if own else settings.scheduler
            start, end = settings.percent
            facts = {"steps": settings.steps, "guidance": settings.guidance_scale, "start": start, "end": end}
            caption = words("short_setting", number=number, model=settings.model, scheduler=scheduler, **facts)
            if done:
                caption += " " + words("cost", forwards=sum(done.passes), milliseconds=1000 * done.seconds)
            images.append(column.frames[-1])
            captions.append(caption)
    return tiles(images, captions, words("an_image"), len(drawn), "t2d-columns")
