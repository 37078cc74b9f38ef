"""빈칸 채우기의 답. 먼저 스스로 채워 보세요!

The solution of fill_in_the_blanks.py. Try it yourself first!

    .venv/bin/python examples/fill_in_the_blanks_solution.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import nuguna

# ── 1부: 설정 / part 1: settings
# ────────────────────────────────────────────────────────────────────────────────────────

# [1] 기반 모델의 이름을 따옴표 안에 쓰세요. 프로그램에 들어 있는 연습용 모델은 "demo"예요.
#     The name of the base model, in quotation marks. The rehearsal model in the package is called "demo".
model = "demo"

# [2] 데이터셋의 이름이나 파일을 쓰세요. 프로그램에 들어 있는 의학 데이터셋도 "demo"예요.
#     The name of a dataset or a file. The medical set in the package is called "demo" too.
dataset = "demo"

# [3] 한 스텝에 배우는 예제 수. 클수록 안정되지만 오래 걸려요. 데모 모델에는 16이 알맞아요.
#     Examples that one step learns from: more is steadier and slower. 16 suits the demo model.
per_device_train_batch_size = 16

# [4] 가장 긴 예제의 토큰 수. 이보다 길면 뒤가 잘려요. 512면 넉넉해요.
#     The longest example, in tokens; what is longer is cut. 512 is plenty.
max_seq_length = 512

# [5] 가중치를 몇 번 고칠까요? 300이면 잘 배워요. 20으로 하면 어떻게 될까요?
#     How often are the weights changed? 300 learns well. What happens with 20?
max_steps = 300

# [6] LoRA의 랭크 r: 곁에 붙이는 작은 행렬의 크기예요. 클수록 더 많이 배울 수 있어요. 보통 8에서 64 사이예요.
#     The rank r of LoRA: the size of the small matrices beside the large ones. Usually between 8 and 64.
r = 32

# [7] LoRA의 세기: 어댑터의 효과에 lora_alpha / r 를 곱해요. r의 절반이나 r과 같게 해 보세요.
#     How strongly LoRA acts: its effect is multiplied by lora_alpha / r. Try half of r, or r itself.
lora_alpha = 16

output_dir = "./results_blanks"
question = "의학에서 고혈압의 증상은"
lang = "ko"


def main() -> str:
    """2부: 학습 / part 2: the training."""
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
    hardware = nuguna.detect(Path.cwd())
    print(f"컴퓨터 / machine: {hardware.device}, {hardware.name}")

    # [9] 데이터를 읽는 함수는요? 힌트: load_로 시작해요.
    #     Which one reads the data? Hint: it begins with load_.
    data = nuguna.load_dataset(dataset)
    print(f"데이터 / data: {len(data.train):,}")

    # [10] 계획을 세우는 함수는요? 힌트: "결정하다"라는 뜻이에요. 바라는 것, 컴퓨터, 데이터를 받아요.
    #      Which one makes the plan from the wish, the machine and the data? Hint: to make up one's mind.
    plan, _ = nuguna.decide(wish, hardware, data)
    print(f"학습률 / learning rate: {plan.learning_rate.value} ({show.t(plan.learning_rate.reason)})")

    # [11] 학습하는 함수는요? 힌트: 파인튜닝을 영어로 쓰고 사이에 밑줄을 넣으세요.
    #      Which one trains? Hint: it is what this whole program is about, with an underscore.
    report = nuguna.fine_tune(wish, tell=show, translate=show.t, lang=lang, hardware=hardware)

    # [12] 학습한 뒤의 점수는 report의 어디에 있을까요? 학습 전은 report.before예요.
    #      Where in the report are the scores after training? Those before it are in report.before.
    print(f"ROUGE-L: {report.before['rouge_l']:.1f} → {report.after['rouge_l']:.1f}")

    # [13] 학습한 결과를 열어 질문하려면 어떤 함수를 쓸까요? 힌트: open_으로 시작해요.
    #      Which function opens the result, to ask it something? Hint: it begins with open_.
    session = nuguna.open_session(Path(output_dir))
    print(f"Q: {question}\nA: {session.ask(question).text}")
    return report.status


if __name__ == "__main__":
    try:
        sys.exit(0 if main() == "succeeded" else 1)
    except nuguna.NugunaError as error:
        sys.exit(str(error))
