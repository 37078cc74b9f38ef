"""빈칸 채우기: ____ 를 모두 채우고 실행해 보세요. 막히면 fill_in_the_blanks_solution.py를 보세요.

Fill in every ____ and run this file. The answers stand in fill_in_the_blanks_solution.py.

    .venv/bin/python examples/fill_in_the_blanks.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nuguna

____ = None  # 빈칸이에요. 이 줄은 그대로 두세요. / A blank. Leave this line as it is.

# ── 1부: 설정 / part 1: settings
# ────────────────────────────────────────────────────────────────────────────────────────

# [1] 기반 모델의 이름을 따옴표 안에 쓰세요. 프로그램에 들어 있는 연습용 모델은 "demo"예요.
#     The name of the base model, in quotation marks. The rehearsal model in the package is called "demo".
model = ____

# [2] 데이터셋의 이름이나 파일을 쓰세요. 프로그램에 들어 있는 의학 데이터셋도 "demo"예요.
#     The name of a dataset or a file. The medical set in the package is called "demo" too.
dataset = ____

# [3] 한 스텝에 배우는 예제 수. 클수록 안정되지만 오래 걸려요. 데모 모델에는 16이 알맞아요.
#     Examples that one step learns from: more is steadier and slower. 16 suits the demo model.
per_device_train_batch_size = ____

# [4] 가장 긴 예제의 토큰 수. 이보다 길면 뒤가 잘려요. 512면 넉넉해요.
#     The longest example, in tokens; what is longer is cut. 512 is plenty.
max_seq_length = ____

# [5] 가중치를 몇 번 고칠까요? 300이면 잘 배워요. 20으로 하면 어떻게 될까요?
#     How often are the weights changed? 300 learns well. What happens with 20?
max_steps = ____

# [6] LoRA의 랭크 r: 곁에 붙이는 작은 행렬의 크기예요. 클수록 더 많이 배울 수 있어요. 보통 8에서 64 사이예요.
#     The rank r of LoRA: the size of the small matrices beside the large ones. Usually between 8 and 64.
r = ____

# [7] LoRA의 세기: 어댑터의 효과에 lora_alpha / r 를 곱해요. r의 절반이나 r과 같게 해 보세요.
#     How strongly LoRA acts: its effect is multiplied by lora_alpha / r. Try half of r, or r itself.
lora_alpha = ____

output_dir = "./results_blanks"
question = "의학에서 고혈압의 증상은"
lang = "ko"


def main() -> str:
    """2부: 학습 / part 2: the training."""
    if sentence := open_blank():
        sys.exit(sentence)

    show = nuguna.screen(lang)
    wish = nuguna.Request(
        model=model,
        data=dataset,
        output_dir=output_dir,
        batch_size=per_device_train_batch_size,
        max_seq_length=max_seq_length,
        max_steps=max_steps,
        lora_r=r,
        lora_alpha=lora_alpha,
    )

    # [8] 컴퓨터를 살펴보는 함수는 nuguna의 무엇일까요? 힌트: "알아내다"라는 뜻의 영어 낱말이에요.
    #     Which function of nuguna looks at the machine? Hint: the word means "to find out".
    hardware = ____(Path.cwd())
    print(f"컴퓨터 / machine: {hardware.device}, {hardware.name}")

    # [9] 데이터를 읽는 함수는요? 힌트: load_로 시작해요.
    #     Which one reads the data? Hint: it begins with load_.
    data = ____(dataset)
    print(f"데이터 / data: {len(data.train):,}")

    # [10] 계획을 세우는 함수는요? 힌트: "결정하다"라는 뜻이에요. 바라는 것, 컴퓨터, 데이터를 받아요.
    #      Which one makes the plan from the wish, the machine and the data? Hint: to make up one's mind.
    plan, _ = ____(wish, hardware, data)
    print(f"학습률 / learning rate: {plan.learning_rate.value} ({show.t(plan.learning_rate.reason)})")

    # [11] 학습하는 함수는요? 힌트: 파인튜닝을 영어로 쓰고 사이에 밑줄을 넣으세요.
    #      Which one trains? Hint: it is what this whole program is about, with an underscore.
    report = ____(wish, tell=show, translate=show.t, lang=lang, hardware=hardware)

    # [12] 학습한 뒤의 점수는 report의 어디에 있을까요? 학습 전은 report.before예요.
    #      Where in the report are the scores after training? Those before it are in report.before.
    print(f"ROUGE-L: {report.before['rouge_l']:.1f} → {____['rouge_l']:.1f}")

    # [13] 학습한 결과를 열어 질문하려면 어떤 함수를 쓸까요? 힌트: open_으로 시작해요.
    #      Which function opens the result, to ask it something? Hint: it begins with open_.
    session = ____(Path(output_dir))
    print(f"Q: {question}\nA: {session.ask(question).text}")
    return report.status


def open_blank() -> str:
    """아직 남은 첫 빈칸을 알려 주는 한 문장. / One sentence about the first blank that is still open, "" if there is
    none.
    """
    number = ""
    for line, text in enumerate(Path(__file__).read_text(encoding="utf-8").splitlines(), 1):
        if found := re.match(r" *# \[(\d+)\]", text):
            number = found[1]
        if number and "_" * 4 in text.partition("#")[0]:
            korean = f"{line}번째 줄의 [{number}]번 빈칸이 아직 비어 있어요. 채우고 다시 실행해 보세요!"
            return f"{korean} / Blank [{number}] in line {line} is still open: fill it in and run this again."
    return ""


if __name__ == "__main__":
    try:
        sys.exit(0 if main() == "succeeded" else 1)
    except nuguna.NugunaError as error:
        sys.exit(str(error))
