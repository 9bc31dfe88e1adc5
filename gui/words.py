"""The words of the page, which stand in assets/words.yaml, and the messages about what a visitor entered."""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = {"en": "English", "ko": "한국어"}


@cache
def all_words() -> dict[str, dict[str, str]]:
    """For each key its text in every language."""
    return yaml.safe_load((Path(__file__).parent / "assets" / "words.yaml").read_text(encoding="utf-8"))


class Count(int):
    """A number that brings its noun: `f"{Count(2):step/steps}"` is "2 steps"."""

    def __format__(self, spec: str) -> str:
        one, slash, many = spec.partition("/")
        return f"{int(self):,} {one if self == 1 else many}" if slash else format(int(self), spec)


class Words:
    """The words of one language.

    Args:
        language: a key of `LANGUAGES`.

    Raises:
        ValueError: another language.
    """

    def __init__(self, language: str):
        if language not in LANGUAGES:
            raise ValueError(f"lang: got {language!r}, expected one of {', '.join(LANGUAGES)}.")
        self.language = language

    def __call__(self, key: str, **values: object) -> str:
        """A word or sentence, with values where it has gaps; texts of any length are cut in the middle."""
        text = all_words()[key][self.language]
        return text.format(**{name: _shown(value) for name, value in values.items()}) if values else text


def _shown(value: object) -> object:
    if isinstance(value, str):
        return cut(value)
    return Count(value) if type(value) is int else value


class Complaint(ValueError):
    """What a visitor should check, which each page says in its own language.

    Args:
        key: of a sentence.
        values: for its gaps; that of `field` is a key too, and an empty `got` is "nothing".
    """

    def __init__(self, key: str, **values: object):
        self._key, self._values = key, values
        super().__init__(self.told(Words("en")))

    def told(self, words: Words) -> str:
        """The sentence in the words of a page."""
        said = dict(self._values)
        if "field" in said:
            said["field"] = words(str(said["field"]))
        if "got" in said:
            said["got"] = said["got"] or words("nothing")
        return words(self._key, **said)


def check_choice(field: str, got: Any, known: Collection[Any]) -> Any:
    """Return what was chosen.

    Raises:
        ValueError: it is none of the `known`; names the `field`, a key of its name.
    """
    if got not in known:
        raise Complaint("bad_choice", field=field, got=str(got or ""), known=", ".join(map(str, known)))
    return got


def cut(text: str, most: int = 80) -> str:
    """A text of at most `most` characters, with "…" in place of its middle if it is longer."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"
