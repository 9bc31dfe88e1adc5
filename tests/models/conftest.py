"""Shared by the tests of models."""

import pytest
from torch.nn import functional as F

from text2digit.models import linear


@pytest.fixture
def convolves(monkeypatch):
    """Every CPU takes the convolution, however few the tokens. The list grows by one with each call of `F.conv2d`."""
    monkeypatch.setattr(linear, "_convolves_faster", lambda: True)
    monkeypatch.setattr(linear, "_WORTH_IT", 0)
    calls, conv2d = [], F.conv2d
    monkeypatch.setattr(F, "conv2d", lambda *arguments: calls.append(1) or conv2d(*arguments))
    return calls
