"""The app as a server: who waits for whom, what is refused, what stays in memory."""

import re
import threading
import time

import pytest

pytest.importorskip("gradio", reason="needs the extra gui")

from text2digit.gui.app import launch_options, make_app
from text2digit.gui.studio import Studio

from .visitor import PATIENCE_S, Visitor

# Drawings of one visitor at once.
MOST_OF_ONE = 3


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr("text2digit.gui.studio.MOST_SECONDS", 1e9)  # a busy machine may take its time
    apps = []

    def serve(studio):
        app = make_app(studio)
        app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options())
        apps.append(app)
        return app

    yield serve
    for app in apps:
        app.close()


class Long(threading.Thread):
    """A hundred images of two hundred steps, until it is told to stop."""

    def __init__(self, visitor, steps=200):
        super().__init__(daemon=True)
        self.visitor, self.steps, self.told, self.over = visitor, steps, [], threading.Event()
        self.start()

    def run(self):
        for _, told in self.visitor.press("Draw", images_of_each=10, steps=self.steps, guidance_scale=1.5):
            self.told.append(str(told["t2d-status"]))
            if self.over.is_set():
                return

    def end(self):
        self.over.set()
        self.join()

    def wait_for(self, word):
        patience = time.perf_counter() + PATIENCE_S
        while not any(word in told for told in self.told) and time.perf_counter() < patience and self.is_alive():
            time.sleep(0.05)
        assert any(word in told for told in self.told), self.told[-1:]


def test_a_short_drawing_does_not_wait_for_a_long_one(serve, studio):
    """Would catch ten images that wait for a hundred of two hundred steps, and a long one that is lost by it."""
    app = serve(studio)
    long = Long(Visitor(app, "long"))
    long.wait_for("Step")
    before = len(long.told)
    assert "10 images" in Visitor(app, "short").status("Draw", steps=4) and long.is_alive()
    while not any("Step" in told for told in long.told[before:]):
        assert long.is_alive()
        time.sleep(0.05)
    long.end()


def test_who_waits_is_told_for_how_long(serve, studio):
    """Would catch a visitor who waits without a word."""
    app = serve(studio)
    drawings = [Long(Visitor(app, str(i)), steps) for i, steps in enumerate((150, 200))]
    drawings[1].wait_for("in line; your turn is in about")
    for drawing in drawings:
        drawing.end()


def test_one_visitor_holds_few_places(serve, studio):
    """Would catch a client whose jobs fill the line."""
    app = serve(studio)
    many = [Long(Visitor(app, "greedy")) for _ in range(1)]
    many[0].wait_for("Step")
    more = [Long(Visitor(app, "greedy")) for _ in range(MOST_OF_ONE)]
    patience = time.perf_counter() + PATIENCE_S
    refused = f"got {MOST_OF_ONE + 1} of yours at once"
    while not any(refused in told for long in [*many, *more] for told in long.told):
        assert time.perf_counter() < patience
        time.sleep(0.05)
    for long in [*many, *more]:
        long.end()
    assert "10 images" in Visitor(app, "modest").status("Draw", steps=4)


def test_stop_ends_the_way_between_two_digits(serve, studio):
    """Would catch a Stop that waits for twenty pictures, because nothing is told between the first and the last."""
    app = serve(studio)
    visitor = Visitor(app, "between")
    stop = visitor.function("Stop", 5)
    drawing = visitor.press("Draw the images between", number_of_images=20, steps=500)
    begun, _ = next(drawing)
    visitor.call(stop, [])
    *_, (seconds, told) = drawing
    assert "Stopped." in told["t2d-status"] and seconds - begun < 20


@pytest.mark.parametrize(
    "button, place, entered, told",
    [
        ("Draw", 0, {"images_of_each": 11}, "Images: got 110, expected 100 or fewer"),
        ("Draw", 0, {"steps": 20_000}, "Steps: got 20000, expected a whole number from 1 to 1,000"),
        ("Draw", 1, {"steps": 20_000}, "Steps: got 20000, expected a whole number from 1 to 1,000"),
        ("Draw side by side", 0, {}, "Steps: got 20000, expected a whole number from 1 to 1,000"),
    ],
)
def test_too_much_work_is_refused_on_every_tab(serve, studio, button, place, entered, told):
    """Would catch one image of 20,000 steps, which takes six minutes."""
    visitor = Visitor(serve(studio), "much")
    if button != "Draw":
        function = visitor.function(button)
        for block in function.inputs:
            if getattr(block, "label", "") == "Steps":
                block.value = 20_000
    assert told in visitor.status(button, place, **entered)


def test_digits_of_numbers_are_images(serve, text_studio):
    """Would catch 100 lines of 20 digits that count as 100 images: 6 GB."""
    visitor = Visitor(serve(text_studio), "numbers")
    many = "12345678901234567890\n" * 100
    assert "Images: got 2,000, expected 100 or fewer" in visitor.status("Draw", prompts_one_per_line=many, steps=1)
    different = "".join(f"{100_000 + i}\n" for i in range(100_000))
    started = time.perf_counter()
    assert "Images: got 100,000" in visitor.status("Draw", prompts_one_per_line=different, steps=1)
    assert time.perf_counter() - started < 5


DAMAGED = {
    "half.png": b"\x89PNG\r\n\x1a\n" + bytes(60),
    "text.png": b"no picture",
    "empty.png": b"",
    "list.jsonl": b"[1, 2]\n",
    "number.jsonl": b"3\n",
    "stepless.jsonl": b'{"loss": 0.5}\n',
    "words.jsonl": b'{"step": 2, "loss": "low"}\n',
    "step.jsonl": b'{"step": "two", "loss": 0.5}\n',
    "levels.jsonl": b'{"step": 2, "loss": 0.5, "loss_by_time": [1, 2]}\n',
    "level.jsonl": b'{"step": 2, "loss": 0.5, "loss_by_time": 7}\n',
    "nested.jsonl": b"[" * 100_000 + b"\n",
    "bytes.jsonl": b"\xff\xfe\n",
}


def test_a_damaged_run_is_told_in_words(serve, studio, tmp_path, capfd):
    """Would catch an error without words, and a traceback in the console, for a run that is being written."""
    visitor = Visitor(serve(studio), "damaged")
    function = visitor.function("Open")
    for kind, content in DAMAGED.items():
        run = tmp_path / kind
        (run / "samples").mkdir(parents=True)
        good = b'{"step": 1, "loss": 1.0}\n'
        if kind.endswith(".png"):
            (run / "samples" / "step-000002.png").write_bytes(content)
        (run / "history.jsonl").write_bytes(good + content if kind.endswith(".jsonl") else good)
        told = str(visitor.call(function, [str(run)])["data"])
        if kind.endswith(".png"):
            assert "step-000002.png cannot be read" in told and "step 1, loss 1.0000" in told, (kind, told)
        else:
            assert "step 1, loss 1.0000" in told and "Left out 1 damaged line" in told, (kind, told)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_run_that_cannot_be_opened_is_told_why(serve, studio, tmp_path):
    """Would catch a run that has just started and is said to have no history, and a system's message for a name."""
    visitor = Visitor(serve(studio), "early")
    (tmp_path / "history.jsonl").touch()
    for name, why in (
        (str(tmp_path), "has no line in its history.jsonl that can be read"),
        (str(tmp_path / "none"), "expected a folder with a history.jsonl"),
        ("x" * 5000, "expected a folder with a history.jsonl"),
        ("~nobody-of-this-name", "expected a folder with a history.jsonl"),
    ):
        assert why in str(visitor.call(visitor.function("Open"), [name])["data"]), name


def test_a_forgotten_drawing_is_said_to_be(serve, studio):
    """Would catch a slider that moves over pictures that stand still, because the server was started anew."""
    visitor = Visitor(serve(studio), "back")
    told = visitor.call(visitor.function("Step", event="input"), [None, 1])["data"]
    assert "no longer has this drawing" in str(told)


def test_a_drawing_is_dropped_when_the_model_changes(serve, folder, tmp_path):
    """Would catch pictures of the old model under the new one's name."""
    other = tmp_path / "other"
    Studio(folder, others=()).pipeline(folder).save_pretrained(other)
    app = serve(Studio(folder, others=[str(other)]))
    visitor = Visitor(app, "fickle")
    long = Long(visitor)
    long.wait_for("Step")
    for function in app.fns.values():
        if any(
            getattr(app.blocks.get(block), "label", "") == "Model" and event == "change"
            for block, event in function.targets
        ):
            visitor.call(function, [str(other)] * len(function.inputs))
    long.join(timeout=PATIENCE_S)
    assert not long.is_alive() and "another model was chosen" in long.told[-1]
    assert f"{folder}: 10 images" in visitor.status("Draw", model=folder, steps=4)


# What no field of the page sends, or a visitor types in few of them.
HOSTILE = (None, "x", -1, 1e9, [], [[]], {}, True)


def test_values_that_no_field_sends_are_told_in_words(serve, studio, capfd):
    """Would catch a slider, number or choice out of its range that is an error without words, and a traceback."""
    app = serve(studio)
    visitor, drawn, tried = Visitor(app, "hostile"), set(), 0
    for function in app.fns.values():
        first = visitor.inputs(function)
        for place, block in enumerate(function.inputs):
            if type(block).__name__ == "State" or (function.queue and block.label in drawn):
                continue
            for value in HOSTILE:
                data = [*first[:place], value, *first[place + 1 :]]
                if function.queue:
                    *_, (_, told) = visitor.run(function, data)
                    drawn.add(block.label)
                    assert re.search("role=.(alert|status)", str(told["t2d-status"])), (block.label, value)
                else:
                    told = visitor.ask(function, data)
                    assert "data" in told or told["error"], (function.targets, block.label, value)
                tried += 1
    assert tried > 300 and "Traceback" not in "".join(capfd.readouterr())
    assert "Noise added: got 7, expected a number from 0 to 1" in visitor.status("Redraw", noise_added=7)
    for field, told in (("guidance_starts_at_(%)", "got -1"), ("scheduler", "got -1, expected one of own, ddim")):
        assert told in visitor.status("Draw", **{field: -1})
