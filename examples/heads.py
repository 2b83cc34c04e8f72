"""What each LoRA head looks at and listens to for one answer.

python examples/heads.py [MODEL]
"""

import sys
from pathlib import Path

import crab_core
from crab_core.engine.heads import HeadOptions

clip = Path(__file__).parent / "clips" / "00000.mp4"
model = crab_core.load(sys.argv[1] if len(sys.argv) > 1 else "mini")
report = model.look(clip).heads("Which object sounds first?", options=HeadOptions(method="attention"))

print(f"answer: {report.result.answer.text}")
for kind, shares in report.by_kind.items():
    print(f"{kind:10s}", "  ".join(f"head {head} {share:.2f}" for head, share in enumerate(shares, start=1)))
for medium, masses in report.mass.items():
    print(f"evidence from {medium}:", "  ".join(f"{mass:.2f}" for mass in masses))
for one in report.ablations:
    print(f"{one.name:16s} {one.answer!r}, log-probability {one.log_probability:.2f}")
