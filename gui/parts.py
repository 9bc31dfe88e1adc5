"""Pieces of the page that every tab is made of: what to draw, how, what came out, and the wires between them."""

import atexit
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ..data.prompts import read_prompt
from .pictures import save_gif
from .studio import OWN, Settings, Studio, Waiting
from .words import Words

# What a visitor can get wrong, or a scheduler refuse; shown as words, never as a traceback.
COMPLAINTS = (ValueError, OSError, NotImplementedError, RuntimeError)
LARGEST_SEED = 2**32 - 1
# Classes up to this many are boxes to tick, more are a list to search.
MOST_BOXES = 20


class Shelf:
    """Where files lie until they are downloaded: a temporary folder, of which the oldest go first."""

    def __init__(self, most: int = 300):
        self.folder = Path(tempfile.mkdtemp(prefix="text2digit-"))
        self._most, self._folders = most, []  # type: tuple[int, list[Path]]
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)

    def new(self) -> Path:
        """An empty folder."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        self._folders.append(folder)
        while len(self._folders) > self._most:
            shutil.rmtree(self._folders.pop(0), ignore_errors=True)
        return folder


@dataclass(frozen=True)
class Desk:
    """What the tabs of one page share."""

    studio: Studio
    words: Words
    shelf: Shelf
    model: gr.Dropdown

    def when_model_changes(self, function: Callable[[str], Any], outputs: Sequence[Any]) -> None:
        """Run `function(model)` at a new choice, before anything that is drawn."""
        self.model.change(
            function, self.model, list(outputs), queue=False, show_progress="hidden", api_visibility="private"
        )


class Asked:
    """What to draw: boxes for classes, or a field for prompts; which one shows is up to the model.

    Args:
        one: a single digit or prompt.
        chosen: class that is ticked at first; None is all.
        label: key of a word, in place of "digit".
    """

    def __init__(self, desk: Desk, one: bool, chosen: int | None = None, label: str | None = None):
        self._desk, self._one = desk, one
        studio, words, model = desk.studio, desk.words, desk.studio.model
        prompts = studio.takes_prompts(model)
        names = studio.class_names(model)
        value: Any = names[chosen or 0] if one else names[:10]
        kind: Any = gr.Radio if one else gr.CheckboxGroup
        if len(names) > MOST_BOXES:
            kind = gr.Dropdown
        options = {"multiselect": True} if kind is gr.Dropdown and not one else {}
        name = words(label) if label else words("digit" if one else "digits")
        self.classes = kind(names, value=value, label=name, visible=not prompts, elem_classes="t2d-classes", **options)
        self.prompt = gr.Textbox(
            str(chosen or 7) if one else "7\na thick slanted three\n2026",
            label=name if label else words("prompt" if one else "prompts"),
            info=words("prompts_info"),
            lines=1 if one else 3,
            visible=prompts,
        )
        desk.when_model_changes(self._show, [self.classes, self.prompt])
        self.inputs = [self.classes, self.prompt]

    def _show(self, model: str) -> tuple:
        prompts = self._desk.studio.takes_prompts(model)
        names = self._desk.studio.class_names(model)
        value: Any = names[0] if self._one else names[:10]
        return gr.update(choices=names, value=value, visible=not prompts), gr.update(visible=prompts)

    def read(self, model: str, classes: Any, prompt: str) -> list[int] | list[str]:
        """Class ids, or prompts.

        Raises:
            ValueError: an empty field.
        """
        if self._desk.studio.takes_prompts(model):
            return [line.strip() for line in prompt.splitlines() if line.strip()] or [""]
        names = [classes] if isinstance(classes, str) else list(classes or [])
        return [self._desk.studio.class_names(model).index(name) for name in names]

    def complaints(self, asked: Sequence[int] | Sequence[str]) -> str:
        """What was not understood of prompts."""
        told = [(text, read_prompt(text).complaint()) for text in asked if isinstance(text, str)]
        notes = " ".join(f"{text!r}: {complaint}." for text, complaint in told if complaint)
        return f"{self._desk.words('note')} {notes}" if notes else ""


class Controls:
    """How to draw: steps, guidance, seed, scheduler and spacing; they follow the model's own defaults."""

    def __init__(self, desk: Desk, seed: bool = True):
        self._desk = desk
        studio, words = desk.studio, desk.words
        own = studio.settings(studio.model)
        with gr.Accordion(words("settings"), open=False, elem_classes="t2d-settings"):
            with gr.Row():
                self.steps = gr.Number(own.steps, label=words("steps"), info=words("steps_info"), min_width=130)
                self.guidance = gr.Number(
                    own.guidance_scale, label=words("guidance"), info=words("guidance_info"), step=0.1, min_width=130
                )
                self.seed = gr.Textbox(
                    "0", label=words("seed"), info=words("seed_info"), min_width=130, visible=seed, max_lines=1
                )
            with gr.Row():
                self.scheduler = gr.Dropdown(
                    self.scheduler_choices(studio.model), value=OWN, label=words("scheduler"),
                    info=words("scheduler_info"), min_width=220,
                )  # fmt: skip
                self.spacing = gr.Dropdown(
                    self._spacing_choices(studio.model, OWN), value=OWN, label=words("spacing"),
                    info=words("spacing_info"), min_width=220,
                )  # fmt: skip
            if seed:
                fresh = gr.Button(words("new_seed"), size="sm")
                fresh.click(_fresh_seed, None, self.seed, queue=False, api_visibility="private")
        desk.when_model_changes(self._show, [self.steps, self.guidance, self.scheduler, self.spacing])
        self.scheduler.input(
            lambda model, name: gr.update(choices=self._spacing_choices(model, name), value=OWN),
            [desk.model, self.scheduler],
            self.spacing,
            queue=False,
            api_visibility="private",
        )
        self.inputs = [self.steps, self.guidance, self.scheduler, self.spacing, self.seed]

    def scheduler_choices(self, model: str) -> list[tuple[str, str]]:
        """Names as shown, and as `Settings` takes them."""
        own = f"{self._desk.words('own')} ({self._desk.studio.own_scheduler(model)})"
        return [(own, OWN), *((name, name) for name in self._desk.studio.schedulers(model))]

    def _spacing_choices(self, model: str, scheduler: str) -> list[tuple[str, str]]:
        known = self._desk.studio.spacings(model, scheduler)
        return [(self._desk.words("own"), OWN), *((name, name) for name in known)]

    def _show(self, model: str) -> tuple:
        own = self._desk.studio.settings(model)
        schedulers = gr.update(choices=self.scheduler_choices(model), value=OWN)
        return (
            own.steps,
            own.guidance_scale,
            schedulers,
            gr.update(choices=self._spacing_choices(model, OWN), value=OWN),
        )


def read_settings(model: str, steps: Any, guidance: Any, scheduler: str, spacing: str, seed: Any) -> Settings:
    """Fields of the page as settings.

    Raises:
        ValueError: what is no number.
    """
    if steps is None or steps != int(steps):
        raise ValueError(f"steps: got {'nothing' if steps is None else steps}, expected a whole number from 1 up.")
    if guidance is None:
        raise ValueError("guidance scale: got nothing, expected a number; 1 is off.")
    guidance = int(guidance) if float(guidance).is_integer() else float(guidance)
    return Settings(model, int(steps), guidance, scheduler, spacing, read_seed(seed))


def read_seed(text: Any) -> int:
    """A seed that was typed.

    Raises:
        ValueError: no whole number, or one that is too large.
    """
    shown = str(text).strip()
    if not shown.isdecimal() or int(shown) > LARGEST_SEED:
        raise ValueError(f"seed: got {shown!r}, expected a whole number from 0 to {LARGEST_SEED}.")
    return int(shown)


def _fresh_seed() -> str:
    return str(random.randrange(10_000))


class Result:
    """What came out: a picture, a line about it, and what can be taken away.

    Args:
        name: of the downloads, without an ending.
        picture: what is there at first.
    """

    def __init__(self, desk: Desk, name: str, picture: str = ""):
        words = desk.words
        self._desk, self._name = desk, name
        self.stopped = words("stopped")
        self.status = gr.HTML(_status(words("nothing_yet")), elem_classes="t2d-status")
        self.picture = gr.HTML(picture, elem_classes="t2d-picture")
        with gr.Accordion(words("take_away"), open=False, visible=False, elem_classes="t2d-take") as self.take:
            with gr.Row():
                self.png = gr.DownloadButton(words("png"), size="sm", min_width=110)
                self.gif = gr.DownloadButton(words("gif"), size="sm", min_width=110)
                self.py = gr.DownloadButton(words("py"), size="sm", min_width=110)
            self.code = gr.Code("", language="python", label=words("code"), interactive=False, wrap_lines=True)
        self.outputs = [self.status, self.picture, self.take, self.png, self.gif, self.py, self.code]

    def step(self, picture: str, index: int, total: int) -> dict:
        """Updates while it draws."""
        return {self.picture: picture, self.status: _status(self._desk.words("step_of", index=index, total=total))}

    def waiting(self, news: Waiting) -> dict:
        """Updates while others draw first."""
        told = self._desk.words("waiting", place=news.ahead + 1, seconds=news.seconds)
        return {self.status: _status(told) if news.ahead else gr.skip()}

    def error(self, message: object) -> dict:
        """Updates for what went wrong; the last picture stays."""
        words = f"<b>{escape(self._desk.words('wrong'))}</b> {escape(str(message))}"
        return {self.status: f'<p class="t2d-error" role="alert">{words}</p>'}

    def told(self, sentence: str, note: str = "") -> dict:
        """Updates of the line alone."""
        return {self.status: _status(sentence, note)}

    def files(self, image: Image.Image, frames: Sequence[Image.Image], code: str) -> dict:
        """Updates for the downloads, written here and now."""
        folder = self._desk.shelf.new()
        png, gif, py = (folder / f"{self._name}.{ending}" for ending in ("png", "gif", "py"))
        image.save(png)
        py.write_text(code, encoding="utf-8")
        return {
            self.take: gr.update(visible=True),
            self.png: str(png),
            self.gif: gr.update(value=str(save_gif(frames, gif)) if frames else None, visible=bool(frames)),
            self.py: str(py),
            self.code: code,
        }


def _status(text: str, note: str = "") -> str:
    below = f'<p class="t2d-note">{escape(note)}</p>' if note else ""
    return f'<p role="status">{escape(text)}</p>{below}'


def run_buttons(words: Words, label: str) -> tuple[gr.Button, gr.Button]:
    """The button that starts, and the one that stops."""
    with gr.Row():
        start = gr.Button(words(label), variant="primary", scale=3, min_width=150)
        stop = gr.Button(words("stop"), variant="secondary", scale=1, min_width=90)
    return start, stop


def wire(
    buttons: Sequence[gr.Button],
    function: Callable[..., Iterator[dict]],
    inputs: Sequence[Any],
    result: Result,
    more: Sequence[Any] = (),
) -> None:
    """Let a button run a generator of updates.

    Args:
        buttons: of `run_buttons`, or one without a Stop.
        function: given the model and what else was entered; yields updates of `result` and of `more`.
    """
    desk = result._desk
    ended: dict[str, dict] = {}  # sessions that draw, with the updates that end it

    def guarded(request: gr.Request, model: str, *values: Any) -> Iterator[dict]:
        session = str(request.session_hash)
        ended[session] = {}
        updates = function(model, *values)
        try:
            with desk.studio.line.visit(session):
                for update in updates:
                    if end := ended.get(session):
                        updates.close()  # type: ignore[attr-defined]  # told when it is true
                        yield end
                        return
                    yield update
        except Exception as error:
            yield result.error(error)
        finally:
            updates.close()  # type: ignore[attr-defined]
            ended.pop(session, None)

    def halt(request: gr.Request) -> None:
        if request.session_hash in ended:
            ended[request.session_hash] = result.told(result.stopped)

    def drop(request: gr.Request) -> None:
        if request.session_hash in ended:
            ended[request.session_hash] = {**result.told(desk.words("dropped")), result.picture: ""}

    desk.model.change(drop, None, None, queue=False, api_visibility="private")
    start, *stops = buttons
    start.click(
        guarded,
        list(inputs),
        [*result.outputs, *more],
        concurrency_limit=None,  # who draws when is up to the studio's line
        # Gradio's "once" drops a click between the last update, such as "Stopped.", and the end of the generator.
        trigger_mode="always_last",
        show_progress="minimal",
        show_progress_on=result.status,
        api_visibility="private",
    )
    for stop in stops:
        # Not by Gradio's `cancels`, which leaves the generator, and so the pipeline's call, as it is.
        stop.click(halt, None, None, queue=False, api_visibility="private")
