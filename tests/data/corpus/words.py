"""What the files say. Every drug, number and person in it is made up."""

from __future__ import annotations

KOREAN = (
    ("나루정은 하루에 몇 번 먹나요?", "나루정은 하루 두 번, 아침과 저녁 식사 뒤에 한 알씩 먹습니다."),
    ("미리시럽은 어디에 보관해야 하나요?", "미리시럽은 냉장고에 넣고, 연 뒤에는 2주 안에 다 쓰세요."),
    ("두통이 사흘째 계속되면 어떻게 하나요?", "진통제를 더 먹지 말고 가까운 병원에서 진찰을 받으세요."),
    ("가온캡슐을 먹고 운전해도 되나요?", "가온캡슐은 졸음이 올 수 있으니 먹은 날에는 운전하지 마세요."),
    ("혈압을 잴 때 무엇을 조심하나요?", "5분 동안 편히 앉아 쉬고, 팔을 심장 높이에 두고 재세요."),
    ("솔빛연고는 상처에 발라도 되나요?", "아니요, 솔빛연고는 다치지 않은 피부에만 얇게 바르세요."),
)
ENGLISH = (
    ("How often is Narudin taken?", "Narudin is taken twice a day, one tablet after breakfast and one after supper."),
    ("Where should Mirisol be kept?", "Keep Mirisol in the refrigerator and use it within two weeks of opening."),
    ("What should I do about a cough that lasts a month?", "See a doctor: a cough of more than three weeks needs a look."),
    ("May I drive after taking Gaonex?", "No. Gaonex makes many people sleepy, so do not drive on that day."),
    ("How do I measure my pulse?", "Put two fingers on your wrist, count for half a minute and double the number."),
    ("Can Solvit ointment be used on a wound?", "No, Solvit is for unbroken skin only; put on a thin layer."),
)
# both languages by turns, the Korean ones first
BOTH = tuple(pair for both in zip(KOREAN, ENGLISH, strict=True) for pair in both)
PASSAGES = (
    "나루정은 위장을 지나 흡수되며 약효는 열두 시간 이어진다.",
    "미리시럽에는 방부제가 없어서 실온에 두면 쉽게 상한다.",
    "진통제를 오래 먹으면 오히려 머리가 더 아플 수 있다.",
    "가온캡슐을 먹은 사람 백 명 가운데 아홉 명이 졸음을 느꼈다.",
    "혈압은 움직인 뒤에 높아지므로 쉬고 나서 잰다.",
    "솔빛연고의 성분은 상처로 들어가면 따가움을 일으킨다.",
)
WORSE = ("잘 모르겠습니다.", "아무렇게나 드세요.", "그냥 참으세요.", "괜찮을 겁니다.", "대충 재세요.", "많이 바르세요.")
SYSTEM = "당신은 친절한 약사입니다. 짧고 정확하게 답하세요."
SYSTEM_EN = "You are a careful pharmacist. Answer in one sentence."
PARAGRAPHS = (
    "나루정은 열을 내리는 약이다. 어른은 하루 두 번 먹고, 아이는 의사가 정한 만큼만 먹는다.",
    "Mirisol is a syrup for dry coughs. It works for about six hours and may make the mouth feel dry.",
    "가온캡슐은 알레르기 약이다. 먹은 뒤에는 졸릴 수 있으므로 기계를 다루지 않는다.",
)


def numbered(count: int) -> list[tuple[str, str]]:
    """So many pairs, all different."""
    return [(f"{i}번 약은 몇 알?", f"하루에 {i % 3 + 1}알.") for i in range(1, count + 1)]


def turns(question: str, answer: str) -> list[tuple[str, str]]:
    """Return the conversation that a pair becomes."""
    return [("user", question), ("assistant", answer)]
