"""The tab that starts from a picture: a sketch drawn again, a hole filled, the way between two digits."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import torch
from PIL import Image

from ..pipelines import DigitImg2ImgPipeline, DigitInpaintPipeline, interpolate
from ..pipelines.images import image_grid
from .parts import Asked, Controls, Desk, Result, read_seed, read_settings, run_buttons, wire
from .pictures import thin, tiles
from .sketch import as_image, centred, make_pad, pad_value, read_pad
from .snippets import between_snippet, redraw_snippet
from .studio import Done, Forwards, Settings, Step, Waiting
from .trace import Recorder
from .words import Words

# Pictures on the way from one digit to another.
MOST_BETWEEN = 20


def edit_tab(desk: Desk) -> None:
    """Three ways, a tab each."""
    words = desk.words
    gr.Markdown(words("edit_about"), elem_classes="t2d-about")
    with gr.Tabs():
        with gr.Tab(words("redraw"), id="redraw"):
            _redraw_tab(desk, over=False)
        with gr.Tab(words("inpaint"), id="inpaint"):
            _redraw_tab(desk, over=True)
        with gr.Tab(words("between"), id="between"):
            _between_tab(desk)


def _redraw_tab(desk: Desk, over: bool) -> None:
    words = desk.words
    side = desk.studio.pipeline(desk.studio.model).denoiser.config.sample_size
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            pad = make_pad(words, side, over)
            take = gr.Button(words("take_digit"), size="sm")
            asked = Asked(desk, one=True, chosen=8, label="becomes")
            strength = gr.Slider(
                0, 1, value=1.0 if over else 0.6, step=0.05, label=words("strength"), info=words("strength_info")
            )
            controls = Controls(desk)
            buttons = run_buttons(words, "inpaint_button" if over else "redraw_button")
        with gr.Column(scale=3, min_width=300):
            result = Result(desk, "edited")

    def give(model: str, classes: Any, prompt: str, *values: Any) -> Iterator[dict]:
        settings = read_settings(model, *values)
        yield {pad: pad_value(draw_one(desk, settings, asked.read(model, classes, prompt)), over), **result.told("")}

    def edit(model: str, value: Any, amount: float, classes: Any, prompt: str, *values: Any) -> Iterator[dict]:
        settings = read_settings(model, *values)
        paper, ink = read_pad(value, side)
        chosen = asked.read(model, classes, prompt)
        if over and paper is None:
            raise ValueError(words("empty_paper"))
        if ink is None:
            raise ValueError(words("empty_mask" if over else "empty_sketch"))
        start = as_image(paper if paper is not None else centred(ink))
        mask = as_image(torch.where(ink > 0, 255, 0).to(torch.uint8)) if over else None
        yield from redraw(desk, result, settings, chosen, start, float(amount), mask)

    inputs = [*asked.inputs, *controls.inputs]
    wire([take], give, [desk.model, *inputs], result, [pad])
    wire(buttons, edit, [desk.model, pad, strength, *inputs], result)


def draw_one(desk: Desk, settings: Settings, asked: list[int] | list[str]) -> torch.Tensor:
    """(C, H, W) in [0, 1]: a digit to start from, by the tab's own settings."""
    pipeline, seconds = desk.studio.prepare(settings), desk.studio.seconds(settings, asked[:1])

    def call(tell: Any) -> Any:
        return pipeline(
            asked[:1],
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            generator=settings.seed,
            output_type="pt",
            callback_on_step_end=tell,
            callback_on_step_end_tensor_inputs=("latents", "model_output"),
        )

    (output,) = [news.result for news in desk.studio.stream(call, seconds) if isinstance(news, Done)]
    return output.images[0].float().cpu()


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
                **{argument: asked[0] if asked else []},
                image=start,
                strength=strength,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance_scale,
                generator=settings.seed,
                output_type="pt",
                callback_on_step_end=keep,
                callback_on_step_end_tensor_inputs=("latents", "model_output"),
                **given,
            ).images
        return image.float().cpu(), forwards.seen

    original = pipeline.decode_latents(pipeline.encode_image(start), "pt")[0]
    for news in studio.stream(call, seconds):
        if isinstance(news, Waiting):
            yield result.waiting(news)
            continue
        if isinstance(news, Step):
            yield result.step(_redraw_tiles(words, original, recorder, frames[-1][0]), news.index, news.total)
            continue
        image, forwards = news.result
        code = redraw_snippet(settings, asked[0], start, strength, mask)
        yield {
            result.picture: _redraw_tiles(words, original, recorder, image),
            **result.told(
                f"{settings.model}: " + words("drawn_one", forwards=forwards, seconds=news.seconds, steps=len(frames))
            ),
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
    return tiles([*pictures, image], [*captions, words("result")], words("a_digit"), 3, "large")


def _between_tab(desk: Desk) -> None:
    words = desk.words
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            first = Asked(desk, one=True, chosen=3, label="first")
            first_seed = gr.Textbox("0", label=words("first_seed"), info=words("seed_info"), max_lines=1)
            second = Asked(desk, one=True, chosen=8, label="second")
            second_seed = gr.Textbox("1", label=words("second_seed"), info=words("seed_info"), max_lines=1)
            count = gr.Number(10, label=words("frames"), precision=0)
            controls = Controls(desk, seed=False)
            controls.guidance.visible = False  # between two digits, guidance is the way itself
            buttons = run_buttons(words, "between_button")
        with gr.Column(scale=3, min_width=300):
            result = Result(desk, "between")

    def draw(model: str, a: Any, a_text: str, a_seed: str, b: Any, b_text: str, b_seed: str, n: Any, *values: Any):
        settings = read_settings(model, *values)
        ends = first.read(model, a, a_text)[:1] + second.read(model, b, b_text)[:1]
        yield from draw_between(desk, result, settings, ends, (read_seed(a_seed), read_seed(b_seed)), int(n or 0))

    inputs = [desk.model, *first.inputs, first_seed, *second.inputs, second_seed, count, *controls.inputs]
    wire(buttons, draw, inputs, result)


def draw_between(
    desk: Desk, result: Result, settings: Settings, ends: list[Any], seeds: tuple[int, int], count: int
) -> Iterator[dict]:
    """Draw the way from one digit to another."""
    if count > MOST_BETWEEN:
        raise ValueError(f"pictures: got {count}, expected {MOST_BETWEEN} or fewer.")
    words, pipeline = desk.words, desk.studio.prepare(settings)
    seconds = desk.studio.seconds(settings, ends[:1], calls=count)

    def call(_: Any) -> list[torch.Tensor]:
        return interpolate(pipeline, ends[0], ends[1], count, seeds, settings.steps, output_type="pt")

    for news in desk.studio.stream(call, seconds):
        if isinstance(news, Waiting):
            yield result.waiting(news)
        elif isinstance(news, Done):
            images = torch.stack([image.float().cpu() for image in news.result])
            captions = [f"{ends[0]}", *[""] * (count - 2), f"{ends[1]}"]
            yield {
                result.picture: tiles(list(images), captions, words("a_digit"), 5),
                **result.told(f"{settings.model}: " + words("between_done", count=count, seconds=news.seconds)),
                **result.files(
                    image_grid(images, count),
                    [image_grid(image[None], 1) for image in images],
                    between_snippet(settings, ends[0], ends[1], seeds, count),
                ),
            }
