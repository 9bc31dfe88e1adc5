"""Pieces of the page that every tab is made of: what came out, the way to the model, and the wires between them."""

import atexit
import logging
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ..data.prompts import read_prompt
from .pictures import save_gif
from .studio import OWN, Done, Drawing, Step, Studio
from .words import Complaint, Words, check_choice, cut

# What the package refuses, with the key of a sentence around its words; anything else is a fault of the app.
REFUSALS = {ValueError: "bad_value", OSError: "bad_file", RuntimeError: "bad_run"}
# Characters of a message.
LONGEST_MESSAGE = 400

# Options of an event that the page answers without the line.
AT_ONCE = {"queue": False, "show_progress": "hidden", "api_visibility": "private", "preprocess": False}

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

    def listen(
        self, events: Any, function: Callable[..., Any], inputs: Any, outputs: Any, result: Any = None, **options: Any
    ) -> Any:
        """Run a function at events, at once; what it raises is told in words.

        Inputs come as the browser sent them (`preprocess=False`): Gradio's own checks of a field end in an answer
        without words, so every function reads its fields by `fields.py`.

        Args:
            events: one or a list, such as `button.click`.
            result: a `Result` that tells of errors; without one they come up as a message of Gradio's.
            options: of Gradio's listeners.
        """

        @wraps(function)
        def told(*values: Any) -> Any:
            try:
                return function(*values)
            except Exception as error:
                if result is not None:
                    return result.error(error)
                raise gr.Error(error_text(self.words, error), print_exception=False) from error

        events = events if isinstance(events, list) else [events]
        return gr.on(events, told, inputs, outputs, **{**AT_ONCE, **options})

    def when_model_changes(self, function: Callable[[str], Any], outputs: Sequence[Any]) -> None:
        """Run `function(model)` at a new choice, before anything that is drawn."""
        known = self.studio.models
        self.listen(self.model.change, lambda x: function(check_choice("model", x, known)), self.model, list(outputs))

    def schedulers(self, model: str, chosen: str = OWN) -> dict[str, Any]:
        """A field's choices, as shown and as `Settings` takes them, and its value."""
        own = f"{self.words('own')} ({self.studio.own_scheduler(model)})"
        return {"choices": [(own, OWN), *((name, name) for name in self.studio.schedulers(model))], "value": chosen}

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
        self.desk, self._name = desk, name
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

    def follow(self, drawing: Drawing, shown: Callable[[], str]) -> Generator[dict, None, Done]:
        """Updates while a drawing waits and draws; returns its end.

        Args:
            shown: the picture after a step.
        """
        with closing(drawing):
            while not isinstance(news := next(drawing), Done):
                if isinstance(news, Step):
                    yield {self.picture: shown(), **self.told(self.desk.words("step_of", **vars(news)))}
                else:
                    told = self.desk.words("waiting", place=news.ahead + 1, seconds=news.seconds)
                    yield {self.status: _status(told) if news.ahead else gr.skip()}
        return news

    def error(self, error: Exception) -> dict:
        """Updates for what went wrong; the last picture stays, and style.css marks it as no result of this."""
        words = self.desk.words
        text = f'{error_text(words, error)} <span class="t2d-stale">{escape(words("stale"))}</span>'
        return {self.status: f'<p class="t2d-error" role="alert"><b>{escape(words("wrong"))}</b> {text}</p>'}

    def told(self, sentence: str, *notes: str) -> dict:
        """Updates of the line alone."""
        return {self.status: _status(sentence, *notes)}

    def no_files(self) -> dict:
        """Updates that take the downloads away, because they are of another picture than the one in sight."""
        return {self.take: gr.update(visible=False)}

    def files(self, image: Image.Image, frames: Sequence[Image.Image], code: str) -> dict:
        """Updates for the downloads, written here and now."""
        folder = self.desk.shelf.new()
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


def error_text(words: Words, error: Exception) -> str:
    """What went wrong, as HTML in the words of a page; those of the package are English, and marked as such."""
    if isinstance(error, Complaint):
        return escape(error.told(words))
    key = next((key for kind, key in REFUSALS.items() if isinstance(error, kind)), "broken")
    if key == "broken":
        LOG.error("The app failed.", exc_info=error)
    said = str(error) if key != "broken" else f"{type(error).__name__}: {error}"
    return escape(words(key)).replace("{error}", f'<span lang="en">{escape(cut(said, LONGEST_MESSAGE))}</span>')


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
    desk = result.desk
    ended: dict[str, dict] = {}  # sessions that draw, with the updates that end it

    def guarded(request: gr.Request, model: str, *values: Any) -> Iterator[dict]:
        session, client = str(request.session_hash), request.client
        ended[session] = {}
        updates = function(model, *values)
        try:
            with desk.studio.line.visit(session, client.host if client else ""):
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

    def end(sentence: str, updates: dict) -> Callable[[gr.Request], None]:
        def ask(request: gr.Request) -> None:
            if request.session_hash in ended:
                ended[request.session_hash] = {**result.told(desk.words(sentence)), **result.no_files(), **updates}

        return ask

    start, *stops = buttons
    desk.listen(desk.model.change, end("dropped", {result.picture: ""}), None, None)
    for stop in stops:
        # Not by Gradio's `cancels`, which leaves the generator, and so the pipeline's call, as it is.
        desk.listen(stop.click, end("stopped", {}), None, None)
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
        preprocess=False,
    )
