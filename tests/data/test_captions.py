"""Captions: what they say is true, varied, and follows from the seed."""

import numpy as np
import pytest
import torch

from text2digit.config import DataConfig
from text2digit.data import counter_generator, load_dataset
from text2digit.data.captions import (
    COUNTED,
    DRAWS,
    Captions,
    caption_images,
    held_out_corner,
    is_held_out,
    levels_of,
    make_caption,
    plain_caption,
    plain_phrase,
)
from text2digit.data.prompts import read_prompt
from text2digit.data.strokes import PROPERTIES
from text2digit.data.words import PHRASES

MIDDLE = dict.fromkeys(PROPERTIES, 0)


@pytest.fixture(scope="module")
def captions():
    """Of scikit-learn's digits."""
    return caption_images(load_dataset(DataConfig(dataset="digits")), None)


def many(digit, levels, count=600, seed=0):
    draws = torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(seed)).tolist()
    return [make_caption(digit, levels, own) for own in draws]


def test_levels_are_those_of_the_class():
    """Class 1 is thicker all over; catches quantiles over all classes, by which every 1 would be thick."""
    thickness = np.concatenate([np.arange(100.0), 1000 + np.arange(100.0)])
    loops = np.concatenate([np.arange(100) % 2, np.zeros(100)])
    levels = levels_of({"thickness": thickness, "loops": loops}, np.repeat([0, 1], 100))
    for part in (levels["thickness"][:100], levels["thickness"][100:]):
        assert [(part == level).sum() for level in range(-2, 3)] == [10, 20, 40, 20, 10]
        assert part[0] == -2 and part[-1] == 2
    assert set(levels["loops"][:100]) == {-1, 1} and set(levels["loops"][100:]) == {0}


def test_captions_follow_from_seed_and_step(captions):
    """Catches words drawn from a global generator: a resumed run would read other captions."""
    indices = torch.arange(50)
    first = captions.draw(indices, counter_generator(0, "captions", 3))
    torch.manual_seed(1)
    assert captions.draw(indices, counter_generator(0, "captions", 3)) == first
    assert captions.draw(indices, counter_generator(0, "captions", 4)) != first


def test_captions_are_varied_and_in_both_languages():
    texts = many(7, {**MIDDLE, "thickness": 2, "slant": -1})
    joined = " | ".join(texts)
    for said in ("7", "seven", "vii", "seventh", "7th", "칠", "일곱", "일곱 번째", "draw", "써 줘", "digit", "숫자"):
        assert said in joined, said
    for said in ("very thick", "thick", "left leaning", "slanted to the left", "굵은", "왼쪽으로 기운", "아주"):
        assert said in joined, said
    assert len(set(texts)) > 300
    assert "칠을" in joined and "칠를" not in joined and "구를" in " ".join(many(9, MIDDLE))


def test_captions_say_what_was_measured_and_nothing_else():
    """Read back by the words alone; catches sides that are exchanged, and another digit's name."""
    for digit, side in ((7, 1), (3, -1)):
        texts = many(digit, dict.fromkeys(PROPERTIES, 2 * side))
        sides = [table[name] for table in PHRASES.values() for name in table]
        own, opposite = ({p.lstrip("+") for three in sides for p in three[1 + s]} for s in (side, -side))
        opposite = {phrase for phrase in opposite if not any(phrase in other for other in own)}
        for text in texts:
            reading = read_prompt(text)
            assert reading.digits in ((digit,), ()) and not reading.unknown and not reading.corrected, text
            words = f" {text} ".replace(",", " ")
            assert not any(f" {phrase} " in words for phrase in opposite), text


def test_what_is_mentioned_does_not_depend_on_the_image():
    """Catches attributes that are mentioned only where they stand out: a bare "7" would then be an average 7."""
    plain, marked = many(7, MIDDLE, 2000), many(7, {**MIDDLE, "thickness": 2, "slant": 2, "width": 2}, 2000)
    bare = [sum(not read_prompt(text).properties for text in texts) / 2000 for texts in (plain, marked)]
    assert bare[0] == pytest.approx(bare[1], abs=0.04) and 0.2 < bare[0] < 0.45
    thick = [sum("thickness" in read_prompt(text).properties for text in texts) for texts in (plain, marked)]
    assert thick[0] == pytest.approx(thick[1], rel=0.15)


@pytest.mark.parametrize("digit", range(10))
def test_held_out_combinations_are_never_said(digit):
    """Of the other seven digits it is said; catches a rule that looks at one sign only, or at none."""
    corner = held_out_corner(digit)
    levels = {**MIDDLE, **{name: 2 * sign for name, sign in corner.items()}}
    assert is_held_out(digit, levels) and not is_held_out((digit + 1) % 10, levels)
    said = [read_prompt(text).properties for text in many(digit, levels, 1500)]
    assert not any({"thickness", "slant", "width"} <= properties for properties in said)
    others = [read_prompt(text).properties for text in many((digit + 1) % 10, levels, 1500)]
    assert any({"thickness", "slant", "width"} <= properties for properties in others)


def test_phrases_of_every_level():
    for language in PHRASES:
        for name in PROPERTIES:
            levels = (-1, 1) if name in COUNTED else (-2, -1, 0, 1, 2)
            phrases = [plain_phrase(name, level, language) for level in levels]
            assert all(phrases) and len(set(phrases)) == len(levels)
    assert plain_caption(7, {"thickness": -2, "slant": 1}) == "very thin right leaning 7"
    assert plain_caption(7, {"thickness": 1}, "ko") == "굵은 7"


def test_only_digits_have_captions():
    data = load_dataset(DataConfig(dataset="digits"))
    other = type(data)(data.images, data.labels, ("ant", "bee"))
    with pytest.raises(ValueError, match="captions: got the classes ant, bee, …, expected the ten digits"):
        caption_images(other, None)
    assert isinstance(caption_images(data.take(torch.arange(20)), None), Captions)
