"""Score mini on clips of the generated world: accuracy a type of question, with intervals by clip.

crab data synth -o clips --clips 20 --split val
python examples/score.py clips       # all of them
python examples/score.py clips 3     # the first three
"""

import json
import sys
from pathlib import Path

import crab_core
from crab_core.evaluate.rows import QaRow
from crab_core.evaluate.tables import score_answers

folder = Path(sys.argv[1])
clips = (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()
if len(sys.argv) > 2:
    clips = clips[: int(sys.argv[2])]
model = crab_core.load("mini")
rows = []
for line in clips:
    clip = json.loads(line)
    seen = model.look(folder / clip["file"])
    for one in clip["qa"]:
        answer = seen.ask(one["question"]).answer
        told = answer.text if answer else ""
        rows.append(QaRow(clip["file"], one["template"], one["type"], one["modality"], told, one["answer"]))
print(score_answers(rows, baselines={}).to_markdown())
