"""The line that drawings wait in. One draws at a time, and they take turns between forwards of the model.

The order is that of the fair sojourn protocol (Friedman and Henderson 2003): first goes the drawing that would end
first if all of them drew at once, each at an equal share of the machine. So a short one passes a long one, none waits
for ever, and none ends later than under equal shares.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .words import Complaint

# Drawings in the line, and those of one page among them.
MOST_PLACES, MOST_OF_ONE = 64, 3


class Left(Exception):
    """Ends a drawing that nobody waits for any more."""


@dataclass(eq=False)
class Place:
    """A drawing's place in the line.

    Attributes:
        seconds: how long it will draw, as far as known.
        start: of the line's clock when it came.
        used: seconds that it has drawn.
        left: nobody waits for it.
    """

    seconds: float
    start: float
    used: float = 0.0
    left: bool = False

    @property
    def end(self) -> float:
        """When it would end under equal shares, by the line's clock."""
        return self.start + max(self.seconds, self.used)


class Line:
    """Whose turn it is to draw.

    Attributes:
        slowness: how much longer drawings take here than was guessed.
    """

    def __init__(self) -> None:
        self.slowness = 1.0
        self._changed, self._mine = threading.Condition(), threading.local()
        self._places: list[Place] = []
        self._visits: Counter[tuple[str, str]] = Counter()  # by session and address
        self._turn: Place | None = None
        self._clock = self._since = 0.0  # the clock: seconds that each of the drawings has had, at equal shares

    @contextmanager
    def visit(self, session: str, address: str) -> Iterator[None]:
        """Count a visitor's drawing, from the click to its end.

        A page names its own session, so a client may invent sessions; an address it cannot. One address may hold as
        many places as are free (Choudhury and Hahne 1998): half of the line alone, a third beside another such client,
        and always less than all. Behind a proxy that everybody comes through, as on a Space, that is one address for
        all: half of the line, and nobody is locked out of it. (A proxy's word for the visitor's address counts where
        uvicorn trusts the proxy: on this machine, or named by FORWARDED_ALLOW_IPS.)

        Args:
            session: of the page.
            address: of the visitor, or of the proxy.

        Raises:
            ValueError: the page holds enough places, or the line is full.
        """
        with self._changed:
            waiting = self._visits.total()
            if self._visits[session, address] >= MOST_OF_ONE:
                raise Complaint("line_of_one", got=str(MOST_OF_ONE + 1), most=MOST_OF_ONE)
            if sum(n for (_, at), n in self._visits.items() if at == address) >= MOST_PLACES - waiting:
                raise Complaint("line_full", count=waiting)
            self._visits[session, address] += 1
        try:
            yield
        finally:
            with self._changed:
                self._visits -= Counter([(session, address)])  # keeps those above 0 alone

    def join(self, seconds: float) -> Place:
        """A place for a drawing that is expected to take so long."""
        with self._changed:
            place = Place(seconds, self._clock)
            self._places.append(place)
            return place

    def leave(self, place: Place) -> None:
        """Give up a place; its drawing ends before its next forward."""
        with self._changed:
            place.left = True
            self._changed.notify_all()

    @contextmanager
    def turn(self, place: Place) -> Iterator[None]:
        """Draw within, in the thread that is to draw; ends the place.

        Raises:
            Left: the place was given up.
        """
        self._mine.place = place
        try:
            with self._changed:
                self._wait(place)
            yield
            with self._changed:
                self._count(place)
                if place.seconds and place.used > 1:  # a short one tells of overheads
                    self.slowness *= (place.used / place.seconds) ** 0.3
        finally:
            self._mine.place = None
            with self._changed:
                self._count(place)
                self._places.remove(place)
                self._changed.notify_all()

    def pass_on(self) -> None:
        """Between two forwards: let those draw who come first, and return when it is this thread's turn again.

        Raises:
            Left: the place was given up.
        """
        place = getattr(self._mine, "place", None)
        if place is not None:
            with self._changed:
                self._count(place)
                self._wait(place)

    def ahead(self, place: Place) -> tuple[int, float]:
        """How many drawings come before one, and the seconds that they will take; (0, 0.0) while it draws and after."""
        with self._changed:
            if self._turn is place or place not in self._order():
                return 0, 0.0
            order = self._order()
            first = order[: order.index(place)]
            # One that comes later may still be within its forward.
            return max(len(first), 1), sum(max(other.seconds - other.used, 0.0) for other in first)

    def _wait(self, place: Place) -> None:
        self._changed.notify_all()
        self._changed.wait_for(lambda: place.left or (self._turn is None and place is self._order()[0]))
        if place.left:
            raise Left
        self._turn, self._since = place, time.perf_counter()

    def _order(self) -> list[Place]:
        return sorted((place for place in self._places if not place.left), key=lambda place: place.end)

    def _count(self, place: Place) -> None:
        """End a turn."""
        if self._turn is place:
            seconds = time.perf_counter() - self._since
            place.used += seconds
            self._clock += seconds / len(self._places)
            self._turn = None
