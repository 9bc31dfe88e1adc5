"""Captions of training digits: the label and what was measured of the strokes, in varied words.

Levels are relative to digits of the same class: a wide 1 is wide for a 1. What a caption mentions is drawn without
looking at the image, so that a caption that says nothing of thickness stands for digits of every thickness.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .images import DIGIT_NAMES, ImageData
from .strokes import PROPERTIES, measured_once
from .words import ENGLISH_ARTICLES, FORMS, LISTED, NOUNS, ORDINAL_NOUNS, ORDINALS, PHRASES, SENTENCES, SLIGHTLY, VERY

LANGUAGES = tuple(PHRASES)
# Level -2 is the lowest tenth of a class, -1 up to 30 %, 0 the middle, 1 and 2 as above 70 % and 90 %.
QUANTILES = (0.1, 0.3, 0.7, 0.9)
LEVELS = (-2, -1, 0, 1, 2)
COUNTED = ("loops", "gaps")
# Loops and gaps are mentioned of a class in which both kinds are at least this part.
RARE = 0.02
# The most a person asks for; these are mentioned more often.
CORNER = ("thickness", "slant", "width")
MENTION_WEIGHT = {name: 3.0 if name in CORNER else 1.0 for name in PROPERTIES}
# Probability of mentioning 0, 1, 2, 3 and 4 properties.
NUM_MENTIONED = (0.25, 0.25, 0.2, 0.2, 0.1)
ANY_DIGIT = {"en": "digit", "ko": "숫자"}
ANY_DIGIT_SHARE = 0.05
KOREAN_SHARE = 0.4
# Uniform numbers that one caption may use up.
DRAWS = 40


def held_out_corner(digit: int) -> dict[str, int]:
    """The combination of thickness, slant and width (signs) that no caption of this digit ever says, for measuring.

    Each of the eight combinations is held out of one digit or two.
    """
    signs = list(itertools.product((-1, 1), repeat=len(CORNER)))
    return dict(zip(CORNER, signs[digit % len(signs)], strict=True))


def is_held_out(digit: int, levels: Mapping[str, int]) -> bool:
    """Whether the levels to be mentioned have the digit's held-out combination."""
    return all(np.sign(levels.get(name, 0)) == sign for name, sign in held_out_corner(digit).items())


def levels_of(measured: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Level of each property in each image, among the images of its class.

    Args:
        measured: property to (N,), as `measure_strokes` returns.
        labels: (N,) classes.

    Returns:
        Property to (N,) int8 in [-2, 2]. Of what is counted: -1 for none, 1 for some, and 0 where nearly all images of
        the class are alike.
    """
    levels = {name: np.zeros(len(labels), np.int8) for name in measured}
    for label in np.unique(labels):
        of_class = labels == label
        for name, all_values in measured.items():
            values = all_values[of_class]
            if name in COUNTED:
                some = values > 0
                varied = RARE <= some.mean() <= 1 - RARE
                levels[name][of_class] = np.where(some, 1, -1) if varied else 0
            else:
                cuts = np.quantile(values, QUANTILES)
                below = (values < cuts[0]).astype(np.int8) + (values < cuts[1])
                levels[name][of_class] = (values > cuts[2]).astype(np.int8) + (values > cuts[3]) - below
    return levels


class Choices:
    """Choices by uniform numbers in [0, 1), one after the other, so that they follow from a generator."""

    def __init__(self, draws: Sequence[float]):
        self._draws = iter(draws)

    def pick(self, options: Sequence) -> object:
        """One of the options."""
        return options[int(next(self._draws) * len(options))]

    def text(self, options: Sequence[str]) -> str:
        """One of the texts."""
        return str(self.pick(options))

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return next(self._draws) < probability

    def index(self, probabilities: Sequence[float]) -> int:
        """An index, each with its probability."""
        return int(np.searchsorted(np.cumsum(probabilities)[:-1], next(self._draws), side="right"))

    def subset(self, weights: Mapping[str, float], count: int) -> list[str]:
        """That many names in random order, the heavier the likelier. Source: Efraimidis and Spirakis, 2006."""
        keys = {name: max(next(self._draws), 1e-9) ** (1 / weight) for name, weight in weights.items()}
        return sorted(keys, key=lambda name: -keys[name])[:count]


def plain_phrase(name: str, level: int, language: str = "en") -> str:
    """The plainest words for a level from -2 to 2 of a property; "+" and "" as in `phrase_for`."""
    options = PHRASES[language][name][int(np.sign(level)) + 1]
    if not options:
        return ""
    return f"{VERY[language][0]} {options[0]}" if abs(level) == 2 else options[0]


def phrase_for(name: str, level: int, language: str, choices: Choices) -> str:
    """Some words for a level of a property; they begin with "+" if they stand after the digit, and "" says nothing.

    Args:
        name: of the property.
        level: from -2 to 2.
        language: "en" or "ko".
        choices: decides.
    """
    options = PHRASES[language][name][int(np.sign(level)) + 1]
    if not options:
        return ""
    if abs(level) == 2 and choices.chance(0.7):
        before = [option for option in options if not option.startswith("+")]
        return f"{choices.text(VERY[language])} {choices.text(before)}"
    phrase = choices.text(options)
    if abs(level) == 1 and name not in COUNTED and not phrase.startswith("+") and choices.chance(0.3):
        return f"{choices.text(SLIGHTLY[language])} {phrase}"
    return phrase


def plain_caption(digit: int | str, levels: Mapping[str, int], language: str = "en") -> str:
    """The plainest caption: what is asked for when results are measured, such as "very thin left leaning 7"."""
    before, after = _split([plain_phrase(name, level, language) for name, level in levels.items()])
    return " ".join([*before, str(digit), *after])


def make_caption(
    digit: int, levels: Mapping[str, int], draws: Sequence[float], any_digit_share: float = ANY_DIGIT_SHARE
) -> str:
    """A caption of a digit.

    Args:
        digit: 0 to 9.
        levels: property to its level; which of them are mentioned is drawn.
        draws: `DRAWS` uniform numbers in [0, 1), which decide everything.
        any_digit_share: how often it does not say which digit.
    """
    choices = Choices(draws)
    language = "ko" if choices.chance(KOREAN_SHARE) else "en"
    mentioned = choices.subset(MENTION_WEIGHT, choices.index(NUM_MENTIONED))
    if is_held_out(digit, {name: levels.get(name, 0) for name in mentioned}):
        mentioned.remove(choices.text(CORNER))
    phrases = [phrase_for(name, levels.get(name, 0), language, choices) for name in mentioned]
    before, after = _split([phrase for phrase in phrases if phrase])
    form = choices.pick(FORMS[language])
    is_ordinal = form in ORDINALS
    name = form[digit]  # type: ignore[index]
    if choices.chance(any_digit_share):
        name, is_ordinal = ANY_DIGIT[language], False
    noun = choices.text(ORDINAL_NOUNS[language] if is_ordinal else NOUNS[language]).format(name)
    if (before or after) and choices.chance(0.15):
        return LISTED[language].format(digit=noun, phrases=", ".join([*before, *after]))
    what = choices.text((" ", " ", ", ")).join(before) + (" " if before else "") + noun
    what += (" " if after else "") + " and ".join(after)
    article = "the " if is_ordinal else choices.text(ENGLISH_ARTICLES)
    if article == "a " and what[0] in "aeiou8":
        article = "an "
    particle = "를" if _ends_open(noun) else "을"
    return choices.text(SENTENCES[language]).format(a=article, what=what, o=particle)


def _split(phrases: Sequence[str]) -> tuple[list[str], list[str]]:
    """Phrases before the digit, and after it."""
    return [p for p in phrases if not p.startswith("+")], [p[1:] for p in phrases if p.startswith("+")]


def _ends_open(word: str) -> bool:
    """Whether a Korean word, or a numeral as it is read, ends in a vowel and so takes 를."""
    last = FORMS["ko"][2][int(word[-1])] if word[-1].isdecimal() else word[-1]
    return "가" <= last <= "힣" and (ord(last) - ord("가")) % 28 == 0


@dataclass(frozen=True)
class Captions:
    """What can be said of N training images.

    Attributes:
        labels: (N,) digits.
        levels: property to (N,) levels.
    """

    labels: np.ndarray
    levels: Mapping[str, np.ndarray]

    def draw(
        self, indices: torch.Tensor, generator: torch.Generator, any_digit_share: float = ANY_DIGIT_SHARE
    ) -> list[str]:
        """A caption of each of (B,) images; another generator says it in other words."""
        draws = torch.rand(len(indices), DRAWS, generator=generator).tolist()
        captions = []
        for i, own in zip(indices.tolist(), draws, strict=True):
            levels = {name: int(values[i]) for name, values in self.levels.items()}
            captions.append(make_caption(int(self.labels[i]), levels, own, any_digit_share))
        return captions


def caption_images(data: ImageData, cache: Path | None) -> Captions:
    """Measure the strokes of a dataset, or read what was measured before, and make levels of them.

    Args:
        data: digits in one channel.
        cache: folder of what was measured; None keeps nothing.

    Raises:
        ValueError: images that are no digits.
    """
    names = [name.split(",")[0] for name in data.class_names]
    if names != list(DIGIT_NAMES):
        raise ValueError(f"captions: got the classes {', '.join(names[:4])}, …, expected the ten digits, as mnist has.")
    labels = data.labels.numpy()
    return Captions(labels, levels_of(measured_once(data.images, cache), labels))
