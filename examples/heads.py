"""What each LoRA head looks at and listens to for one answer, from the numbers to the page.

python examples/heads.py [MODEL] [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np

import crab_core
from crab_core.render.heads_page import figures, heads_page

clip = Path(__file__).parent / "clips" / "00000.mp4"
model = crab_core.load(sys.argv[1] if len(sys.argv) > 1 else "mini")

# the same answer as model.look(clip).ask(...), and who had a part in it
report = model.heads(clip, "Which object sounds first?", options=crab_core.HeadOptions(method="attention"))
print(f"answer: {report.result.answer.text}")

# who is asked: mean share of each head at each kind of token; a token's shares make 1
for kind, shares in report.by_kind.items():
    print(f"{kind:10s}", "  ".join(f"head {head} {share:.2f}" for head, share in enumerate(shares, start=1)))

# what for: all maps of all heads, sight and sound together, make 1
for medium, maps in report.maps.items():  # (H, seconds, rows, columns)
    print(f"evidence from {medium}:", "  ".join(f"{mass:.2f}" for mass in report.mass[medium]))
    head, second = np.unravel_index(maps.sum((2, 3)).argmax(), maps.shape[:2])
    print(f"  most of it through head {head + 1} at second {second}")

# and was it worth it: the answer without a head, and how likely the whole model's text still is
for one in report.ablations:
    print(f"{one.name:16s} {one.answer!r}, log-probability {one.log_probability:.2f}")

# are the heads different matrices, beside random ones of that shape
for number, (first, second) in enumerate(report.alike.pairs):
    angle, chance = report.alike.angles_deg[..., number, :].mean(), report.alike.chance_angles_deg.mean()
    print(f"heads {first + 1} and {second + 1}: principal angle {angle:.0f} degrees, by chance {chance:.0f}")

# the page and the figures are pure functions of the numbers
if len(sys.argv) > 2:
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    document, arrays = report.to_dict(), report.arrays()
    (folder / "heads.html").write_text(heads_page(document, arrays), encoding="utf-8")
    for name, content in figures(document, arrays):
        (folder / name).write_bytes(content)
    print(f"page and figures: {folder}")
