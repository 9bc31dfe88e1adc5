"""The words of captions, in English and Korean: names of the digits, and phrases for what is measured of a stroke."""

import re

from .synonyms import entries

ENGLISH_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ENGLISH_ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
NUMERAL_ORDINALS = ("0th", "1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th")
# The Romans had no zero; where a form has none, its numeral stands.
ROMAN = ("0", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
SINO_KOREAN = ("영", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구")
NATIVE_KOREAN = ("공", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉")
KOREAN_ORDINALS = tuple(
    f"{stem} 번째" for stem in ("영", "첫", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
)

NUMERALS = tuple(str(i) for i in range(10))
FORMS = {
    "en": (NUMERALS, NUMERALS, ENGLISH_WORDS, ENGLISH_WORDS, ROMAN, ENGLISH_ORDINALS, NUMERAL_ORDINALS),
    "ko": (NUMERALS, NUMERALS, SINO_KOREAN, SINO_KOREAN, NATIVE_KOREAN, KOREAN_ORDINALS),
}
ORDINALS = (ENGLISH_ORDINALS, NUMERAL_ORDINALS, KOREAN_ORDINALS)

# Language: {property: phrases of the low side | of the middle | of the high side}, where "_" joins the words of one. A
# phrase stands before the digit, or, where it begins with "+", after it.
_PHRASES = {
    "en": {
        "thickness": "thin fine +with_a_thin_stroke | medium_thick | thick bold +with_a_thick_stroke",
        "slant": "left_leaning +leaning_left +slanted_to_the_left +tilted_left | upright straight | "
        "right_leaning slanted +leaning_right +slanted_to_the_right +tilted_right",
        "width": "narrow slim | medium_wide | wide broad",
        "height": "short low | medium_high | tall high",
        "size": "small little | medium_sized | big large",
        "ink": "faint pale +in_faint_ink | medium_dark | dark strong +in_dark_ink",
        "loops": "open +without_a_loop | | closed +with_a_loop",
        "gaps": "unbroken +without_a_gap | | broken +with_a_gap",
    },
    "ko": {
        "thickness": "가는 얇은 | 보통_굵기의 | 굵은 두꺼운",
        "slant": "왼쪽으로_기운 왼쪽으로_기울어진 | 똑바른 곧은 | 오른쪽으로_기운 오른쪽으로_기울어진 기울어진",
        "width": "좁은 홀쭉한 | 보통_너비의 | 넓은 폭이_넓은",
        "height": "낮은 키가_작은 | 보통_높이의 | 높은 키가_큰",
        "size": "작은 조그만 | 보통_크기의 | 큰 커다란",
        "ink": "흐린 옅은 | 보통_진하기의 | 진한 짙은",
        "loops": "열린 고리가_없는 | | 닫힌 고리가_있는",
        "gaps": "이어진 틈이_없는 | | 끊어진 틈이_있는",
    },
}
PHRASES: dict[str, dict[str, list[list[str]]]] = {
    language: {name: [entries(side) for side in sides.split("|")] for name, sides in table.items()}
    for language, table in _PHRASES.items()
}
# Before a phrase: for the outer tenth of a side, and for the inner part of it.
VERY = {"en": ("very", "extremely"), "ko": ("아주", "매우")}
SLIGHTLY = {"en": ("slightly", "a little"), "ko": ("조금", "약간")}

# "{a}" is an article, "{what}" the digit with its phrases, "{digit}" it alone, "{phrases}" them alone, "{o}" the
# particle 을 or 를.
SENTENCES = {
    "en": ("{a}{what}", "{a}{what}", "draw {a}{what}", "please write {a}{what}", "a picture of {a}{what}"),
    "ko": ("{what}", "{what}", "{what}{o} 써 줘", "{what}{o} 그려 줘", "{what} 그림"),
}
LISTED = {"en": "{digit}, {phrases}", "ko": "{digit}, {phrases}"}
# How a digit may be introduced.
NOUNS = {"en": ("{}", "{}", "{}", "digit {}", "number {}"), "ko": ("{}", "{}", "숫자 {}")}
ORDINAL_NOUNS = {"en": ("{} digit",), "ko": ("{} 숫자",)}
ENGLISH_ARTICLES = ("a ", "the ", "")
# Words that people use around a digit and that say nothing about it.
FILLERS = {
    "en": "a an the and of in on with to is that it me my please can you could would like want draw write paint make "
    "show give picture image digit number numeral handwritten hand written drawn drawing by for from this some as "
    "style but ink stroke i'd i'm i'll let's let us just only exactly another also there be are was have get these "
    "those here look looks any more at which has its do named out sketch need needs up use something one's hey",
    "ko": "시 원 살 명 층 점 숫자 번째 그림 손글씨 써 줘 그려 주세요 써줘 그려줘 하나 좀 을 를 은 는 이 가 의 로 으로 "
    "그리고 글씨 모양 더 그 저 이런 그런 손으로 쓴 적어 적어줘 만들어 만들어줘 보여줘 원해 원해요 싶어 싶어요 부탁해 "
    "부탁해요 해줘 그려라 나 내 저는 나는 한번 이것 있는 숫자로 같은 사진",
}
# Stems of Korean adjectives, which stand before another one or a verb ("굵고 넓은 삼", "굵게 써 줘") with an ending.
STEMS = {
    **{"굵": "굵은", "두껍": "두꺼운", "가늘": "가는", "얇": "얇은", "넓": "넓은", "좁": "좁은", "홀쭉하": "홀쭉한"},
    **{"높": "높은", "낮": "낮은", "크": "큰", "커다랗": "커다란", "작": "작은", "흐리": "흐린", "옅": "옅은"},
    **{"진하": "진한", "짙": "짙은", "곧": "곧은", "똑바르": "똑바른", "기울": "기울어진", "기울어지": "기울어진"},
}
INFLECTED = {stem + ending: word for stem, word in STEMS.items() for ending in ("고", "게", "지")}


def words_in(*texts: str) -> set[str]:
    """The words of captions' phrases, without places to fill and marks."""
    return {word for text in texts for word in re.sub(r"\{.*?\}|[+,]", " ", text).split()}


DIGIT_WORDS = words_in(*(name for forms in FORMS.values() for form in forms for name in form))
PARTICLES = words_in("이라는 이라고 이에요 입니다 으로 라는 라고 까지 을 를 은 는 이 가 의 로 과 와 도")
# Phrase of a caption: the property that it tells of, and its side, from -1 to 1.
PHRASE_OF = {
    phrase.removeprefix("+"): (name, side - 1)
    for table in PHRASES.values()
    for name, sides in table.items()
    for side, phrases in enumerate(sides)
    for phrase in phrases
}
_TABLES = (SENTENCES, NOUNS, ORDINAL_NOUNS, VERY, SLIGHTLY)
_TEXTS = [text for table in _TABLES for texts in table.values() for text in texts]
# Words that captions have, and so the encoder.
SAID = DIGIT_WORDS | words_in(*_TEXTS, *ENGLISH_ARTICLES, *PHRASE_OF, "and")
