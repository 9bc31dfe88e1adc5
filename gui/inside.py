"""The tab that looks inside one drawing: a slider over what the model saw and said."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import torch

from ..pipelines.images import image_grid
from ..schedulers.noise import NoisePath
from .fields import Asked, Controls, read_number, read_settings
from .parts import Desk, Result, run_buttons, wire
from .pictures import thin, tiles
from .plots import confidence_plot, schedule_plots
from .snippets import inside_snippet
from .studio import Settings
from .trace import Glimpse, confidences, glimpse, look
from .words import Words

# Seconds that a visitor's trace is kept after the last use.
KEPT = 3600


@dataclass(frozen=True)
class Trace:
    """One image as it came about.

    Attributes:
        asked: class or prompt.
        moments: one for each step.
        confidence: (n, K), or None for what the classifier does not know.
    """

    settings: Settings
    asked: int | str
    path: NoisePath
    moments: list[Glimpse]
    confidence: torch.Tensor | None


def inside_tab(desk: Desk) -> None:
    """Inputs, then the slider with the pictures, then the curves."""
    words = desk.words
    gr.Markdown(words("inside_about"), elem_classes="t2d-about")
    trace: Any = gr.State(None, time_to_live=KEPT)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            asked = Asked(desk, one=True, chosen=7)
            controls = Controls(desk)
            buttons = run_buttons(words, "draw_button")
        with gr.Column(scale=3, min_width=300):
            slider = gr.Slider(
                1, 2, value=1, step=1, label=words("step"), info=words("step_info"), visible=False,
                elem_classes=["t2d-slider", "t2d-steps"],
            )  # fmt: skip
            result = Result(desk, "inside")
            plots = gr.HTML("", elem_classes="t2d-plots")

    def draw(model: str, classes: Any, prompt: str, *values: Any) -> Iterator[dict]:
        settings = read_settings(model, *values)
        found = yield from record(desk, result, settings, asked.read(model, classes, prompt))
        last = len(found.moments)
        yield {
            trace: found,
            # A slider needs two ends; a single step leaves nothing to slide over.
            slider: gr.update(maximum=max(last, 2), value=last, visible=last > 1),
            **show(desk, result, plots, found, last),
        }

    wire(buttons, draw, [desk.model, *asked.inputs, *controls.inputs], result, [trace, slider, plots])

    def slide(seen: Trace | None, place: Any) -> Any:
        if seen is None:  # the server was started anew, or has forgotten the visitor
            return result.told(words("forgotten"))
        return show(desk, result, plots, seen, int(read_number("step", place, 1, len(seen.moments))))

    outputs = [*result.outputs, plots]
    desk.listen(slider.input, slide, [trace, slider], outputs, result, trigger_mode="always_last")


def record(
    desk: Desk, result: Result, settings: Settings, asked: list[int] | list[str]
) -> Generator[dict, None, Trace]:
    """Draw one image, tell of every step, and return what was seen."""
    studio, moments = desk.studio, list[Glimpse]()
    path = studio.path(settings.model)

    def watch(pipe: Any, _: int, t: torch.Tensor, tensors: dict[str, Any]) -> None:
        moments.append(glimpse(look(pipe, path, t, tensors)))

    drawing = studio.draw(settings, asked[:1], watch)
    yield from result.follow(drawing, lambda: _tiles(desk.words, moments[-1]))
    classifier = studio.classifier(settings.model)
    confidence = None if classifier is None else confidences(classifier, moments)
    return Trace(settings, asked[0], path, moments, confidence)


def show(desk: Desk, result: Result, plots: gr.HTML, trace: Trace, place: int) -> dict:
    """Updates for a step; the first is 1."""
    words, moments = desk.words, trace.moments
    moment = moments[place - 1]
    sentence = words("level", index=place, total=len(moments), **vars(moment.level))
    curves = schedule_plots(trace.path, [m.level.timestep for m in moments], moment.level.timestep, words)
    note = ""
    if trace.confidence is not None:
        label = trace.asked if isinstance(trace.asked, int) else None
        curves += confidence_plot(trace.confidence, label, place - 1, words)
        share, top = trace.confidence[place - 1].max(dim=0)
        note = words("confidence_top", label=int(top), share=float(share))
    guided = [m.guided for m in moments]
    frames = [image_grid(m.panels, 4) for m in thin(moments)]
    return {
        result.picture: _tiles(words, moment),
        **result.told(
            f"{trace.settings.model}: {sentence}",
            _why(words, trace.settings, guided, place),
            note,
            desk.notes([trace.asked]),
        ),
        **result.files(image_grid(moment.panels, 4), frames, inside_snippet(trace.settings, trace.asked, place - 1)),
        plots: f'{_band(guided)}<div class="plots">{curves}</div>',
    }


def _why(words: Words, settings: Settings, guided: list[bool], place: int) -> str:
    """Whether guidance is on at a step, and what decides it."""
    start, end = settings.percent
    on = [step for step, one in enumerate(guided, start=1) if one]
    if settings.guidance_scale in (0, 1):
        return words("guidance_off", scale=settings.guidance_scale)
    if settings.guidance_scale < 1:
        return words("guidance_small")
    if not on:
        return words("guidance_nowhere", start=start, end=end)
    key = "guidance_on" if guided[place - 1] else "guidance_outside"
    return words(key, start=start, end=end, first=on[0], last=on[-1])


def _band(guided: list[bool]) -> str:
    """A style that paints the guided steps on the slider, from half a step before the first to half a step after."""
    on, last = [place for place, one in enumerate(guided) if one], max(len(guided) - 1, 1)
    ends = (max(on[0] - 0.5, 0) / last, min(on[-1] + 0.5, last) / last) if on else (0, 0)
    return f"<style>.t2d-steps {{ --guided-from: {ends[0]:.3f}; --guided-to: {ends[1]:.3f} }}</style>"


def _tiles(words: Words, moment: Glimpse) -> str:
    direction = "direction" if moment.guided else "no_direction"
    captions = [words(key) for key in ("x_t", "x_0", "noise", direction)]
    return tiles(list(moment.panels), captions, words("an_image"), 4, "large")
