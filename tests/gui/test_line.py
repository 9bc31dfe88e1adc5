"""Whose turn it is to draw."""

import threading
import time
from contextlib import ExitStack

import pytest

from text2digit.gui.line import MOST_OF_ONE, MOST_PLACES, Left, Line
from text2digit.gui.words import Words

TICK = 0.02


class Drawing(threading.Thread):
    """Forwards of a tick each."""

    def __init__(self, line, forwards, seconds=None):
        super().__init__()
        self.line, self.forwards, self.done, self.begun, self.ended = line, forwards, 0, None, None
        self.place = line.join(forwards * TICK if seconds is None else seconds)
        self.start()

    def run(self):
        try:
            with self.line.turn(self.place):
                self.begun = time.perf_counter()
                for _ in range(self.forwards):
                    self.line.pass_on()
                    time.sleep(TICK)
                    self.done += 1
            self.ended = time.perf_counter()
        except Left:
            pass


def test_a_short_drawing_passes_a_long_one():
    """Would catch a line where ten images wait for a hundred."""
    line = Line()
    long = Drawing(line, 200)
    time.sleep(3 * TICK)
    short = Drawing(line, 3)
    short.join()
    assert short.done == 3 and long.done < 150
    long.join()
    assert long.done == 200


def test_nobody_waits_for_ever():
    """Would catch a long drawing that never ends while short ones keep coming."""
    line, running, came = Line(), True, []

    def keep_coming():
        while running:
            came.append(Drawing(line, 2))
            came[-1].join()

    many = [threading.Thread(target=keep_coming) for _ in range(2)]
    long = Drawing(line, 10)
    for thread in many:
        thread.start()
    long.join()
    others = sum(drawing.done for drawing in came)
    running = False
    for thread in many:
        thread.join()
    assert long.done == 10 and others < 60  # 20 at equal shares; a busy machine's ticks are of many lengths


def test_equal_drawings_end_in_the_order_in_which_they_came():
    """Would catch turns that make all of them late."""
    line = Line()
    drawings = [Drawing(line, 5, seconds=10.0) for _ in range(5)]
    for drawing in drawings:
        drawing.join()
    ends = [drawing.ended for drawing in drawings]
    assert ends == sorted(ends)


def test_who_says_too_little_does_not_pass_for_ever():
    """Would catch a drawing that is believed to be short long after it was."""
    line = Line()
    liar = Drawing(line, 200, seconds=TICK)
    honest = Drawing(line, 5)
    honest.join()
    assert liar.done < 100
    liar.join()


def test_who_leaves_the_line_holds_up_nobody():
    """Would catch a visitor who is gone and still waited for, and a drawing that goes on for nobody."""
    line = Line()
    first, second = (Drawing(line, 200) for _ in range(2))
    third = Drawing(line, 20, seconds=200 * TICK)
    time.sleep(TICK)
    assert line.ahead(third.place)[0] == 2 and line.ahead(second.place)[1] == pytest.approx(200 * TICK, rel=0.5)
    for drawing in (first, second):
        line.leave(drawing.place)
        drawing.join()
        assert drawing.done < 200 and drawing.ended is None
    third.join()
    assert third.done == 20 and line.ahead(third.place)[0] == 0


def test_places_are_counted():
    """Would catch a client that takes the whole line, and places that are never given back."""
    line = Line()
    for _ in range(2):
        with ExitStack() as stack:
            for _ in range(MOST_OF_ONE):
                stack.enter_context(line.visit("one", "address"))
            with pytest.raises(ValueError, match=f"Drawings: got {MOST_OF_ONE + 1} of yours at once") as many:
                stack.enter_context(line.visit("one", "address"))
            assert "‘멈추기’를" in many.value.told(Words("ko"))
            for i in range(MOST_PLACES - MOST_OF_ONE):
                stack.enter_context(line.visit(str(i), f"address {i}"))
            with pytest.raises(ValueError, match=f"Drawings: {MOST_PLACES} are waiting") as full:
                stack.enter_context(line.visit("late", "late"))
            assert "대기하고" in full.value.told(Words("ko"))
    assert not line._visits


def held(line, stack, address):
    """How many places a client gets that invents a session for each."""
    for i in range(2 * MOST_PLACES):
        try:
            stack.enter_context(line.visit(f"{address} {i}", address))
        except ValueError:
            return i
    return 2 * MOST_PLACES


def test_one_address_does_not_fill_the_line():
    """Would catch a client that invents sessions until nobody else gets a place, and a proxy whose visitors, all of one
    address, are taken for one."""
    line = Line()
    with ExitStack() as stack:
        assert held(line, stack, "a proxy") == MOST_PLACES // 2
        others = [held(line, stack, str(i)) for i in range(3)]
        assert others == [16, 8, 4]
        stack.enter_context(line.visit("modest", "elsewhere"))


def test_a_busy_machine_is_learnt_of():
    """Would catch estimates that stay wrong."""
    line = Line()
    Drawing(line, 60, seconds=0.3).join()
    assert line.slowness > 1.2


def test_a_thread_that_cannot_start_holds_up_nobody(studio, folder, monkeypatch):
    """Would catch a line that stands still because the machine had no thread left for one drawing."""
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="no thread left"):
        patched.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("no thread left")))
        next(studio.stream(lambda _: None))
    *_, done = studio.stream(lambda _: ([], [1]))
    assert done.passes == [1]
