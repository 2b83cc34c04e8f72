"""Dense events of a video of any length (UnAV-100): every event that is seen and heard, and when.

Crab+ asks it in the words of `ave`; the answer may hold several events with several ranges each.
"""

from __future__ import annotations

from crab_core.tasks._base import Task
from crab_core.tasks.ave import wording
from crab_core.tasks.grammar import read_ave

TASK = Task(
    name="unav",
    summary="every event of a long video that is both seen and heard, and when",
    wording=wording,
    read=read_ave,
    produces=("answer", "events"),
    listens=True,
    looks=True,
    max_new_tokens=512,
    must_be_learnt=True,
)
