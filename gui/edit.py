"""The tab that starts from a picture: a sketch drawn again, a hole filled, the way between two images."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
import torch
from PIL import Image

from ..pipelines import DigitImg2ImgPipeline, DigitInpaintPipeline, interpolate
from ..pipelines.images import image_grid
from .fields import LARGEST_SEED, Asked, Controls, read_number, read_seed, read_settings
from .parts import Desk, Result, guided_sentence, run_buttons, wire
from .pictures import Film, tiles
from .sketch import as_image, centred, make_pad, pad_value, read_pad
from .snippets import between_snippet, redraw_snippet
from .studio import Settings
from .words import Complaint

# Images on the way from one to another.
MOST_BETWEEN = 20
# What lies on the sheet at first: another class and seed than the first redrawing has, so that it shows a difference.
START, START_SEED, MOST_STEPS_OF_START = 3, 1, 50
# By 0.6 three of four starts keep their class; by 0.8 all become what is asked (four pairs, each of the three models).
STRENGTH = 0.8


def edit_tab(desk: Desk) -> None:
    """Three ways, a tab each."""
    words = desk.words
    gr.Markdown(words("edit_about"), elem_classes="t2d-about")
    with gr.Tabs(overflow_behavior="wrap"):
        with gr.Tab(words("redraw"), id="redraw", elem_id="redraw"):
            _redraw_tab(desk, over=False)
        with gr.Tab(words("inpaint"), id="inpaint", elem_id="inpaint"):
            _redraw_tab(desk, over=True)
        with gr.Tab(words("between"), id="between", elem_id="between"):
            _between_tab(desk)


def _redraw_tab(desk: Desk, over: bool) -> None:
    """A sheet with an image on it, what it becomes, and the result."""
    words, studio = desk.words, desk.studio
    side = studio.pipeline(studio.model).denoiser.config.sample_size
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            origin = Asked(desk, one=True, chosen=START, label="start_from")
            take = gr.Button(words("take_image"), size="sm")
            first = draw_one(desk, studio.model, origin.first(studio.model), START_SEED)
            pad = make_pad(words, side, over, pad_value(first, over, painted=over))
            asked = Asked(desk, one=True, chosen=2 if over else 8, label="becomes")
            amount, about = (1.0, "strength_of_part_info") if over else (STRENGTH, "strength_info")
            strength = gr.Slider(0, 1, amount, step=0.05, label=words("strength"), info=words(about))
            controls = Controls(desk)
            buttons = run_buttons(words, "inpaint_button" if over else "redraw_button")
        with gr.Column(scale=3, min_width=300):
            result = Result(desk, "edited")

    def give(model: str, classes: Any, prompt: str) -> Iterator[dict]:
        seed = random.randrange(1, LARGEST_SEED)  # another each time, and never that of the redrawing at first
        image = draw_one(desk, model, origin.read(model, classes, prompt), seed)
        yield {pad: pad_value(image, over), **result.told(words("taken"))}

    def edit(model: str, value: Any, amount: Any, classes: Any, prompt: str, *values: Any) -> Iterator[dict]:
        settings = read_settings(model, *values)
        share = float(read_number("strength", amount, 0, 1, whole=False))
        paper, ink = read_pad(value, side)
        chosen = asked.read(model, classes, prompt)
        if over and paper is None:
            raise Complaint("empty_paper")
        if ink is None:
            raise Complaint("empty_mask" if over else "empty_sketch")
        start = as_image(paper if paper is not None else centred(ink))
        mask = as_image(255 * (ink > 0).byte()) if over else None
        yield from redraw(desk, result, settings, chosen, start, share, mask)

    wire([take], give, [desk.model, *origin.inputs], result, [pad])
    wire(buttons, edit, [desk.model, pad, strength, *asked.inputs, *controls.inputs], result)


def draw_one(desk: Desk, model: str, asked: list[int] | list[str], seed: int) -> torch.Tensor:
    """(C, H, W) in [0, 1]: an image to start from, by the model's own settings."""
    own = desk.studio.settings(model)
    *_, done = desk.studio.draw(replace(own, seed=seed, steps=min(own.steps, MOST_STEPS_OF_START)), asked[:1])
    return done.images[0]  # type: ignore[union-attr]


def redraw(
    desk: Desk,
    result: Result,
    settings: Settings,
    asked: list[int] | list[str],
    start: Image.Image,
    strength: float,
    mask: Image.Image | None,
) -> Iterator[dict]:
    """Draw a picture again, or the painted part of it, and tell of every step."""
    words, studio, film = desk.words, desk.studio, Film()
    pipeline = studio.prepare(settings, DigitImg2ImgPipeline if mask is None else DigitInpaintPipeline)
    given: dict[str, Any] = {"image": start, "strength": strength, **({} if mask is None else {"mask_image": mask})}
    original = pipeline.decode_latents(pipeline.encode_image(start), "pt")[0]
    # What it starts from, and that with the noise that was added to it; a strength of 0 adds none.
    before, captions = [original], [words("start")]

    def watch(pipe: Any, i: int, t: torch.Tensor, tensors: dict[str, Any]) -> None:
        if i == 0:
            before.append(pipe.decode_latents(tensors["model_input"], "pt")[0])
            captions.append(words("with_noise", timestep=float(t)))
        film.watch(pipe, i, t, tensors)

    def shown(image: torch.Tensor) -> str:
        return tiles([*before, image], [*captions, words("result")], words("an_image"), 3, "large")

    drawing = studio.draw(settings, asked[:1], watch, pipeline=pipeline, **given)
    done = yield from result.follow(drawing, lambda: shown(film.last[0]))
    passes = done.passes
    facts = {"count": 1, "forwards": sum(passes), "seconds": done.seconds, "steps": len(passes)}
    sentence = f"{words('drawn', **facts)} {guided_sentence(words, [n > 1 for n in passes])}"
    if not passes:
        sentence = words("too_little_noise", share=strength, steps=settings.steps)
    yield {
        result.picture: shown(done.images[0]),
        **result.told(f"{settings.model}: {sentence}", desk.notes(asked[:1])),
        **result.files(
            image_grid(done.images[0][None], 1),
            [image_grid(frame, 1) for frame in film.frames()],
            redraw_snippet(settings, asked[0], start, strength, mask),
        ),
    }


def _between_tab(desk: Desk) -> None:
    words = desk.words
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            first = Asked(desk, one=True, chosen=3, label="first")
            first_seed = gr.Textbox("0", label=words("first_seed"), info=words("seed_info"), max_lines=1)
            second = Asked(desk, one=True, chosen=8, label="second")
            second_seed = gr.Textbox("1", label=words("second_seed"), info=words("seed_info"), max_lines=1)
            count = gr.Number(10, label=words("frames"), info=words("frames_info"))
            controls = Controls(desk, seed=False, guided=False)  # between two images, guidance is the way itself
            buttons = run_buttons(words, "between_button")
        with gr.Column(scale=3, min_width=300):
            result = Result(desk, "between")

    def draw(model: str, a: Any, a_text: str, a_seed: str, b: Any, b_text: str, b_seed: str, n: Any, *values: Any):
        settings = read_settings(model, *values)
        ends = first.read(model, a, a_text) + second.read(model, b, b_text)
        seeds = read_seed(a_seed, "first_seed"), read_seed(b_seed, "second_seed")
        yield from draw_between(desk, result, settings, ends, seeds, int(read_number("frames", n, 2, MOST_BETWEEN)))

    inputs = [desk.model, *first.inputs, first_seed, *second.inputs, second_seed, count, *controls.inputs]
    wire(buttons, draw, inputs, result)


def draw_between(
    desk: Desk, result: Result, settings: Settings, ends: list[Any], seeds: tuple[int, int], count: int
) -> Iterator[dict]:
    """Draw the way from one image to another."""
    words, studio, pipeline = desk.words, desk.studio, desk.studio.prepare(settings)

    def call(_: Any) -> tuple[list[torch.Tensor], list[int]]:
        return interpolate(pipeline, ends[0], ends[1], count, seeds, settings.steps, output_type="pt"), []

    drawing = studio.stream(call, studio.seconds(settings, ends[:1], calls=count))
    done = yield from result.follow(drawing, str)
    images, names = done.images, studio.class_names(settings.model)
    first, last = (names[end] if isinstance(end, int) else end for end in ends)
    sentence = words("between_done", count=count, seconds=done.seconds)
    yield {
        result.picture: tiles(images, [first, *[""] * (count - 2), last], words("an_image"), 5),
        **result.told(f"{settings.model}: {sentence}", desk.notes(ends)),
        **result.files(
            image_grid(torch.stack(images), count),
            [image_grid(image[None], 1) for image in images],
            between_snippet(settings, ends[0], ends[1], seeds, count),
        ),
    }
