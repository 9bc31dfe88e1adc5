"""Prompts as people write them: what is understood, and what is said of the rest."""

import pytest

from text2digit.data.lexicon import KNOWN
from text2digit.data.prompts import PROPERTY_OF, read_prompt


@pytest.mark.parametrize(
    "prompt, text, digits",
    [
        ("a thick, slanted seven", "a thick, slanted seven", (7,)),
        ("VII", "vii", (7,)),
        ("칠", "칠", (7,)),
        ("A Small THIN 4, Leaning Left!", "a small thin 4, leaning left", (4,)),
        ("left-leaning five", "left leaning five", (5,)),
        ("굵은칠을 그려 주세요.", "굵은 칠 그려", (7,)),
        ("굵고 넓은 삼", "굵은 넓은 삼", (3,)),
        ("삼을 아주 가늘게 써 줘", "삼 아주 가는 써 줘", (3,)),
        ("７", "7", (7,)),  # full width
        ("I want a seven", "a seven", (7,)),
        ("a thick one", "a thick one", (1,)),
        ("칠 하나 그려줘", "칠", (7,)),
        ("twenty-one", "twenty one", (2, 1)),
        ("nought", "0", (0,)),
        ("thick", "thick", ()),
        ("", "", ()),
        ("   ", "", ()),
    ],
)
def test_prompts_are_understood(prompt, text, digits):
    reading = read_prompt(prompt)
    assert (reading.text, reading.digits, reading.complaint()) == (text, digits, "")


def test_what_is_not_understood_is_named_and_left_out():
    """Catches a word that vanishes without a word, and one that the encoder has never seen."""
    reading = read_prompt("a purple thikc sevn for the elephants")
    assert reading.text == "a thick seven the" and reading.digits == (7,)
    assert reading.unknown == ("purple", "elephants")
    assert reading.complaint() == (
        "'thikc' was read as 'thick'; 'sevn' was read as 'seven'; not understood and left out: 'purple', 'elephants'; "
        "what can be said besides the digit is its thickness, slant, width, height, size, ink, loops, gaps"
    )
    assert read_prompt("🙂 zzz").text == ""


def test_a_number_has_a_template_for_its_digits():
    reading = read_prompt("a thick three hundred and five leaning left")
    assert reading.digits == (3, 0, 5) and reading.template == "a thick {} leaning left"
    assert reading.properties == {"thickness", "slant"}
    assert read_prompt("굵은 이천이십육").template == "굵은 {}"
    assert read_prompt("write 2026").template == "write {}"


@pytest.mark.parametrize("prompt", ["3.14", "-5", "7th3", "five hundred hundred", "a thin 1/2"])
def test_what_is_no_number_says_so(prompt):
    with pytest.raises(ValueError, match="number: got .*expected a whole number"):
        read_prompt(prompt)


def test_two_numbers_are_one_too_many():
    with pytest.raises(ValueError, match="prompt: got two numbers, '3' and '5', in .*a list of prompts"):
        read_prompt("a thick 3 beside a thin 5")


def test_words_tell_their_property():
    """Catches a word of two properties that tells of one: "a little" is no size."""
    for word, name in (("thick", "thickness"), ("left", "slant"), ("굵은", "thickness"), ("tall", "height")):
        assert PROPERTY_OF[word] == name
    assert not {"a", "with", "medium", "보통", "the"} & set(PROPERTY_OF)
    assert not any(character.isupper() for word in KNOWN for character in word)
