"""한 파일로 된 파인튜닝: 설정은 맨 위에 있고, 아래로 내려가며 한 단계씩 실행해요.

A whole fine-tuning in one file: the settings stand at the top, the steps follow one by one.

    .venv/bin/python examples/fine_tune.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import nuguna

# ── 설정 / settings
# ───────────────────────────────────────────────────────────────────────────────────────────────────── 하나씩 바꿔
# 가며 결과가 어떻게 달라지는지 보세요. / Change one at a time and see what it does.

model = "demo"  # 기반 모델 / base model: "demo", "auto", "Qwen/Qwen3-0.6B", "./my_model"
dataset = "demo"  # 데이터 / data: "demo", "my_data.csv"
output_dir = "./results_example"  # 결과 폴더 / folder for the result

per_device_train_batch_size = 16  # 한 스텝에 배우는 예제 수 / examples that one step learns from
max_seq_length = 512  # 가장 긴 예제의 토큰 수 / longest example, in tokens
max_steps = 300  # 가중치를 고치는 횟수 / how often the weights are changed
r = 32  # LoRA의 랭크: 클수록 더 많이 배워요 / rank of the adapter: a larger one can learn more
lora_alpha = 16  # LoRA의 세기 / how strongly the adapter acts

question = "의학에서 고혈압의 증상은"  # 학습한 뒤에 해 볼 질문 / what to ask in the end
lang = "ko"  # 화면에 나오는 말 / language of the screen: "ko", "en"


def main() -> str:
    """다섯 단계. 어떻게 끝났는지 돌려줘요. / The five steps; returns how the run ended."""
    show = nuguna.screen(lang)  # 진행 상황을 보여 주는 화면 / shows what happens
    wish = nuguna.Request(
        model=model,
        data=dataset,
        output_dir=output_dir,
        batch_size=per_device_train_batch_size,  # 장치가 하나라서 둘이 같아요 / the same, as one device is used
        max_seq_length=max_seq_length,
        max_steps=max_steps,
        lora_r=r,
        lora_alpha=lora_alpha,
    )

    # 1. 컴퓨터를 살펴봐요: GPU가 있나요? 메모리는요? / Look at the machine: is there a GPU, how much memory?
    hardware = nuguna.detect(Path.cwd())
    print(f"\n1. 컴퓨터 / machine: {hardware.device}, {hardware.name}, {hardware.dtype}")

    # 2. 데이터를 읽고 검사해요. / Read and check the data.
    data = nuguna.load_dataset(dataset)
    example = data.train[0]
    print(f"\n2. 데이터 / data: {len(data.train):,}")
    print(f"   Q: {example.prompt[-1].content}\n   A: {example.answer}")

    # 3. 계획을 세워요: 정하지 않은 것은 까닭과 함께 정해 줘요.
    #    Make the plan: what was not said is decided, and the reason is given.
    plan, _ = nuguna.decide(wish, hardware, data)
    print("\n3. 계획 / plan")
    for name in ("learning_rate", "dtype", "micro_batch_size", "heldout_examples"):
        choice = plan.choices()[name]
        print(f"   {name} = {choice.value}: {show.t(choice.reason)}")

    # 4. 학습하고, 재고, 증명해요. 손실이 내려가는 것을 보세요. / Train, measure and prove. Watch the loss go down.
    print("\n4. 학습 / training")
    report = nuguna.fine_tune(wish, tell=show, translate=show.t, lang=lang, hardware=hardware)
    print(f"   ROUGE-L: {report.before['rouge_l']:.1f} → {report.after['rouge_l']:.1f}")

    # 5. 질문해요. 학습하기 전의 답과 비교해 보세요. / Ask, and compare with the answer before training.
    folder = Path(output_dir)
    print(f"\n5. {question}")
    print(f"   학습 전 / before: {nuguna.open_session(folder, use_base=True).ask(question).text}")
    print(f"   학습 후 / after:  {nuguna.open_session(folder).ask(question).text}")
    return report.status


if __name__ == "__main__":
    try:
        sys.exit(0 if main() == "succeeded" else 1)
    except nuguna.NugunaError as error:  # 무슨 일인지, 무엇을 하면 되는지 / what happened and what to do
        sys.exit(str(error))
