"""Words that people use, and the words of captions that they mean.

English: from the clusters of similar adjectives in WordNet 3.0 (Princeton University), with everyday phrases. Korean:
by hand; each word, or its stem, is in mecab-ko-dic 2.1.1. "_" joins the words of one entry.
"""

# Phrase of a caption: words that mean it.
SYNONYMS = {
    "very": "really super so too ultra extra incredibly most 굉장히 엄청 무척 정말 진짜 되게 너무 가장 제일",
    "not very": "not_that not_particularly not_overly not_especially",
    "slightly": "a_bit a_tad a_touch somewhat kind_of kinda sort_of rather fairly pretty quite 살짝 다소 조금만 꽤",
    "thick": "fat heavy chunky stout plump chubby beefy hefty stocky 뚱뚱한 통통한 굵직한 두툼한 굵다란 두터운 볼드",
    "thin": "skinny lean slender bony spindly scrawny gaunt wiry delicate 가느다란 얄팍한 날씬한 마른 앙상한 "
    "호리호리한",
    "very thin": "hairline threadlike wafer_thin paper_thin razor_thin 실같은",
    "slanted": "italic oblique diagonal slanting sloped sloping tilting skewed angled askew 비스듬한 비뚤어진 삐딱한 "
    "이탤릭",
    "left leaning": "backslanted backward leaning_back 왼쪽으로_누운 왼쪽으로_비스듬한 왼쪽으로_쏠린",
    "right leaning": "forward leaning_forward 오른쪽으로_누운 오른쪽으로_비스듬한 오른쪽으로_쏠린",
    "upright": "vertical erect unslanted 반듯한 수직의 꼿꼿한 바로_선",
    "narrow": "condensed compressed squeezed squished pinched 비좁은 좁다란 갸름한 폭이_좁은",
    "wide": "stretched expanded spacious 널찍한 넓적한 퍼진 펑퍼짐한",
    "short": "squat stubby stumpy squashed dumpy 나지막한 납작한 짧은 짤막한",
    "tall": "lofty elongated towering lanky long 길쭉한 긴 기다란 훤칠한",
    "small": "mini petite undersized wee compact 자그마한 조그마한 쪼그만",
    "very small": "tiny teeny minuscule miniature microscopic 콩알만한",
    "big": "sizable oversized 큼직한 큼지막한",
    "very big": "huge enormous giant gigantic massive colossal immense 거대한 엄청난",
    "faint": "light dim weak faded washed_out pallid gray grey 희미한 연한 흐릿한 어렴풋한 엷은",
    "dark": "black inky intense 까만 검은 새까만 어두운 선명한",
    "open": "loopless no_loop without_loops 트인 고리_없는",
    "closed": "looped loopy with_loops shut 막힌 고리_있는",
    "unbroken": "continuous connected no_gaps without_gaps in_one_stroke 연결된 틈_없는",
    "broken": "dashed dotted interrupted disconnected with_gaps 끊긴 갈라진 틈_있는",
    "medium thick": "normal_thickness average_thickness medium_weight regular_weight 보통_굵기 보통_두께",
    "medium wide": "normal_width average_width medium_width 보통_너비",
    "medium high": "normal_height average_height medium_height 보통_높이",
    "medium sized": "normal_size average_size medium_size 보통_크기",
}
# Words of direction: "tilts to the right" is right leaning.
LEANING = "leaning leans lean tilted tilting tilts slanted slanting slants sloping inclined tipped angled"
# What a word does in a sentence, as one letter: patterns are matched with the letters of a prompt. Others are "N" a
# number, "P" one in the plural, "W" one that is a word too, "f" what is said or passed over, "e" a Korean ending, "u"
# what is unknown, and ",".
KINDS = {
    "o": "or 또는 혹은 아니면 이나 이거나",  # alternatives
    "a": "and & 와 과 하고 이랑 랑 그리고",  # lists
    "t": "to through until ~ – — - 부터 까지 에서",  # ranges
    "b": "between 사이 사이의",  # the number between two
    "+": "plus + 더하기 x multiplied × * 곱하기",  # calculations
    "-": "minus 빼기",
    "X": "times",  # of a product, or of copies
    "!": "not no never neither nor without except don't isn't anything_but other_than instead_of 안 less_than "
    "more_than fewer_than greater_than at_least at_most up_to",  # what is not to be drawn, or not exactly
    "k": "말고 빼고 아닌 아니고 아니라 않은 않게 보다 이상 이하 미만 초과",  # the same, behind it
    "s": "( = namely equals 즉",  # the same said again
    "h": "negative 마이너스 영하 point half quarters thirds fifths percent % 제곱 퍼센트 프로 반",
    "2": "twice pair couple",  # copies
    "C": "copies images pictures samples versions drawings examples digits numbers",
    "K": "개 장 번 회 가지",  # counters
    "v": "very extremely 아주 매우",  # degrees
    "l": "slightly little 조금 약간",
    "m": "hardly less 별로 그다지 덜",
    "w": "need want draw give me write paint make show just only sketch get please",  # what is asked
}
# A number word of these stands for a thing or a person as often, so it counts only where no other number stands.
PRONOUNS = {"i", "one", "하나", "한", "이", "첫", "first", "second", "oh", "일", "공", "네"}
# Korean words that look like a number with an ending.
NO_NUMBERS = {"사과", "구도", "오는", "사는", "두고", "두는", "네가", "한다"}
# Behind a Korean number or word.
SUFFIXES = (
    "일 월 년 시 분 초 원 살 세 층 점 명 번째 째 짜리 나 이나 부터 에서 이야 예요 다 씩 인데 고 요 만 보다 하고 이랑 랑"
)


def entries(words: str) -> list[str]:
    """The entries of a list with spaces between them; "_" joins the words of one."""
    return [word.replace("_", " ") for word in words.split()]
