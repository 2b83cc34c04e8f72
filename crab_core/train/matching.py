"""The heads of all layers of a trained adapter under one number, by the shares that the tasks give them.

It changes no answer (crab_core/nn/ilora/matching.py). It is a stage's last act, so that "head 1" of the model means
something in every view of its heads. Letters: H heads, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from crab_core.nn.ilora.matching import matched_orders, reorder_heads
from crab_core.nn.ilora.routing import capture
from crab_core.train.batches import LanguageBatches
from crab_core.train.features import Features, project
from crab_core.train.language import LanguageStage
from crab_core.train.packing import IGNORED

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crab_core.nn.crab import CrabModel
    from crab_core.train.settings import Stage
    from crab_core.train.texts import RowMaker

CLIPS = 64  # that the shares are looked at in
ROWS, TIMES = 8, 6  # clips of a batch, and batches of a task


def match_heads(
    model: CrabModel,
    stage: Stage,
    features: Features,
    seconds: npt.NDArray[np.int64],
    rows: Callable[[Stage], RowMaker],
    seed: int = 0,
) -> None:
    """Reorders the heads of `model` by what each task of the stage gives them where it is written.

    `features` are what the encoders gave of some clips of these `seconds`, `rows` makes the texts about them. Does
    nothing with fewer than two tasks or heads.
    """
    tasks = [task for task, weight in stage.mixture.items() if weight]
    if len(tasks) < 2 or model.config.ilora is None or model.config.ilora.heads < 2:
        return
    whole, stills = project(model, features), project(model, features, still=True)
    learner = LanguageStage(model, projected=True).eval()
    columns = []
    for task in tasks:
        alone = replace(stage, tasks={task: 1.0}, reading=0.0)
        batches = LanguageBatches(whole, seconds, rows(alone), seed, stills)
        every = [range(ROWS)]
        pieces = [piece for at in range(TIMES) for piece in batches.pieces([*range(at * ROWS, (at + 1) * ROWS)], every)]
        columns.append(mean_shares(learner, model, pieces))
    reorder_heads(model, matched_orders({name: torch.stack([one[name] for one in columns], 1) for name in columns[0]}))


@torch.no_grad()
def mean_shares(
    learner: LanguageStage, model: CrabModel, pieces: Sequence[Mapping[str, Any]]
) -> dict[str, torch.Tensor]:
    """Each router's mean share of each head (H,) where the pieces' targets are written."""
    sums: dict[str, torch.Tensor] = {}
    count = 0
    for piece in pieces:
        writes = piece["labels"][:, 1:] != IGNORED  # (B, L - 1): what follows is a target
        count += int(writes.sum())
        with capture(model) as collected:
            learner(**piece, totals=learner.counts(piece))
        for name, (route,) in collected.items():
            total = route[:, :-1][writes].double().sum(0)  # (H,)
            sums[name] = sums[name] + total if name in sums else total
    return {name: total / count for name, total in sums.items()}
