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
from .pictures import thin, tiles
from .sketch import as_image, centred, make_pad, pad_value, read_pad
from .snippets import between_snippet, redraw_snippet
from .studio import Done, Forwards, Settings, Step, Waiting
from .trace import Recorder
from .words import Complaint, Words

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
            strength = gr.Slider(
                0, 1, value=1.0 if over else STRENGTH, step=0.05, label=words("strength"),
                info=words("strength_of_part_info" if over else "strength_info"),
            )  # fmt: skip
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
        mask = as_image(torch.where(ink > 0, 255, 0).to(torch.uint8)) if over else None
        yield from redraw(desk, result, settings, chosen, start, share, mask)

    wire([take], give, [desk.model, *origin.inputs], result, [pad])
    wire(buttons, edit, [desk.model, pad, strength, *asked.inputs, *controls.inputs], result)


def draw_one(desk: Desk, model: str, asked: list[int] | list[str], seed: int) -> torch.Tensor:
    """(C, H, W) in [0, 1]: an image to start from, by the model's own settings."""
    own = desk.studio.settings(model)
    settings = replace(own, seed=seed, steps=min(own.steps, MOST_STEPS_OF_START))
    pipeline, seconds = desk.studio.prepare(settings), desk.studio.seconds(settings, asked[:1])
    stream = desk.studio.stream(lambda tell: pipeline(asked[:1], **settings.arguments(tell)).images, seconds)
    (images,) = [news.result for news in stream if isinstance(news, Done)]
    return images[0].float().cpu()


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
    words, studio = desk.words, desk.studio
    seconds = studio.seconds(settings, asked[:1])
    pipeline = studio.prepare(settings, DigitImg2ImgPipeline if mask is None else DigitInpaintPipeline)
    recorder = Recorder(pipeline, studio.path(settings.model))
    argument = "prompt" if studio.takes_prompts(settings.model) else "class_labels"
    given = {} if mask is None else {"mask_image": mask}
    frames: list[torch.Tensor] = []

    def call(tell: Any) -> Any:
        def keep(pipe: Any, i: int, t: torch.Tensor, tensors: dict) -> dict:
            recorder.keep(tensors["model_output"])
            frames.append(pipe.decode_latents(tensors["latents"], "pt").float().cpu())
            return tell(pipe, i, t, tensors)

        with recorder, Forwards(pipeline.denoiser) as forwards:
            (image,) = pipeline(
                **{argument: asked[0]}, image=start, strength=strength, **settings.arguments(keep), **given
            ).images
        return image.float().cpu(), forwards.passes

    original = pipeline.decode_latents(pipeline.encode_image(start), "pt")[0]
    for news in studio.stream(call, seconds):
        if isinstance(news, Waiting):
            yield result.waiting(news)
            continue
        if isinstance(news, Step):
            yield result.step(_redraw_tiles(words, original, recorder, frames[-1][0]), news.index, news.total)
            continue
        image, passes = news.result
        code = redraw_snippet(settings, asked[0], start, strength, mask)
        facts = {"forwards": sum(passes), "seconds": news.seconds, "steps": len(frames)}
        sentence = f"{words('drawn', count=1, **facts)} {guided_sentence(words, [n > 1 for n in passes])}"
        if not frames:
            sentence = words("too_little_noise", share=strength, steps=settings.steps)
        yield {
            result.picture: _redraw_tiles(words, original, recorder, image),
            **result.told(f"{settings.model}: {sentence}", desk.notes(asked[:1])),
            **result.files(
                image_grid(image[None], 1), [image_grid(f, 1) for f in thin(frames)] if frames else [], code
            ),
        }


def _redraw_tiles(words: Words, original: torch.Tensor, recorder: Recorder, image: torch.Tensor) -> str:
    """The picture to start from, with the noise that was added to it, and what has become of it."""
    pictures, captions = [original], [words("start")]
    if (first := recorder.first) is not None:  # a strength of 0 adds none
        pictures.append((first.x_t / 2 + 0.5).clamp(0, 1))
        captions.append(words("with_noise", timestep=first.timestep))
    return tiles([*pictures, image], [*captions, words("result")], words("an_image"), 3, "large")


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
    seconds = studio.seconds(settings, ends[:1], calls=count)

    def call(_: Any) -> list[torch.Tensor]:
        return interpolate(pipeline, ends[0], ends[1], count, seeds, settings.steps, output_type="pt")

    for news in studio.stream(call, seconds):
        if isinstance(news, Waiting):
            yield result.waiting(news)
        elif isinstance(news, Done):
            images = torch.stack([image.float().cpu() for image in news.result])
            names = studio.class_names(settings.model)
            first, last = (names[end] if isinstance(end, int) else end for end in ends)
            captions = [first, *[""] * (count - 2), last]
            yield {
                result.picture: tiles(list(images), captions, words("an_image"), 5),
                **result.told(
                    f"{settings.model}: " + words("between_done", count=count, seconds=news.seconds), desk.notes(ends)
                ),
                **result.files(
                    image_grid(images, count),
                    [image_grid(image[None], 1) for image in images],
                    between_snippet(settings, ends[0], ends[1], seeds, count),
                ),
            }
