"""Numbers as people write them, in four notations, against num2words where it is installed."""

import pytest

from text2digit.data.numbers import is_number_word, parse_number


def digits(text):
    return "".join(map(str, parse_number(text)))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2026", "2026"),
        ("007", "007"),  # catches digits taken from a value, which has no zeros in front
        ("2,026", "2026"),
        ("1 2 3", "123"),
        ("seven", "7"),
        ("twenty-one", "21"),
        ("three hundred and five", "305"),
        ("a hundred", "100"),
        ("two thousand and twenty six", "2026"),
        ("one million two hundred thousand three", "1200003"),
        ("twenty twenty six", "2026"),
        ("nineteen ninety nine", "1999"),
        ("two zero two six", "2026"),
        ("3 thousand", "3000"),
        ("XIV", "14"),
        ("mcmxcix", "1999"),
        ("vii", "7"),
        ("칠", "7"),
        ("일곱", "7"),
        ("스물셋", "23"),
        ("열", "10"),
        ("이천이십육", "2026"),
        ("이천 이십육", "2026"),
        ("만이천", "12000"),
        ("삼백오", "305"),
        ("이공이육", "2026"),
        ("십이억삼천", "1200003000"),
        ("2천26", "2026"),
    ],
)
def test_numbers(text, expected):
    assert digits(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "banana",
            "-5",
            "3.14",
            "1/2",
            "1,23",
            "five hundred hundred",
            "twenty eleven thousand ninety",
            "and five",
        ),
        *("hundred and", "three thousand million", "twenty zero", "iiii", "십백", "만만", "이천십백", "seventh heaven"),
    ],
)
def test_what_is_no_number_says_so(text):
    """Catches a grammar that adds up whatever number words it meets."""
    with pytest.raises(ValueError, match="number: got .*expected a whole number from 0 up"):
        parse_number(text)


def test_too_long_a_number_says_so():
    with pytest.raises(ValueError, match="of 21 digits, expected at most 20"):
        parse_number("1" * 21)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_whatever_num2words_spells_is_read_back(language):
    """An independent speller: catches a scale, a teen or an omitted 일 that is wrong somewhere in the middle."""
    spell = pytest.importorskip("num2words", reason="needs num2words, of the test extra").num2words
    for value in [*range(120), *range(195, 10_500, 97), 99_999, 100_000, 123_456, 10_000_000, 120_000_003, 10**9]:
        assert digits(spell(value, lang=language)) == str(value), spell(value, lang=language)


def test_number_words_are_told_from_others():
    for word in ("seven", "7", "vii", "hundred", "7th", "seventh", "칠", "일곱", "이천"):
        assert is_number_word(word), word
    for word in ("thick", "a", "left", "m", "굵은", "숫자", "구멍", ""):
        assert not is_number_word(word), word
