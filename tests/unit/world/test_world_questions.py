"""Questions about generated scenes: true by the labels, balanced, told the same way every time."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pytest

from crab_core.registry import TASKS
from crab_core.types import Canvas, Event
from crab_core.world.bank import load_bank
from crab_core.world.labels import CLASS_INDEX, HeardFact, Place, SceneLabels, SeenFact, label
from crab_core.world.phrases import PHRASINGS
from crab_core.world.questions import ASKS, TEXT_TASKS, Sample, describe, samples, template_majorities
from crab_core.world.scene import Scene, sample_scene

CLIPS = 2_000
YES_NO = [
    "sound_exists",
    "louder",
    "longer",
    "seen_exists",
    "both_seen",
    "left_of",
    "always_playing",
    "always_silent",
    "offscreen",
    "source_visible",
    "louder_side",
    "seen_longer",
    "sounds_before",
    "heard_before_seen",
]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    bank = load_bank()
    return [sample_scene("train", index, seed=5, bank=bank) for index in range(CLIPS)]


@pytest.fixture(scope="module")
def made(scenes: list[Scene]) -> list[list[Sample]]:
    return [samples(scene, label(scene), np.random.default_rng(scene.index)) for scene in scenes]


def seen(name: str, start: int, end: int, place: Place = "left", count: int = 1, sounding: bool = False) -> SeenFact:
    return SeenFact(name, start, end, place, count, name in CLASS_INDEX, sounding)


def heard(name: str, start: int, end: int, level_db: float, place: Place = "off screen") -> HeardFact:
    level = "loud" if level_db > -3 else "medium" if level_db > -9 else "soft"
    return HeardFact(name, start, end, level, level_db, place, 1)


def labels_of(seen_facts: Iterable[SeenFact], heard_facts: Iterable[HeardFact]) -> SceneLabels:
    nothing = np.zeros((len(CLASS_INDEX), 10), bool)
    return SceneLabels(10, nothing, nothing, tuple(seen_facts), tuple(heard_facts), ())


# A quiet dog on the left, two violins that sound loud the whole time, a silent drum and a cup; a bell off screen.
BAND = labels_of(
    [
        seen("cup", 0, 10, "middle"),
        seen("dog", 0, 10, "left", sounding=True),
        seen("violin", 0, 10, "right", 2, sounding=True),
        seen("drum", 3, 9, "middle"),
    ],
    [heard("violin", 0, 10, 0.0, "right"), heard("dog", 2, 5, -6.0, "left"), heard("bell", 6, 9, -12.0)],
)
SOLO = labels_of([seen("flute", 0, 4, "middle", sounding=True)], [heard("flute", 2, 8, -6.0, "middle")])
NOTHING = labels_of([], [])


@pytest.fixture(scope="module")
def asked(scenes: list[Scene]) -> dict[str, dict[str, set[str]]]:
    """Every question of the two hand-made scenes, lower case and bare, with the answers that it got."""
    found: dict[str, dict[str, set[str]]] = {"band": defaultdict(set), "solo": defaultdict(set)}
    for name, labels in (("band", BAND), ("solo", SOLO)):
        for seed in range(400):
            for sample in samples(scenes[0], labels, np.random.default_rng(seed), tasks=("avqa",)):
                found[name][str(sample.question).lower().rstrip("?.")].add(sample.answer)
    return found


@pytest.mark.parametrize(
    ("scene", "question", "answer"),
    [
        ("band", "Is there a dog sound", "yes"),
        ("band", "Is there a drum sound", "no"),
        ("band", "How many different sounds are there", "three"),
        ("band", "Is the dog louder than the bell", "yes"),
        ("band", "Is the dog softer than the bell", "no"),
        ("band", "Is the dog heard for longer than the violin", "no"),
        ("band", "What is the loudest sound", "violin"),
        ("band", "What is the softest sound", "bell"),
        ("band", "What do you hear", "bell, dog and violin"),
        ("band", "When is the dog heard", "from 2 to 5"),
        ("band", "When is the drum seen", "from 3 to 9"),
        ("band", "Is there a bell in the video", "no"),
        ("band", "Can you see a drum", "yes"),
        ("band", "How many things are in the video", "five"),
        ("band", "How many kinds of things are in the video", "four"),
        ("band", "How many violins are in the video", "two"),
        ("band", "Where is the dog", "left"),
        ("band", "What can you see on the right", "violin"),
        ("band", "Is the dog to the left of the violin", "yes"),
        ("band", "Is the cup to the left of the dog", "no"),
        ("band", "Is the violin always playing", "yes"),
        ("band", "Is the dog always sounding", "no"),
        ("band", "Is the drum always silent", "yes"),
        ("band", "Is there a voiceover", "yes"),
        ("band", "Can you see the bell that is heard", "no"),
        ("band", "How many kinds of visible things make a sound", "two"),
        ("band", "How many sounding violins are in the video", "two"),
        ("band", "How many sounding drums are in the video", "zero"),
        ("band", "How many silent things are in the video", "two"),
        ("band", "Where does the loudest sound come from", "right"),
        ("band", "Where does the first sound come from", "right"),
        ("band", "Is the sound on the left louder than the sound on the right", "no"),
        ("band", "Is the dog seen for longer than it is heard", "yes"),
        ("band", "What is heard first", "violin"),
        ("band", "Which sound comes in last", "bell"),
        ("band", "Does the dog sound before the bell", "yes"),
        ("band", "Does the bell start after the dog", "yes"),
        ("band", "What sounds together with the bell", "violin"),
        ("solo", "Is the flute always playing", "no"),
        ("solo", "Is there a voiceover", "no"),
        ("solo", "Can you see the flute that is heard", "yes"),
        ("solo", "Is the flute seen for longer than it is heard", "no"),
        ("solo", "Is the flute heard before it is seen", "no"),
        ("solo", "How many instruments are sounding in the video", "one"),
        ("solo", "Where is the first sounding instrument", "middle"),
    ],
    ids=lambda value: str(value).replace(" ", "-"),
)
def test_the_answer_is_true(asked: dict[str, dict[str, set[str]]], scene: str, question: str, answer: str) -> None:
    assert asked[scene][question.lower()] == {answer}


@pytest.mark.parametrize(
    ("template", "reasons"),
    [
        ("sound_exists", {"nothing": "no", "violin": "yes", "dog": "yes", "bell": "yes"}),
        ("seen_exists", {"nothing": "no", "cup": "yes", "dog": "yes", "violins": "yes", "drum": "yes"}),
        ("count_of", {"nothing": "zero", "cup": "one", "dog": "one", "violins": "two", "drum": "one"}),
        ("always_silent", {"nothing": "yes", "dog": "no", "violin": "no"}),
        ("source_visible", {"nothing": "no", "dog": "yes", "violins": "yes"}),
        ("sounding_count", {"nothing": "zero", "dog": "one", "violins": "two"}),
        ("offscreen", {"bell": "yes"}),
        ("kinds_sounding", {"dog, violins": "two"}),
        ("silent_count", {"cup, drum": "two"}),
    ],
)
def test_reasons_end_with_what_is_meant(scenes: list[Scene], template: str, reasons: dict[str, str]) -> None:
    told = defaultdict(set)
    for seed in range(300):
        for sample in samples(scenes[0], BAND, np.random.default_rng(seed), tasks=("avqa",)):
            if sample.template == template:
                told[sample.target.split(": ")[1].split(". So")[0]].add(sample.answer)
                lists = sample.target.partition(" What I ")[0]
                seen_list = "I see a cup, a dog, a drum and two violins."
                assert lists in (
                    seen_list,
                    "I hear a bell, a dog and a violin.",
                    f"{seen_list} I hear a bell, a dog and a violin.",
                )
    assert told == {meant: {answer} for meant, answer in reasons.items()}


FROM_THE_LOUDEST = "The violin is loud, the dog is fairly loud and the bell is soft."
FROM_THE_SOFTEST = "The bell is soft, the dog is fairly loud and the violin is loud."
BY_START = "I hear a violin from 0, a dog from 2 and a bell from 6."
FROM_THE_LAST = "I hear a bell from 6, a dog from 2 and a violin from 0."
UP_TO_THE_LEFT = "The cup is in the middle. The dog is on the left."
ON_SIDES = "The bell off screen is soft, the dog on the left is fairly loud and the violin on the right is loud"


@pytest.mark.parametrize(
    ("template", "reasons"),
    [
        ("loudest", {f"{FROM_THE_LOUDEST} The loudest is the violin."}),
        ("softest", {f"{FROM_THE_SOFTEST} The softest is the bell."}),
        ("where_loudest", {f"{FROM_THE_LOUDEST} The loudest is the violin, on the right."}),
        ("sounds_first", {f"{BY_START} The first is the violin."}),
        ("sounds_last", {f"{FROM_THE_LAST} The last is the bell."}),
        ("where_first", {f"{BY_START} The first is the violin, on the right."}),
        ("what_at", {UP_TO_THE_LEFT, f"{UP_TO_THE_LEFT} The drum is in the middle. The violin is on the right."}),
        ("louder_side", {f"{ON_SIDES}, so the left is softer.", f"{ON_SIDES}, so the right is louder."}),
    ],
)
def test_lists_begin_with_what_is_asked_or_go_by_the_alphabet(
    scenes: list[Scene], template: str, reasons: set[str]
) -> None:
    assert _targets(scenes[0], template) == reasons


@pytest.mark.parametrize(
    ("template", "reasons"),
    [
        ("where", {"The dog is on the left.", "The cup is in the middle.", "The violin is on the right."}),
        ("left_of", {"The dog is on the left and the violin is on the right, so the dog is further left."}),
        ("louder", {"The dog is fairly loud and the bell is soft, so the dog is louder."}),
        (
            "longer",
            {
                "The violin is heard from 0 to 10, for 10 seconds, and the dog from 2 to 5, for 3 seconds, "
                "so the violin is heard longer."
            },
        ),
        ("sounds_before", {"The bell is heard from 6 and the dog from 2, so the bell is later."}),
        (
            "sounds_with",
            {
                "I hear a bell from 6 to 9. I hear a violin from 0 to 10 and a dog from 2 to 5. "
                "Meanwhile I hear a violin."
            },
        ),
    ],
)
def test_what_a_question_names_is_told_at_once(scenes: list[Scene], template: str, reasons: set[str]) -> None:
    assert reasons <= _targets(scenes[0], template)


def _targets(scene: Scene, template: str) -> set[str]:
    """The reasons that precede the answers to a template, over many draws."""
    made = [one for seed in range(60) for one in samples(scene, BAND, np.random.default_rng(seed), tasks=("avqa",))]
    return {one.target.partition(" So the answer is")[0] for one in made if one.template == template}


@pytest.mark.parametrize("template", ["sounds_first", "what_at", "sounds_with", "appears_first", "where_loudest"])
def test_ambiguous_questions_are_not_asked(scenes: list[Scene], template: str) -> None:
    level = labels_of(
        [
            seen("dog", 0, 10, "left", sounding=True),
            seen("violin", 0, 10, "left", sounding=True),
            seen("cup", 0, 9, "several", 2),
        ],
        [heard("dog", 0, 5, 0.0, "several"), heard("violin", 0, 10, -6.0, "left"), heard("bell", 0, 9, -12.0)],
    )
    for seed in range(50):
        asked_for = samples(scenes[0], level, np.random.default_rng(seed))
        assert template not in {sample.template for sample in asked_for}


def test_a_scene_without_anything_can_be_asked(scenes: list[Scene]) -> None:
    made = samples(scenes[0], NOTHING, np.random.default_rng(0))
    targets = {sample.task: sample.target for sample in made}
    assert targets["ave"].endswith("the audible and visible event in the video is <event> none </event>.")
    assert targets["avvp"] == "<visual_event> none </visual_event> and <audio_event> none </audio_event>."
    assert "Nothing is heard." in targets["avcap"]


def test_every_target_is_read_back(scenes: list[Scene], made: list[list[Sample]]) -> None:
    canvas = Canvas(duration_s=10.0)
    for sample in (sample for of_scene in made for sample in of_scene if sample.task == "avqa"):
        reading = TASKS["avqa"].load().read(sample.target, canvas)
        assert reading.problems == ()
        assert reading.answer is not None
        assert reading.answer.text == sample.answer


def test_event_targets_hold_the_tables(scenes: list[Scene], made: list[list[Sample]]) -> None:
    for scene, of_scene in zip(scenes[:500], made, strict=False):
        labels = label(scene)
        found = {sample.task: sample.target for sample in of_scene}
        canvas = Canvas(duration_s=float(scene.seconds), seconds=scene.seconds)
        parsed = TASKS["avvp"].load().read(found["avvp"], canvas)
        located = TASKS["ave"].load().read(found["ave"], canvas)
        assert parsed.problems == located.problems == ()
        assert np.array_equal(table(parsed.events, "audio", scene.seconds), labels.audible)
        assert np.array_equal(table(parsed.events, "visual", scene.seconds), labels.visible)
        assert np.array_equal(table(located.events, "both", scene.seconds), labels.audible & labels.visible)


def table(events: Iterable[Event], track: str, seconds: int) -> np.ndarray:
    rows = np.zeros((len(CLASS_INDEX), seconds), bool)
    for event in events:
        if event.track == track:
            rows[CLASS_INDEX[event.label], int(event.start_s) : int(event.end_s)] = True
    return rows


def test_a_caption_names_everything(scenes: list[Scene], made: list[list[Sample]]) -> None:
    for scene, of_scene in zip(scenes[:300], made, strict=False):
        caption = next(sample.target for sample in of_scene if sample.task == "avcap")
        for actor in scene.actors:
            if (actor.seen and len(actor.figures) == 1) or actor.heard:
                assert actor.name in caption
        assert "{" not in caption


@pytest.mark.parametrize("template", YES_NO)
def test_yes_and_no_are_alike(made: list[list[Sample]], template: str) -> None:
    answer, share, count = template_majorities(sample for of_scene in made for sample in of_scene)[template]
    assert answer in ("yes", "no")
    assert count >= 200
    assert share <= 0.60


@pytest.mark.parametrize(
    ("template", "most"),
    [
        ("sounds_count", 0.50),
        ("things_count", 0.45),
        ("kinds_count", 0.45),
        ("count_of", 0.50),
        ("kinds_sounding", 0.50),
        ("sounding_count", 0.50),
        ("silent_count", 0.50),
        ("where", 0.42),
        ("where_loudest", 0.42),
        ("where_first", 0.42),
        ("when_seen", 0.40),
    ],
)
def test_no_count_and_no_place_is_usual(made: list[list[Sample]], template: str, most: float) -> None:
    _, share, count = template_majorities(sample for of_scene in made for sample in of_scene)[template]
    assert count >= 500
    assert share <= most


def test_every_template_is_asked(made: list[list[Sample]]) -> None:
    assert set(ASKS) == set(PHRASINGS)
    assert {sample.template for of_scene in made for sample in of_scene} == {*ASKS, "ave", "avvp", "avcap"}


def test_reasoning_is_short(made: list[list[Sample]]) -> None:
    words = [len(sample.target.split()) for of_scene in made for sample in of_scene if sample.task == "avqa"]
    assert max(words) <= 70
    assert np.mean(words) <= 21


@pytest.mark.parametrize("template", PHRASINGS)
def test_phrasings_are_many_and_different(template: str) -> None:
    texts = PHRASINGS[template].texts
    assert 6 <= len(texts) == len(set(texts))


def test_training_never_sees_the_held_out_phrasing(scenes: list[Scene]) -> None:
    shapes = {template: pattern(phrasings.texts[-1]) for template, phrasings in PHRASINGS.items()}
    for scene in scenes[:200]:
        for hold in (False, True):
            for sample in samples(scene, label(scene), np.random.default_rng(0), held_out=hold, tasks=("avqa",)):
                assert bool(shapes[sample.template].fullmatch(str(sample.question))) is hold


def pattern(text: str) -> re.Pattern[str]:
    words = re.sub(r"\\\{.*?\\\}", "[a-z ]+?", re.escape(text.rstrip("?.")))
    return re.compile(rf"{words}[?.]?", re.IGNORECASE)


def test_holding_out_changes_only_the_words(scenes: list[Scene]) -> None:
    labels = label(scenes[3])
    plain = samples(scenes[3], labels, np.random.default_rng(1))
    held = samples(scenes[3], labels, np.random.default_rng(1), held_out=True)
    questions = [sample for sample in plain if sample.task == "avqa"]
    assert [sample.target for sample in questions] == [sample.target for sample in held if sample.task == "avqa"]


def test_direct_questions_have_no_reasoning(scenes: list[Scene]) -> None:
    for sample in samples(scenes[1], label(scenes[1]), np.random.default_rng(1), tasks=("avqa",), direct=1.0):
        assert sample.target == f"<answer> {sample.answer} </answer>."
        assert f"briefly: {sample.question}" in sample.prompt.parts[-1].text


@pytest.mark.parametrize("task", TEXT_TASKS)
def test_only_the_wanted_tasks_are_asked(scenes: list[Scene], task: str) -> None:
    made = samples(scenes[2], label(scenes[2]), np.random.default_rng(1), tasks=(task,))
    assert {sample.task for sample in made} == {task}
    assert all((sample.question is not None) == (task == "avqa") for sample in made)


def test_the_same_generator_gives_the_same_texts(scenes: list[Scene], made: list[list[Sample]]) -> None:
    again = [samples(scene, label(scene), np.random.default_rng(scene.index)) for scene in scenes[:50]]
    assert again == made[:50]


def test_a_description_depends_on_the_scene_alone(scenes: list[Scene]) -> None:
    described = describe(scenes[4], label(scenes[4]))
    assert describe(Scene.from_dict(scenes[4].to_dict()), label(scenes[4])) == described
    assert json.loads(json.dumps(described)) == described
    assert set(described) == {"qa", "ave", "avvp", "caption"}
    assert described != describe(scenes[5], label(scenes[5]))
