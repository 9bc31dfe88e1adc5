"""The tab that draws a grid."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import torch

from ..pipelines.images import image_grid
from ..pipelines.options import make_generators
from .parts import Asked, Controls, Desk, Result, read_settings, run_buttons, wire
from .pictures import Film, stack_rows, tiles
from .snippets import draw_snippet
from .studio import Forwards, Settings, Step, Waiting

# Pictures in a row of the page, where there is room.
WIDE = 5


def draw_tab(desk: Desk) -> None:
    """Inputs on the left, the pictures on the right."""
    words = desk.words
    gr.Markdown(words("draw_about"), elem_classes="t2d-about")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            asked = Asked(desk, one=False)
            repeats = gr.Number(1, label=words("count"), precision=0)
            controls = Controls(desk)
            buttons = run_buttons(words, "draw_button")
        with gr.Column(scale=3, min_width=300):
            result = Result(desk, "digits", _noise(desk))
            result.status.value = f'<p role="status">{words("pure_noise")}</p>'

    def draw(model: str, classes: Any, prompt: str, count: Any, *values: Any) -> Iterator[dict]:
        settings = read_settings(model, *values)
        yield from draw_grid(desk, result, asked, settings, asked.read(model, classes, prompt), count or 0)

    wire(buttons, draw, [desk.model, *asked.inputs, repeats, *controls.inputs], result)


def _noise(desk: Desk) -> str:
    """What the page opens with: the very noise that its first digits are made of."""
    pipeline, names = desk.studio.pipeline(desk.studio.model), desk.studio.class_names(desk.studio.model)[:10]
    noise = pipeline.prepare_latents(len(names), make_generators(0, len(names))).cpu()
    return tiles(list((noise / 2 + 0.5).clamp(0, 1)), names, desk.words("becomes_digit"), WIDE)


def draw_grid(
    desk: Desk, result: Result, asked: Asked, settings: Settings, inputs: list[int] | list[str], repeats: int
) -> Iterator[dict]:
    """Draw, and tell of every step."""
    words, pipeline = desk.words, desk.studio.prepare(settings)
    seconds = desk.studio.seconds(settings, inputs, repeats)
    names = desk.studio.class_names(settings.model)
    shown = [name if isinstance(name, str) else names[name] for name in inputs for _ in range(repeats)]
    columns = repeats if repeats > 1 else min(len(shown), len(names))
    wide = repeats if repeats > 1 else WIDE
    film = Film()

    def call(tell: Any) -> Any:
        def keep(pipe: Any, i: int, t: torch.Tensor, tensors: dict) -> dict:
            film.add(pipe.decode_latents(tensors["latents"], "pt"), i, pipe.num_timesteps)
            return tell(pipe, i, t, tensors)

        with Forwards(pipeline.denoiser) as forwards:
            output = pipeline(
                inputs,
                num_images_per_prompt=repeats,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance_scale,
                generator=settings.seed,
                output_type="pt",
                callback_on_step_end=keep,
                callback_on_step_end_tensor_inputs=("latents", "model_output"),
            )
        return [image.float().cpu() for image in output.images], forwards.seen

    for news in desk.studio.stream(call, seconds):
        if isinstance(news, Waiting):
            yield result.waiting(news)
            continue
        if isinstance(news, Step):
            # The pieces of numbers are shown one by one until they are composed.
            captions = shown if len(film.last) == len(shown) else [""] * len(film.last)
            yield result.step(tiles(list(film.last), captions, words("a_digit"), wide), news.index, news.total)
            continue
        images, seen = news.result
        key = "drawn_one" if len(images) == 1 else "drawn_many"
        facts = {"count": len(images), "seconds": news.seconds, "steps": settings.steps}
        sentence = words(key, forwards=seen // len(film.last), **facts)
        kind = "rows" if any(image.shape[2] > image.shape[1] for image in images) else ""
        grids = [image_grid(frame, min(columns, len(frame))) for frame in film.frames()]
        yield {
            result.picture: tiles(images, shown, words("a_digit"), wide, kind),
            **result.told(f"{settings.model}: {sentence}", asked.complaints(inputs)),
            **result.files(
                image_grid(stack_rows(images), columns), grids, draw_snippet(settings, inputs, repeats, columns)
            ),
        }
