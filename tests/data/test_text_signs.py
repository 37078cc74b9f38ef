"""Private data, mojibake, cut answers and languages: what must be found, and the ordinary text that must
not.
"""

import time

import pytest

from nuguna.data.doctor.mojibake import fix_mojibake, has_replacement
from nuguna.data.doctor.text_signs import ends_abruptly, language
from nuguna.text.private import Span, find_private, mask


def found(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in find_private(text)]


EMAILS = [
    ("mail kim@naver.com today", "kim@naver.com"),
    ("메일은kim.minsu@snu.ac.kr로 주세요", "kim.minsu@snu.ac.kr"),
    ("<first.last+tag@sub.example.co.uk>", "first.last+tag@sub.example.co.uk"),
    ("문의: help_desk@회사 말고 help_desk@company.kr.", "help_desk@company.kr"),
    ("mailto:a-b@c-d.org?subject=x", "a-b@c-d.org"),
    ("01012345678@hanmail.net 입니다", "01012345678@hanmail.net"),
    ("...kim@daum.net...", "kim@daum.net"),
    ("juan@correo.com.py", "juan@correo.com.py"),
]
PHONES = [
    "010-1234-5678", "01012345678", "010 1234 5678", "010.1234.5678", "010-12345678", "011-123-4567", "+82 10 1234 5678",
    "+82-10-1234-5678", "+821012345678", "+82 (0)10-1234-5678", "82-10-1234-5678", "02-123-4567", "02-1234-5678",
    "031-123-4567", "02)123-4567", "(031) 123-4567", "02.123.4567", "070-1234-5678", "0505-123-4567", "080-123-4567",
    "1588-1234", "1577-0000", "(555) 123-4567", "555-123-4567", "(555)123-4567", "+1 555 123 4567", "+15551234567",
    "+1 (555) 123-4567", "1-800-555-1234", "301.496.5751", "555–123–4567",
]  # fmt: skip
RESIDENT_NUMBERS = [
    "900101-1234567", "900101 - 1234567", "851231-2000000", "000229-3456789", "010131-4999999", "750615-5123456",
    "9001011234568", "8512312345673", "0502283123457",
]  # fmt: skip
NOT_PRIVATE = [
    "2024-01-02", "2024-01-02 10:20:30", "2019–2024", "1588-1648", "1544-1612", "ISSN 1588-2861", "ISBN 978-0-306-40615-7",
    "ISBN "
    "89-7291-123-4", "9788972911234", "1234567890", "12345678901234", "1,234,567,890원", "$1,234.56", "3.11.7",
    "2.10.0.123", "192.168.100.123", "10.0.0.1:8080", "127.0.0.1", "550e8400-e29b-41d4-a716-446655440000", "123-45-67890",
    "110-123-456789", "1588-1234-5678", "0.01012345678", "01010101010", "900101-1******", "901301-1234567", "900230-1234567",
    "900101-9234567", "9001011234567", "1700000000000", "CAS 7732-18-5", "555-1234", "5551234567", "555 123 4567",
    "AB-555-123-4567", "id_01012345678", "a01012345678", "010123456789", "3.14159265358979", "100-200-3000",
    "12-34-56-78-90-12", "1 2 3 4 5 6 7 8 9", "제2024-123-4567호", "@user", "user@", "@app.route('/')", "icon@2x.png",
    "git@github.com:user/repo.git", "a @ b.com", "@user@mastodon.social", "user@host", "이메일@한글.한국", "x = a@b",
    "user.@host.com", "lodash@4.17.21", "2023.12.25", "880101-9-1234567", "99-12-31", "서울시 강남구 123-45",
]  # fmt: skip


@pytest.mark.parametrize(("text", "email"), EMAILS)
def test_emails_are_found(text: str, email: str) -> None:
    assert found(text) == [("email", email)]


@pytest.mark.parametrize("phone", PHONES)
@pytest.mark.parametrize("frame", ["{}", "연락처: {}입니다.", "Call {}, please.", "tel:{}", "전화[{}]", "1. {} x12", "a\n{}\nb"])
def test_phones_are_found(phone: str, frame: str) -> None:
    assert found(frame.format(phone)) == [("phone", phone)]


@pytest.mark.parametrize("number", RESIDENT_NUMBERS)
@pytest.mark.parametrize("frame", ["{}", "주민번호 {}번", "ID: {}, born in Seoul"])
def test_resident_numbers_are_found(number: str, frame: str) -> None:
    assert found(frame.format(number)) == [("resident_number", number)]


@pytest.mark.parametrize("text", NOT_PRIVATE)
@pytest.mark.parametrize("frame", ["{}", "값은 {} 입니다.", "See {}, please."])
def test_other_numbers_are_not_private(text: str, frame: str) -> None:
    assert found(frame.format(text)) == []


def test_several_in_one_text_stand_in_order() -> None:
    text = "김민수 02-123-4567/010-1234-5678, kim@naver.com, 900101-1234567; lee@daum.net 010 9876 5432"
    assert [kind for kind, _ in found(text)] == ["phone", "phone", "email", "resident_number", "email", "phone"]
    assert all(one.end <= two.start for one, two in zip(find_private(text), find_private(text)[1:], strict=False))


@pytest.mark.parametrize("value", [*[email for _, email in EMAILS], *PHONES, *RESIDENT_NUMBERS])
def test_mask_shows_two_characters_at_most(value: str) -> None:
    text = f"앞 {value} 뒤"
    masked = mask(text, find_private(text))
    assert len(masked) == len(text)
    assert masked.startswith("앞 ") and masked.endswith(" 뒤")
    shown = masked[2:-2]
    assert shown[:2] == value[:2]
    assert not any(character.isalnum() for character in shown[2:])
    assert find_private(masked) == []


def test_mask_takes_any_spans() -> None:
    assert mask("kim@naver.com", [Span("email", 0, 13)]) == "ki*@*****.***"
    assert mask("abcdefgh", [Span("a", 4, 8), Span("a", 0, 6)]) == "ab******"  # overlapping, in any order
    assert mask("abc", [Span("a", 1, 99)]) == "abc"
    assert mask("abc", []) == "abc"


# --- mojibake


def misread(text: str, written: str, read: str) -> str:
    """Return bytes of one encoding read as another; cp1252 as browsers and Windows read it, where no byte is
    undefined.
    """
    data = text.encode(written)
    if read != "cp1252":
        return data.decode(read)
    return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in data)


BROKEN_UTF8 = [
    "안녕하세요", "오늘 날씨가 참 좋네요.", "컴퓨터", "제목: 컴퓨터를 배우자 · 3월", "ㅋㅋㅋ 그래 ㅠㅠ", "café", "naïve",
    "don’t", "“Hello” – she said…", "Größe", "über", "Österreich", "résumé", "œuvre", "gęślą jaźń", "São Paulo", "£5", "20 °C",
    "à Paris", "voilà !", "→ next", "™", "🙂 좋아요", "日本語のテキスト", "Привет, как дела?", "Tiếng Việt rất hay",
    "\ufeffhello", "카페에서 “안녕”이라고 말했다…", "§ 101",
]  # fmt: skip
BROKEN_CP949 = [
    "안녕하세요", "오늘 날씨가 참 좋네요.", "사랑", "한글", "컴퓨터를 배우자", "대한민국 서울특별시", "이름: 홍길동 (남)",
    "감사합니다!", "주문번호 123번 확인 부탁드려요", "이것은 test 입니다", "가격은 5,000원", "하루가 또 가네요.",
    "위로해 드립니다.", "여행은 언제나 좋죠.", "가격 문의",
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN_UTF8)
@pytest.mark.parametrize("read", ["cp1252", "latin-1"])
def test_utf8_read_as_latin_is_mended(text: str, read: str) -> None:
    broken = misread(text, "utf-8", read)
    assert fix_mojibake(broken) == text
    assert fix_mojibake(text) is None
    assert fix_mojibake(misread(broken, "utf-8", read)) == text  # twice


@pytest.mark.parametrize("text", BROKEN_CP949)
@pytest.mark.parametrize("read", ["cp1252", "latin-1"])
def test_cp949_read_as_latin_is_mended(text: str, read: str) -> None:
    broken = misread(text, "cp949", read)
    assert fix_mojibake(broken) == text
    assert fix_mojibake(text) is None
    assert fix_mojibake(misread(broken, "utf-8", "cp1252")) == text  # saved as UTF-8 and misread again


def test_a_syllable_beyond_ks_x_1001_is_mended_with_the_text() -> None:
    assert fix_mojibake(misread("저는 학교에 갑니다. 뷁", "cp949", "cp1252")) == "저는 학교에 갑니다. 뷁"


LOSSLESS = ["갈까 말까?", "감기 같애", "감정기복", "감정컨트롤을 못하겠어", "같이 밥을 먹어주죠.", "결국 찾아갔네.!",
    "결정 못하겠어.", "계륵.", "고백", "그냥 주절주절", "그럴게요.", "기다리고 계신 분들.", "마주칠까?", "막말 쩔어",
    "많죠!", "말을 못하겠어"]  # fmt: skip


@pytest.mark.parametrize("text", LOSSLESS)
def test_utf8_read_as_cp949_is_mended_where_no_byte_was_lost(text: str) -> None:
    assert fix_mojibake(text.encode().decode("cp949")) == text


@pytest.mark.parametrize("text", ["안녕하세요", "한글", "가", "오늘 날씨가 좋네요"])
def test_utf8_read_as_cp949_stays_where_bytes_were_lost(text: str) -> None:
    assert fix_mojibake(text.encode().decode("cp949", "replace").replace("\ufffd", "?")) is None


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("안녕 ì•ˆë…•", "안녕 안녕"),
        ("제목: ¾È³çÇÏ¼¼¿ä 안녕", "제목: 안녕하세요 안녕"),
        ("“donâ€™t” do “it”", "“don’t” do “it”"),
        ("It costs Â£5 – “fine”", "It costs £5 – “fine”"),
        ("Er sagt: „SchÃ¶n!“", "Er sagt: „Schön!“"),
    ],
)
def test_runs_between_sound_text_are_mended(broken: str, mended: str) -> None:
    assert fix_mojibake(broken) == mended


ORDINARY = [
    # French, German, Spanish, Portuguese
    "Un café naïf à Noël : « ça va ? » — « Où ? »", "Il est né… « Très bien… »", "«Il est né…» dit-il",
    "VOILÀ «À BAS LE MAÎTRE»", "Prix : 5 €, 20 °C, nº 3", "Die Größe der Straße übertrifft „Ä“ und „Ö“…", "Ärger über Öl – 5 €",
    "Äh… "
    "Ä…hm, "
    "naja", "ÄÄÄÄ ÖÖÖÖ ÜÜÜÜ", "¿Él? ¿África? ¡Qué día…!", "“Estuve ahí…”", "¿¡Qué dices!?", "España, ÑOÑO…",
    "REVOLUÇÃO É AÇÃO", "“MANHÔ e “IRMÔ…", "São Paulo, à noite – “não”",
    # Vietnamese, Nordic, Polish, Turkish
    "Tiếng "
    "Việt: "
    "“Ân” và "
    "«Ô»", "Chữ Â, Ê, Ô…", "Å være eller ikke være…", "the Å’s and Ä’s of Åland", "Zażółć gęślą jaźń…",
    "Şişli’de İstanbul",
    # Korean, Japanese, Chinese, Russian
    "안녕하세요. “반갑습니다”…", "三國志를 읽었다", "大韓民國 만세", "20째 줄이 쨌든 그렇다", "온도는 ±5°C · 습도 60%",
    "東京の夜", "北京大学", "Привет, «мир»…",
    # signs, mathematics, code pages spelled out
    "½ + "
    "¼ = "
    "¾, "
    "x² "
    "± 3µ", "¼½¾", "£5–£10 €5–€10 ¥100", "····", "A·B = ½", "café¹² Noë¹²", "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞß",
    "àáâãäåæçèéêëìíîïðñòóôõö", "ÁÉÍÓÚ áéíóú", "Ã", "“Å”", "IKEA Å…", "ÈÉÊËÌÍ", "caf챕", "?덈뀞?섏꽭??", "plain ASCII", "",
    "🙂🇰🇷 ℹ️",
]  # fmt: skip


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text: str) -> None:
    assert fix_mojibake(text) is None


@pytest.mark.parametrize("text", [*ORDINARY, *BROKEN_UTF8, *BROKEN_CP949])
def test_mending_is_idempotent(text: str) -> None:
    for written, read in (("utf-8", "cp1252"), ("utf-8", "latin-1"), ("cp949", "latin-1"), ("cp949", "cp1252")):
        try:
            broken = misread(text, written, read)
        except UnicodeEncodeError:
            continue
        mended = fix_mojibake(broken)
        assert mended is None or fix_mojibake(mended) is None


@pytest.mark.parametrize("text", ORDINARY)
def test_replacement_characters(text: str) -> None:
    assert not has_replacement(text)
    assert has_replacement(text + "\ufffd") and has_replacement("\ufffd" + text)


# --- cut answers

ENGLISH = "Leukemia is a disease in which the bone marrow makes too many white blood cells. It may get worse quickly. "
KOREAN = "백혈병은 골수에서 백혈구가 지나치게 많이 만들어지는 병입니다. 빨리 나빠질 수 있으므로 증상이 있으면 병원에 가야 합니다. 치료 방법은 여러 가지가 있습니다. "
CUT = [
    *[ENGLISH + end for end in [
        "It "
        "affects the", "It affects red cells and", "It is made of", "Fever, tiredness,", "There are many types (",
        "He said “", "It is treated with", "The risk comes from", "This is because", "Doctors use a scan or",
        "It is the cause of a", "Patients and their", "Signs include [", "See:\n```python\nprint(1)",
        "\n```\na\n```\nthen\n```", "It spreads to the  \n",
    ]],
    *[KOREAN + end for end in [
        "이 병은", "환자는", "증상을", "치료를", "병원에서", "사람들의", "그리고", "하지만", "열, 두통,", "여러 종류(",
        "그는 “", "증상과 치료에 대한", "피로 및", "가을은", "다음 코드\n```\nprint(1)", "마을을", "좋은", "이것은",
        "예를 들어", "「",
    ]],
]  # fmt: skip
WHOLE = [
    *[ENGLISH + end for end in [
        "", "See your doctor", "It hurts :(", "And so on...", "It may be cured…", "\n- red cells\n- white cells",
        "\n```python\nprint(1)\n```", "\n```python\nprint(1)```", "```python\nprint(1)\n```", "\nBest regards,",
        "\nKind regards,\n", 'He said "yes"', "(see above)", "Help!", "x = [1, 2]", "\n- what it is made of", "Vitamin a",
        "Press ``` to begin", "“Yes”", "\n1. Signs to look out for", "He is the One", "She said: and?", "a,b,,", "AND", "„so“",
        "\n````md\n```\nx\n```\n````", "option a", "It is what they turn it into. See also the list",
    ]],
    *[KOREAN + end for end in [
        "", "병원에 가세요", "그렇죠", "좋아요~~", "아마도…", "그리고...", "가을", "마을", "회의", "민주주의", "강의", "김정은",
        "박지은", "겨울", "하세요 ㅠㅠ(", "1. 수술\n2. 항암 치료", "필요함", "그렇네", "맛있다는", "```\nprint(1)\n```", "“네”",
        "안녕~~~\n~~~ 좋아요", "좋아요,,", "의의", "갑을", "먹긴 하지만",
    ]],
    "Short, and", "이것은", "", "the", "짧은 글은",
    "La maladie du sang est une maladie grave qui touche des personnes âgées et jeunes, une "
    "médaille en or", "Lorem\n" * 30,
]  # fmt: skip


@pytest.mark.parametrize("text", CUT)
def test_cut_answers(text: str) -> None:
    assert ends_abruptly(text)


@pytest.mark.parametrize("text", WHOLE)
def test_whole_answers(text: str) -> None:
    assert not ends_abruptly(text)


# --- language

TEXTS_OF = {
    "ko": ["안녕하세요", "PyTorch와 TensorFlow를 비교해 주세요", "ㅋㅋㅋㅋ", "3월 1일", "대한(大韓)", "print()는 뭐?", "가"],
    "en": ["Hello", "안녕하세요 means hello in Korean", "naïve café", "don’t “do” it", "x = 1", "1st", "Hello world 안녕"],
    "ja": ["こんにちは", "東京の夜は美しい", "カタカナ", "日本語を勉強します"],
    "zh": ["你好", "北京大学在中国", "他说“你好”。", "今天天气很好，我们去北京大学学习の"],
    "ru": ["Привет", "Как дела, user?"],
    "ar": ["مرحبا بالعالم"],
    "th": ["สวัสดีครับ"],
    "hi": ["नमस्ते दुनिया"],
    "other": ["Γειά σου", "שלום", "Tiếng Việt rất hay", "Où est la bibliothèque près du café ?", "Zażółć gęślą jaźń"],
    "none": ["", "123", "!?…", "🙂", "3.14 ± 2", " \n"],
}


@pytest.mark.parametrize("expected", TEXTS_OF)
def test_language(expected: str) -> None:
    assert {text: language(text) for text in TEXTS_OF[expected]} == dict.fromkeys(TEXTS_OF[expected], expected)


def test_language_reads_the_beginning_only() -> None:
    assert language("a" * 300 + "가" * 1000) == "en"
    assert language(" " * 300 + "가") == "none"


# --- a text made to hurt

HOSTILE = [
    "@" * 10**6, "a@" * 500_000, "a" * 10**6 + "@", "a@a." * 250_000, "@a.a.a.a.a.a." * 75_000, "a@a.co " * 140_000,
    "1-" * 500_000, "12-" * 333_333, "0" * 10**6, "010-" * 250_000, "010-1234-" * 110_000, "010-1234-5678 " * 70_000,
    "900101-1" * 125_000, "(555) " * 166_666, "+82 " * 250_000, "Ã" * 10**6, "Ã©" * 500_000, "Â\x80" * 500_000, "â€™" * 333_333,
    "¾È" * 500_000, "¾È³ç" * 250_000, "媛" * 10**6, "쨌" * 10**6, "```\n" * 250_000, "```" + " " * 10**6, "," * 10**6,
    " " * 10**6 + "a", "\n" * 10**6 + "of", "( " * 500_000, "a. B" * 250_000 + " of", "and " * 250_000, "가" * 10**6,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_a_million_hostile_characters_take_no_more_than_seconds(text: str) -> None:
    """About one each; work that grows with the square of the length would take hours."""
    for function in (find_private, fix_mojibake, has_replacement, ends_abruptly, language):
        start = time.process_time()  # not the wall clock: other work may run beside the tests
        function(text)
        assert time.process_time() - start < 10
    spans = find_private(text)
    start = time.process_time()
    mask(text, spans)
    assert time.process_time() - start < 10
