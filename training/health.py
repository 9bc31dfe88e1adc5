"""What ends a run early, each with a clear word: a signal, or a number that is not finite."""

import signal
import time
from types import FrameType

import torch

from ..runtime import say
from .objective import NoisyBatch

SHOWN = 8
# A launcher passes on the Ctrl-C that its processes got already; a person who is in earnest comes later than that.
GRACE_SECONDS = 3.0


class InterruptedRun(Exception):
    """A signal asked the run to end; everything is saved.

    Args:
        signum: which signal.
        step: steps done.
    """

    def __init__(self, signum: int, step: int):
        self.signum = signum
        super().__init__(f"{signal.Signals(signum).name} at step {step:,}; everything is saved.")


class NonFiniteError(ArithmeticError):
    """A loss or gradient is infinite or not a number."""


class StopSignals:
    """Within the block, Ctrl-C and SIGTERM only leave their number in `signum`, so that a step can end and be saved.

    A second signal, a few seconds later, ends the process at once. Outside the main thread nothing is changed.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signum = 0
        self._since = 0.0
        self._former: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        try:
            self._former = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        except ValueError:  # not the main thread
            self._former = {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self.signum and time.monotonic() - self._since > GRACE_SECONDS:
            self.__exit__()
            raise KeyboardInterrupt
        if not self.signum:
            self.signum, self._since = signum, time.monotonic()
            say(f"\n{signal.Signals(signum).name}: saving after this step …")


def describe_nonfinite(step: int, batch: NoisyBatch, errors: torch.Tensor, grad_norm: float) -> str:
    """Which images of the global batch were at fault, and how noisy they were.

    Args:
        step: the step that failed, from 0.
        batch: the global batch.
        errors: (B,) loss of each image.
        grad_norm: of the whole gradient.
    """
    bad = (~errors.isfinite()).nonzero().flatten()
    what = f"the loss of {len(bad)} of {len(errors)} images" if len(bad) else f"the gradient (norm {grad_norm})"
    chosen = bad if len(bad) else torch.arange(len(errors))
    rows = [f"image {batch.indices[i].item()} at timestep {batch.timesteps[i].item():g}" for i in chosen[:SHOWN]]
    more = f" and {len(chosen) - SHOWN} more" if len(chosen) > SHOWN else ""
    return f"step {step}: {what} is not finite: {', '.join(rows)}{more}."
