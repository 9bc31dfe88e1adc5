"""Digits in a row: on one line, near each other, and none on top of another."""

import torch

from text2digit.pipelines.rows import INK, compose_row


def block(left, width, top=4, bottom=24):
    piece = torch.zeros(1, 28, 28)
    piece[:, top:bottom, left : left + width] = 1
    return piece


def columns(row):
    return (row[0] > INK).any(dim=0).nonzero().flatten().tolist()


def gaps(row):
    inked = columns(row)
    return [b - a - 1 for a, b in zip(inked, inked[1:], strict=False) if b - a > 1]


def test_space_is_by_the_ink_and_not_by_the_boxes():
    """Catches pieces that are set side by side: a 1 would stand in a desert."""
    narrow, wide = block(13, 3), block(4, 20)
    row = compose_row([narrow, wide, narrow, narrow])
    assert len(gaps(row)) == 3 and set(gaps(row)) == {3}
    assert row.shape[1] == 28 and columns(row)[0] == 13


def test_shapes_may_reach_over_each_other():
    """Above a low one there is room for the bar of a 7; catches a space that is measured between boxes."""
    seven = torch.maximum(block(4, 18, top=4, bottom=7), block(19, 3, top=4, bottom=24))
    low = block(6, 12, top=18)
    upright, tucked = compose_row([block(6, 12), seven]), compose_row([low, seven])
    assert tucked.shape[2] < upright.shape[2]
    assert float(tucked.sum()) == float(low.sum() + seven.sum())  # nothing is covered


def test_feet_stand_on_one_line():
    pieces = [block(8, 8, bottom=24), block(8, 8, top=2, bottom=20), block(8, 8, bottom=24)]
    inked = compose_row(pieces)[0] > INK
    feet = [int(inked[:, c].nonzero().max()) for c in columns(compose_row(pieces))]
    assert set(feet) == {23}


def test_a_blank_piece_keeps_its_place_and_a_full_one_its_ink():
    row = compose_row([torch.zeros(1, 28, 28), block(8, 8), block(0, 28, 0, 28)])
    assert row.shape[2] >= 56 and float(row.sum()) == 8 * 20 + 28 * 28
