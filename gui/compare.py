"""The tab that draws the same noise under several settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import torch

from ..pipelines.images import image_grid
from .fields import Asked, read_seed, read_settings
from .parts import Desk, Result, run_buttons, wire
from .pictures import thin, tiles
from .snippets import compare_snippet
from .studio import OWN, Done, Forwards, Settings, Step, Studio, Waiting
from .words import Complaint

MOST = 4
# What the columns open with, as far as it fits the model.
FIRST_CHOICES = ("ddim", "dpm++", "unipc", "ddpm")


@dataclass(frozen=True)
class Drawn:
    """A finished column.

    Attributes:
        frames: (C, H, W) in [0, 1] after each step.
        forwards: of the image.
        milliseconds: of the call.
    """

    frames: list[torch.Tensor]
    forwards: int
    milliseconds: float


def compare_tab(desk: Desk) -> None:
    """What to draw, four columns of settings of which two show at first, and the pictures."""
    words = desk.words
    gr.Markdown(words("compare_about"), elem_classes="t2d-about")
    with gr.Row(equal_height=False):
        asked = Asked(desk, one=True, chosen=3)
        with gr.Column(scale=1, min_width=200):
            count = gr.Radio([2, 3, 4], value=2, label=words("how_many"))
            seed = gr.Textbox("0", label=words("seed"), info=words("seed_info"), max_lines=1)
    with gr.Row(equal_height=False, elem_classes="t2d-columns"):
        columns = [_column(desk, i) for i in range(MOST)]
    count.change(
        lambda n: [gr.update(visible=i < n) for i in range(MOST)],
        count,
        [column for column, _ in columns],
        queue=False,
        api_visibility="private",
    )
    buttons = run_buttons(words, "compare_button")
    result = Result(desk, "compare")

    def draw(model: str, classes: Any, prompt: str, n: int, seed_text: str, *values: Any) -> Iterator[dict]:
        noise = read_seed(seed_text)
        chosen = []
        for i in range(n):
            name, scheduler, steps, guidance = values[4 * i : 4 * i + 4]
            own = desk.studio.settings(name).percent
            chosen.append(read_settings(name, steps, guidance, *own, scheduler, OWN, noise))
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
        scheduler = gr.Dropdown(
            desk.scheduler_choices(model), value=_first(studio, model, place), label=words("scheduler")
        )
        steps = gr.Number(own.steps, label=words("steps"))
        guidance = gr.Number(own.guidance_scale, label=words("guidance"), step=0.1)

    def follow(chosen: str) -> tuple:
        new = studio.settings(chosen)
        schedulers = gr.update(choices=desk.scheduler_choices(chosen), value=_first(studio, chosen, place))
        return schedulers, new.steps, new.guidance_scale

    name.change(follow, name, [scheduler, steps, guidance], queue=False, api_visibility="private")
    desk.when_model_changes(lambda chosen: chosen, [name])
    return column, [name, scheduler, steps, guidance]


def _first(studio: Studio, model: str, place: int) -> str:
    fitting = [name for name in FIRST_CHOICES if name in studio.schedulers(model)]
    return fitting[place] if place < len(fitting) else OWN


def draw_columns(
    desk: Desk, result: Result, columns: Sequence[Settings], asked: list[int] | list[str]
) -> Iterator[dict]:
    """Draw one column after the other, and tell of every step."""
    words = desk.words
    told = [_for_model(desk.studio, settings.model, asked[0]) for settings in columns]
    done: list[Drawn] = []
    for settings, what in zip(columns, told, strict=True):
        live: list[torch.Tensor] = []
        for news in _draw_one(desk, settings, what, live):
            if isinstance(news, Drawn):
                done.append(news)
            elif isinstance(news, Waiting):
                yield result.waiting(news)
            else:
                yield result.step(_shown(desk, columns, done, live[-1]), news.index, news.total)
    picture = image_grid(torch.stack([drawn.frames[-1] for drawn in done]), len(done))
    longest = max(len(drawn.frames) for drawn in done)
    frames = [
        image_grid(torch.stack([drawn.frames[min(i, len(drawn.frames) - 1)] for drawn in done]), len(done))
        for i in thin(range(longest))
    ]
    seconds = sum(drawn.milliseconds for drawn in done) / 1000
    yield {
        result.picture: _shown(desk, columns, done, None),
        **result.told(words("compared", seed=columns[0].seed, count=len(done), seconds=seconds), desk.notes(told[:1])),
        **result.files(picture, frames, compare_snippet(columns, told)),
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


def _draw_one(desk: Desk, settings: Settings, asked: Any, live: list[torch.Tensor]) -> Iterator[Step | Drawn | Waiting]:
    pipeline, seconds = desk.studio.prepare(settings), desk.studio.seconds(settings, [asked])

    def call(tell: Any) -> Any:
        def keep(pipe: Any, i: int, t: torch.Tensor, tensors: dict) -> dict:
            live.append(pipe.decode_latents(tensors["latents"], "pt")[0].float().cpu())
            return tell(pipe, i, t, tensors)

        with Forwards(pipeline.denoiser) as forwards:
            pipeline(asked, **settings.arguments(keep))
        return forwards.seen

    for news in desk.studio.stream(call, seconds):
        yield Drawn(live, news.result, 1000 * news.seconds) if isinstance(news, Done) else news


def _shown(desk: Desk, columns: Sequence[Settings], done: Sequence[Drawn], live: torch.Tensor | None) -> str:
    """The finished pictures with their cost, and the one that is under way."""
    words = desk.words
    images = [drawn.frames[-1] for drawn in done] + ([] if live is None else [live])
    captions = []
    for i, settings in enumerate(columns[: len(images)]):
        own = settings.scheduler == OWN
        scheduler = desk.studio.own_scheduler(settings.model) if own else settings.scheduler
        start, end = settings.percent
        facts = {"steps": settings.steps, "guidance": settings.guidance_scale, "start": start, "end": end}
        caption = words("short_setting", number=i + 1, model=settings.model, scheduler=scheduler, **facts)
        if i < len(done):
            caption += " " + words("cost", forwards=done[i].forwards, milliseconds=done[i].milliseconds)
        captions.append(caption)
    return tiles(images, captions, words("an_image"), len(columns), "t2d-columns")
