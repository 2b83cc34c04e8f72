"""The text of a scene: questions with answers and reasoning, event targets and a caption, exact by its labels.

A target in AV-UIE's manner (arXiv 2503.13068, section 3.1) states the facts that the question needs, then the tagged
answer. The same scene, labels and generator give the same texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from crab_core.registry import TASKS
from crab_core.tasks.grammar import write_answer, write_ave, write_avvp
from crab_core.tasks.wording import DIRECT, EVALUATION, QUICK_START, TRAIN
from crab_core.types import Event, Prompt
from crab_core.world.ask_both import ASKS as ASKS_BOTH
from crab_core.world.ask_sight import ASKS as ASKS_SIGHT
from crab_core.world.ask_sound import ASKS as ASKS_SOUND
from crab_core.world.asking import Ask, Draft, View
from crab_core.world.captions import caption
from crab_core.world.dice import Dice
from crab_core.world.labels import SceneLabels
from crab_core.world.narration import hear, see, span
from crab_core.world.phrases import PHRASINGS
from crab_core.world.scene import SPLITS
from crab_core.world.spec import Scene

TEXT_TASKS: tuple[str, ...] = ("avqa", "ave", "avvp", "avcap")
ASKS: Mapping[str, Ask] = MappingProxyType({**ASKS_SOUND, **ASKS_SIGHT, **ASKS_BOTH})
OTHER_WORDING = {"avvp": QUICK_START, "avcap": EVALUATION}  # for a share of training, so that either is understood
OTHER_SHARE = 0.25
# Which share of the drafts with an answer is kept, where scenes would make that answer far too frequent.
KEPT: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("always_playing", "no"): 0.31,
        ("always_silent", "no"): 0.27,
        ("both_seen", "no"): 0.66,
        ("heard_before_seen", "no"): 0.57,
        ("kinds_sounding", "one"): 0.35,
        ("offscreen", "no"): 0.35,
        ("seen_longer", "yes"): 0.54,
        ("sounding_count", "one"): 0.40,
        ("sounds_count", "one"): 0.50,
        ("source_visible", "yes"): 0.27,
        ("when_seen", "from 0 to 10"): 0.35,
    }
)
_DESCRIPTION = 2503  # the stream of `describe` beside the scene's own seed


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing to ask of a scene and what to write.

    `question` is None except for avqa; `profile` chooses the wording; `answer` is the short answer, `target` the whole
    text to write; `template`, `type` and `modality` say which kind of question it is. `figures` are the instance ids
    of the drawings whose mask the target tells, if it tells one.
    """

    task: str
    profile: str
    question: str | None
    answer: str
    target: str
    template: str
    type: str
    modality: str
    figures: tuple[int, ...] = ()

    @property
    def prompt(self) -> Prompt:
        """What is said to the model, with the media in their places."""
        prompt: Prompt = TASKS[self.task].load().wording(self.question, self.profile)
        return prompt


def samples(
    scene: Scene,
    labels: SceneLabels,
    rng: np.random.Generator,
    *,
    held_out: bool = False,
    tasks: Sequence[str] = TEXT_TASKS,
    direct: float = 0.0,
) -> list[Sample]:
    """Everything that can be asked of a scene: each question template once where it applies, and the other tasks.

    `held_out` asks with the phrasings that training never sees. `direct` is the share of questions that are asked for,
    and answered, without reasoning.
    """
    view, dice = View.of(labels), Dice(rng)
    made = _questions(view, dice, held_out=held_out, direct=direct) if "avqa" in tasks else []
    for task, write in (("ave", _ave), ("avvp", _avvp), ("avcap", caption)):
        if task in tasks:
            target = write(view, dice)
            profile = OTHER_WORDING.get(task, TRAIN) if not held_out and dice.coin(OTHER_SHARE) else TRAIN
            made.append(Sample(task, profile, None, target, target, task, task, "Audio-Visual"))
    return made


def describe(scene: Scene, labels: SceneLabels) -> dict[str, Any]:
    """The texts of a scene as plain JSON values, always the same for one scene: qa, ave, avvp and caption."""
    rng = np.random.default_rng([SPLITS[scene.split], scene.seed, scene.index, _DESCRIPTION])
    by_task: dict[str, list[Sample]] = {task: [] for task in TEXT_TASKS}
    for sample in samples(scene, labels, rng):
        by_task[sample.task].append(sample)
    keys = ("question", "answer", "target", "template", "type", "modality")
    return {
        "qa": [{key: getattr(sample, key) for key in keys} for sample in by_task["avqa"]],
        "ave": by_task["ave"][0].target,
        "avvp": by_task["avvp"][0].target,
        "caption": by_task["avcap"][0].target,
    }


def template_majorities(made: Iterable[Sample]) -> dict[str, tuple[str, float, int]]:
    """For each question template its most frequent answer, that answer's share and the number of questions."""
    answers: dict[str, Counter[str]] = {}
    for sample in made:
        if sample.task == "avqa":
            answers.setdefault(sample.template, Counter())[sample.answer] += 1
    majorities = {}
    for template, counts in sorted(answers.items()):
        answer, most = counts.most_common(1)[0]
        majorities[template] = (answer, most / counts.total(), counts.total())
    return majorities


def _questions(view: View, dice: Dice, *, held_out: bool, direct: float) -> list[Sample]:
    made = []
    for template, ask in ASKS.items():
        draft = ask(view, dice)
        kept = draft is not None and dice.coin(KEPT.get((template, draft.answer), 1.0))
        if draft is not None and kept:
            made.append(_question(template, draft, dice, held_out=held_out, direct=direct))
    return made


def _question(template: str, draft: Draft, dice: Dice, *, held_out: bool, direct: float) -> Sample:
    phrasings = PHRASINGS[template]
    question = phrasings.choose(dice.share(), held_out=held_out).format_map(draft.slots)
    is_direct = dice.coin(direct)
    return Sample(
        task="avqa",
        profile=DIRECT if is_direct else TRAIN,
        question=_typed(question, dice.share()),
        answer=draft.answer,
        target=write_answer(draft.answer, "" if is_direct else draft.reasoning),
        template=template,
        type=phrasings.type,
        modality=phrasings.modality,
    )


def _typed(question: str, share: float) -> str:
    """The question as people type it: mostly as it stands, at times without a capital or without the mark."""
    if share < 0.7:
        return question
    bare = question.rstrip("?.")
    lower = f"{question[0].lower()}{question[1:]}"
    return lower if share < 0.8 else bare if share < 0.9 else f"{bare[0].lower()}{bare[1:]}"


def _ave(view: View, dice: Dice) -> str:
    events, told = [], []
    for heard in view.both:
        seen = view.seen_by[heard.name]
        told.append(f"The {heard.name} is seen {span(seen)} and heard {span(heard)}.")
        start, end = max(seen.start_s, heard.start_s), min(seen.end_s, heard.end_s)
        events += [Event(heard.name, start, end)] if start < end else []
    events.sort(key=lambda event: (event.start_s, event.label))
    return write_ave(events, " ".join(told) or f"{hear(view.heard)} {see(view.seen)}")


def _avvp(view: View, dice: Dice) -> str:
    seen = [Event(fact.name, fact.start_s, fact.end_s, "visual") for fact in view.seen if fact.can_sound]
    return write_avvp([*seen, *(Event(fact.name, fact.start_s, fact.end_s, "audio") for fact in view.heard)])
