"""The tab that draws a grid."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from ..pipelines.images import image_grid
from ..pipelines.options import make_generators
from .fields import Asked, Controls, read_count, read_seed, read_settings
from .parts import AT_ONCE, Desk, Result, guided_sentence, run_buttons, wire
from .pictures import Film, stack_rows, tiles
from .snippets import draw_snippet
from .studio import MOST_IMAGES, Settings

# Pictures in a row of the page, where there is room.
WIDE = 5
# The model that the examples in words are for.
WORDS_MODEL = "text-mnist"


def draw_tab(desk: Desk) -> None:
    """Inputs on the left, the pictures on the right."""
    words, studio = desk.words, desk.studio
    gr.Markdown(words("draw_about"), elem_classes="t2d-about")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            asked = Asked(desk, one=False)
            if WORDS_MODEL in studio.models:
                _examples(desk, asked)
            repeats = gr.Number(1, label=words("count"))
            controls = Controls(desk)
            buttons = run_buttons(words, "draw_button")
        with gr.Column(scale=3, min_width=300):
            noise = preview(desk, asked.first(studio.model))
            result = Result(desk, "images", noise, words("pure_noise"))

    def draw(model: str, classes: Any, prompt: str, count: Any, *values: Any) -> Iterator[dict]:
        settings = read_settings(model, *values)
        yield from draw_grid(desk, result, settings, asked.read(model, classes, prompt), read_count(count))

    wire(buttons, draw, [desk.model, *asked.inputs, repeats, *controls.inputs], result)

    def show_noise(status: str, model: str, classes: Any, prompt: str, count: Any, seed: str) -> Any:
        if words("pure_noise") not in str(status):  # what was drawn stays until the model is another
            return gr.skip()
        try:
            return preview(desk, asked.read(model, classes, prompt), model, read_count(count), read_seed(seed))
        except ValueError:  # half a word; Draw says what is wrong
            return gr.skip()

    fields = [*asked.inputs, repeats, controls.seed]
    seen = [result.status, desk.model, *fields]
    desk.listen(
        desk.model.change,
        lambda: {**result.told(words("pure_noise")), **result.no_files()},
        None,
        [result.status, result.take],
    ).then(show_noise, seen, result.picture, **AT_ONCE)
    changes = [field.change for field in fields]
    desk.listen(changes, show_noise, seen, result.picture, trigger_mode="always_last")


def _examples(desk: Desk, asked: Asked) -> None:
    """Prompts to try, which bring the model that draws them."""
    with gr.Column(elem_classes="t2d-examples"):
        gr.Markdown(desk.words("in_words"))
        with gr.Row():
            for key in ("example_1", "example_2", "example_3"):
                example = gr.Button(desk.words(key), size="sm", min_width=100)
                desk.listen(example.click, lambda text: (WORDS_MODEL, text), example, [desk.model, asked.prompt])


def preview(desk: Desk, asked: list[int] | list[str], model: str | None = None, repeats: int = 1, seed: int = 0) -> str:
    """The very noise that images will be made of, a picture for each."""
    model = model or desk.studio.model
    names = _captions(desk, model, asked, repeats)[:MOST_IMAGES]
    noise = desk.studio.pipeline(model).prepare_latents(len(names), make_generators(seed, len(names))).cpu()
    return tiles(list((noise / 2 + 0.5).clamp(0, 1)), names, desk.words("becomes_image"), _wide(repeats))


def _captions(desk: Desk, model: str, asked: list[int] | list[str], repeats: int) -> list[str]:
    names = desk.studio.class_names(model)
    shown = [names[x] if isinstance(x, int) else x or desk.words("no_prompt") for x in asked]
    return [name for name in shown for _ in range(repeats)]


def _wide(repeats: int) -> int:
    return min(repeats, 2 * WIDE) if repeats > 1 else WIDE


def draw_grid(
    desk: Desk, result: Result, settings: Settings, inputs: list[int] | list[str], repeats: int
) -> Iterator[dict]:
    """Draw, and tell of every step."""
    words, film = desk.words, Film()
    names, wide = _captions(desk, settings.model, inputs, repeats), _wide(repeats)
    columns = repeats if repeats > 1 else min(len(names), 10)

    def shown() -> str:
        # The pieces of numbers are shown one by one until they are composed.
        captions = names if len(film.last) == len(names) else [""] * len(film.last)
        return tiles(list(film.last), captions, words("an_image"), wide)

    done = yield from result.follow(desk.studio.draw(settings, inputs, film.watch, repeats), shown)
    pieces = len(film.last)
    facts = {"count": len(done.images), "seconds": done.seconds, "steps": settings.steps}
    sentence = words("drawn", forwards=sum(done.passes) // pieces, **facts)
    guided = guided_sentence(words, [n > pieces for n in done.passes])
    kind = "rows" if any(image.shape[2] > image.shape[1] for image in done.images) else ""
    grids = [image_grid(frame, min(columns, len(frame))) for frame in film.frames()]
    yield {
        result.picture: tiles(done.images, names, words("an_image"), wide, kind),
        **result.told(f"{settings.model}: {sentence} {guided}", desk.notes(inputs)),
        **result.files(
            image_grid(stack_rows(done.images), columns), grids, draw_snippet(settings, inputs, repeats, columns)
        ),
    }
