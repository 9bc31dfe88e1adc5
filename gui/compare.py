"""The tab that draws the same noise under several settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import torch

from ..pipelines.images import image_grid
from .parts import Asked, Desk, Result, read_seed, read_settings, run_buttons, wire
from .pictures import thin, tiles
from .snippets import compare_snippet
from .studio import OWN, Done, Forwards, Settings, Step, Studio, Waiting

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
    with gr.Row(equal_height=False):
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
            chosen.append(read_settings(name, steps, guidance, scheduler, OWN, noise))
        yield from draw_columns(desk, result, chosen, asked.read(model, classes, prompt))

    inputs = [part for _, parts in columns for part in parts]
    wire(buttons, draw, [desk.model, *asked.inputs, count, seed, *inputs], result)


def _column(desk: Desk, place: int) -> tuple[gr.Column, list[Any]]:
    """A column of settings, and its inputs."""
    studio, words, model = desk.studio, desk.words, desk.studio.model
    own = studio.settings(model)
    with gr.Column(min_width=220, visible=place < 2, elem_classes="t2d-column") as column:
        gr.Markdown(f"### {words('setting', number=place + 1)}")
        name = gr.Dropdown(list(studio.models), value=model, label=words("model"))
        scheduler = gr.Dropdown(_choices(desk, model), value=_first(studio, model, place), label=words("scheduler"))
        steps = gr.Number(own.steps, label=words("steps"))
        guidance = gr.Number(own.guidance_scale, label=words("guidance"), step=0.1)

    def follow(chosen: str) -> tuple:
        new = studio.settings(chosen)
        schedulers = gr.update(choices=_choices(desk, chosen), value=_first(studio, chosen, place))
        return schedulers, new.steps, new.guidance_scale

    name.change(follow, name, [scheduler, steps, guidance], queue=False, api_visibility="private")
    desk.when_model_changes(lambda chosen: chosen, [name])
    return column, [name, scheduler, steps, guidance]


def _choices(desk: Desk, model: str) -> list[tuple[str, str]]:
    own = f"{desk.words('own')} ({desk.studio.own_scheduler(model)})"
    return [(own, OWN), *((name, name) for name in desk.studio.schedulers(model))]


def _first(studio: Studio, model: str, place: int) -> str:
    fitting = [name for name in FIRST_CHOICES if name in studio.schedulers(model)]
    return fitting[place] if place < len(fitting) else OWN


def draw_columns(
    desk: Desk, result: Result, columns: Sequence[Settings], asked: list[int] | list[str]
) -> Iterator[dict]:
    """Draw one column after the other, and tell of every step."""
    words = desk.words
    if len(asked) != 1:
        raise ValueError(f"digit: got {len(asked)}, expected one to compare.")
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
        **result.told(words("compared", seed=columns[0].seed, count=len(done), seconds=seconds)),
        **result.files(picture, frames, compare_snippet(columns, told)),
    }


def _for_model(studio: Studio, model: str, asked: int | str) -> int | str:
    """A class for models of classes, a text for models of prompts."""
    if studio.takes_prompts(model):
        return str(asked)
    if isinstance(asked, str) and not asked.isdecimal():
        raise ValueError(f"digit: got {asked!r} for {model}, which knows classes; write a numeral, or choose texts.")
    return int(asked)


def _draw_one(desk: Desk, settings: Settings, asked: Any, live: list[torch.Tensor]) -> Iterator[Step | Drawn | Waiting]:
    pipeline, seconds = desk.studio.prepare(settings), desk.studio.seconds(settings, [asked])

    def call(tell: Any) -> Any:
        def keep(pipe: Any, i: int, t: torch.Tensor, tensors: dict) -> dict:
            if len(tensors["latents"]) > 1:
                raise ValueError(f"prompt: got a number of {len(tensors['latents'])} digits, expected one digit.")
            live.append(pipe.decode_latents(tensors["latents"], "pt")[0].float().cpu())
            return tell(pipe, i, t, tensors)

        with Forwards(pipeline.denoiser) as forwards:
            pipeline(
                asked,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance_scale,
                generator=settings.seed,
                callback_on_step_end=keep,
                callback_on_step_end_tensor_inputs=("latents", "model_output"),
            )
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
        facts = {"model": settings.model, "steps": settings.steps, "guidance": settings.guidance_scale}
        caption = words("short_setting", scheduler=scheduler, **facts)
        if i < len(done):
            cost = words("cost", forwards=done[i].forwards, milliseconds=done[i].milliseconds)
            caption = f"{caption}: {cost}"
        captions.append(caption)
    return tiles(images, captions, words("a_digit"), len(columns), "large")
