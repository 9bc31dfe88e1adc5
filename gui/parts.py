"""Pieces of the page that every tab is made of: what came out, the way to the model, and the wires between them."""

import atexit
import logging
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
from .studio import OWN, Studio, Waiting
from .words import Complaint, Words, cut

# What the package refuses; anything else is a fault of the app.
COMPLAINTS = (ValueError, OSError, NotImplementedError, RuntimeError)
# Characters of a message.
LONGEST_MESSAGE = 400

LOG = logging.getLogger(__name__)
# Gradio's view of code has colours too faint to read, and cannot be scrolled by keys.
CODE = '<p>{name} <button type="button">{copy}</button></p><pre tabindex="0" aria-label="{name}"><code></code></pre>'
CODE_SCRIPT = (Path(__file__).parent / "assets" / "code.js").read_text(encoding="utf-8")


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

    def scheduler_choices(self, model: str) -> list[tuple[str, str]]:
        """Names as shown, and as `Settings` takes them."""
        own = f"{self.words('own')} ({self.studio.own_scheduler(model)})"
        return [(own, OWN), *((name, name) for name in self.studio.schedulers(model))]

    def notes(self, asked: Sequence[int | str]) -> str:
        """What was not understood of prompts, and whether they say anything at all."""
        words, told = self.words, []
        for text in filter(lambda x: isinstance(x, str), asked):
            reading = read_prompt(str(text))
            told += [words("read_as", text=text, word=word, other=other) for word, other in reading.corrected.items()]
            if reading.unknown:
                told.append(words("left_out", text=text, words=", ".join(reading.unknown)))
            if not reading.text:
                told.append(words("says_nothing", text=text) if text else words("says_nothing_empty"))
        return f"{words('note')} {cut(' '.join(told), LONGEST_MESSAGE)}" if told else ""


class Result:
    """What came out: a picture, a line about it, and what can be taken away.

    Args:
        name: of the downloads, without an ending.
        picture: what is there at first.
        sentence: what is said of it; "" is that nothing is drawn yet.
    """

    def __init__(self, desk: Desk, name: str, picture: str = "", sentence: str = ""):
        words = desk.words
        self._desk, self._name = desk, name
        self.stopped = words("stopped")
        self.status = gr.HTML(_status(sentence or words("nothing_yet")), elem_classes="t2d-status")
        self.picture = gr.HTML(picture, elem_classes="t2d-picture")
        with gr.Accordion(words("take_away"), open=False, visible=False, elem_classes="t2d-take") as self.take:
            with gr.Row():
                self.png = gr.DownloadButton(words("png"), size="sm", min_width=110)
                self.gif = gr.DownloadButton(words("gif"), size="sm", min_width=110)
                self.py = gr.DownloadButton(words("py"), size="sm", min_width=110)
            # Not as props: Gradio forgets them where a value comes before the fold is seen.
            template = CODE.format(name=words("code"), copy=words("copy"))
            self.code = gr.HTML("", html_template=template, js_on_load=CODE_SCRIPT, elem_classes="t2d-code")
        self.outputs = [self.status, self.picture, self.take, self.png, self.gif, self.py, self.code]

    def step(self, picture: str, index: int, total: int) -> dict:
        """Updates while it draws."""
        return {self.picture: picture, self.status: _status(self._desk.words("step_of", index=index, total=total))}

    def waiting(self, news: Waiting) -> dict:
        """Updates while others draw first."""
        told = self._desk.words("waiting", place=news.ahead + 1, seconds=news.seconds)
        return {self.status: _status(told) if news.ahead else gr.skip()}

    def error(self, error: Exception) -> dict:
        """Updates for what went wrong; the last picture stays, and style.css marks it as no result of this."""
        words = self._desk.words
        text = escape(cut(str(error), LONGEST_MESSAGE))
        if isinstance(error, Complaint):
            text = escape(error.told(words))
        elif not isinstance(error, COMPLAINTS):
            LOG.error("The app failed.", exc_info=error)
            text = escape(words("broken", error=f"{type(error).__name__}: {error}"))
        elif words.language != "en":
            text = f'{words("of_the_package")}: <span lang="en">{text}</span>'
        stale = f' <span class="t2d-stale">{escape(words("stale"))}</span>'
        return {self.status: f'<p class="t2d-error" role="alert"><b>{escape(words("wrong"))}</b> {text}{stale}</p>'}

    def told(self, sentence: str, *notes: str) -> dict:
        """Updates of the line alone."""
        return {self.status: _status(sentence, *notes)}

    def no_files(self) -> dict:
        """Updates that take the downloads away, because they are of another picture than the one in sight."""
        return {self.take: gr.update(visible=False)}

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


def _status(text: str, *notes: str) -> str:
    below = "".join(f'<p class="t2d-note">{escape(note)}</p>' for note in notes if note)
    return f'<p role="status">{escape(text)}</p>{below}'


def guided_sentence(words: Words, guided: Sequence[bool]) -> str:
    """At which passes of a call guidance was on, and what that costs.

    Args:
        guided: for each pass, whether it looked at two conditions.
    """
    on = [place for place, doubled in enumerate(guided, start=1) if doubled]
    if not on or len(on) == len(guided):
        return words("guided_always" if on else "guided_never")
    return words("guided_some", first=on[0], last=on[-1])


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
            ended[request.session_hash] = {**result.told(result.stopped), **result.no_files()}

    def drop(request: gr.Request) -> None:
        if request.session_hash in ended:
            ended[request.session_hash] = {
                **result.told(desk.words("dropped")),
                **result.no_files(),
                result.picture: "",
            }

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
