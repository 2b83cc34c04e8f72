"""`crab visualize-heads --drop-head N --only-head N`: further rows of the ablation table for named heads."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_family import write_clip
from tiny_crab import write_tiny

from crab_core.engine.heads import HeadOptions
from crab_core.engine.session import load
from crab_core.errors import UsageError
from crab_core.families._base import MASK_LOGITS
from crab_core.families.crab_network import CrabNetwork
from crab_core.types import Decoding

EVERY = (1, 2, 3)
SHORT = Decoding(max_new_tokens=6)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def bark(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "bark.mp4")


@pytest.fixture(scope="module")
def seen(tiny, bark):
    return load(tiny, device="cpu").look(bark)


@pytest.fixture
def heads(crab, tiny, bark, tmp_path: Path):
    words = ("-o", tmp_path / "out", "-m", tiny, "--device", "cpu", "--max-new-tokens", 6)
    return lambda *more: crab("visualize-heads", bark, *more, *words)


def named(flag, heads):
    return [word for head in heads for word in (flag, head)]


def values(one):
    return {key: one[key] for key in one if key not in ("name", "is_asked")}


def test_the_heads_named_together_are_one_further_row(heads, tmp_path: Path) -> None:
    said = heads("Who?", "--drop-head", 2, "--drop-head", 1, "--only-head", 1, "--only-head", 3, "--only-head", 3)
    assert (said.code, said.out) == (0, f"{tmp_path / 'out' / 'heads.html'}\n")
    rows = json.loads((tmp_path / "out" / "heads.json").read_text(encoding="utf-8"))["ablations"]
    by_name = {one["name"]: one for one in rows}
    assert len(rows) == 12
    assert [(one["name"], one["heads"]) for one in rows if one["is_asked"]] == [
        ("asked: without heads 1, 2", [2]),
        ("asked: only heads 1, 3", [0, 2]),
    ]
    assert values(by_name["asked: without heads 1, 2"]) == values(by_name["only head 3"])
    assert values(by_name["asked: only heads 1, 3"]) == values(by_name["without head 2"])
    whole = rows[0]["log_probability"]
    lines = said.err.splitlines()
    header = next(line for line in lines if line.startswith("heads "))
    assert header.split() == ["heads", "log-probability", "change", "answer"]
    for one in rows:  # the terminal's table has every row
        line = next(line for line in lines if line.startswith(f"{one['name']}  "))
        change = f"{one['log_probability'] - whole:+.2f}"
        assert line.removeprefix(one["name"]).split()[:2] == [f"{one['log_probability']:.2f}", change]
    page = (tmp_path / "out" / "heads.html").read_text(encoding="utf-8")
    assert all(f"<td>{one['name']}</td>" in page for one in rows)


def test_without_the_usual_rows_only_those_asked_for_are_answered(heads) -> None:
    said = heads("Who?", "--no-ablate", "--drop-head", 3, "--json", "-q")
    rows = json.loads(said.out)["ablations"]
    assert [one["name"] for one in rows] == ["all heads", "asked: without head 3"]
    assert (rows[1]["heads"], said.err) == ([0, 1], "")


def test_only_all_heads_is_the_whole_model_and_without_all_is_no_head(heads) -> None:
    said = heads("Who?", *named("--only-head", EVERY), *named("--drop-head", EVERY), "--json")
    rows = {one["name"]: one for one in json.loads(said.out)["ablations"]}
    assert values(rows["asked: only heads 1, 2, 3"]) == values(rows["all heads"])
    assert values(rows["asked: without heads 1, 2, 3"]) == values(rows["no head"])


def test_without_all_heads_the_adapter_is_off(seen) -> None:
    inside = seen.model.network.inside()
    layers = [module for module in inside.decoder.modules() if hasattr(module, "ilora_router")]
    assert layers
    options = HeadOptions(ablate=False, drop_heads=(0, 1, 2), only_heads=(0, 1, 2))
    whole, dropped, kept = seen.heads("Who?", options=options, decoding=SHORT).ablations
    for layer in layers:
        layer.enable_adapters(False)
    try:
        bare = seen.ask("Who?", decoding=SHORT)
    finally:
        for layer in layers:
            layer.enable_adapters(True)
    assert dropped.raw_text == bare.raw_text != whole.raw_text
    assert replace(kept, name=whole.name, is_asked=False) == whole


@pytest.mark.parametrize("some", [some for size in (1, 2) for some in itertools.combinations(range(3), size)], ids=str)
def test_to_keep_some_is_to_drop_the_others(seen, some) -> None:
    others = tuple({0, 1, 2} - set(some))
    options = HeadOptions(method="share", ablate=False, drop_heads=others, only_heads=some)
    whole, dropped, kept = seen.heads("Who?", options=options, decoding=SHORT).ablations
    assert (dropped.heads, kept.heads) == (some, some)
    assert (dropped.raw_text, dropped.log_probability) == (kept.raw_text, kept.log_probability)
    assert kept.log_probability != whole.log_probability


def test_events_and_masks_stand_beside_those_of_the_whole_model(heads, monkeypatch) -> None:
    """The network writes and draws something else in each of its answers."""
    usual, count = CrabNetwork.generate, itertools.count(1)

    def write(*given, **named):
        found, turn = usual(*given, **named), next(count)
        logits = np.full((1, 4, 4), -5.0, np.float32)
        logits[0, :, :turn] = 5.0
        text = f"<visual_event>dog,(0 {turn})</visual_event> <audio_event>none</audio_event>"
        return replace(found, text=text, extras={MASK_LOGITS: logits})

    monkeypatch.setattr(CrabNetwork, "generate", write)
    said = heads("--task", "avvp", "--no-ablate", "--drop-head", 1, "--only-head", 2, "--json")
    rows = json.loads(said.out)["ablations"]
    found = [[(one["label"], one["start_s"], one["end_s"], one["track"]) for one in row["events"]] for row in rows]
    assert found == [[("dog", 0.0, turn, "visual")] for turn in (1.0, 2.0, 3.0)]
    assert [row["mask_iou"] for row in rows] == pytest.approx([1, 1 / 2, 1 / 3])
    assert next(line for line in said.err.splitlines() if line.startswith("heads ")).split()[-2:] == [
        "answer",
        "events",
    ]
    told = next(line for line in said.err.splitlines() if line.startswith("asked: only head 2 "))
    assert "0.33" in told and told.endswith("dog 0-3 s (seen)")


def test_events_of_a_long_clip_are_in_its_own_seconds(crab, tiny, tmp_path: Path, monkeypatch) -> None:
    usual = CrabNetwork.generate
    text = "<visual_event>dog,(0 4)</visual_event> <audio_event>none</audio_event>"
    monkeypatch.setattr(CrabNetwork, "generate", lambda *given, **named: replace(usual(*given, **named), text=text))
    clip = write_clip(tmp_path / "long.mp4", seconds=20)
    words = ("-o", tmp_path / "out", "-m", tiny, "--device", "cpu", "--max-new-tokens", 2)
    said = crab("visualize-heads", clip, "--task", "avvp", "--no-ablate", "--only-head", 1, "--json", *words)
    document = json.loads(said.out)
    events = document["result"]["events"]
    assert [(one["start_s"], one["end_s"]) for one in events] == [(0, 8)]
    assert [row["events"] for row in document["ablations"]] == [events, events]


@pytest.mark.parametrize("flag", ["--drop-head", "--only-head"])
@pytest.mark.parametrize("head", [0, 4, -1])
def test_a_head_that_is_none(heads, tmp_path: Path, flag, head) -> None:
    said = heads("Who?", flag, 1, flag, head)
    assert said.code == 2
    assert f"{flag} '{head}'" in said.err
    assert "1 to 3" in said.err
    assert not (tmp_path / "out").exists()


def test_a_word_is_no_head(heads) -> None:
    said = heads("Who?", "--drop-head", "first")
    assert (said.code, "'first'" in said.err) == (2, True)


def test_of_one_head_only_that_can_be_named(crab, bark, tmp_path: Path) -> None:
    one = write_tiny(tmp_path / "one", heads=1)
    said = crab("visualize-heads", bark, "Who?", "--drop-head", 2, "-m", one, "-o", tmp_path / "out")
    assert (said.code, "has one head, 1" in said.err) == (2, True)


@pytest.mark.parametrize("flag", ["--drop-head", "--only-head"])
def test_many_clips_have_no_such_rows(crab, tiny, bark, tmp_path: Path, flag) -> None:
    said = crab("visualize-heads", bark.parent, "Who?", flag, 1, "-m", tiny, "-o", tmp_path / "out")
    assert (said.code, f"{flag} is for one clip" in said.err) == (2, True)


@pytest.mark.parametrize("options", [{"drop_heads": (3,)}, {"only_heads": (-1,)}], ids=str)
def test_from_python_heads_are_counted_from_0(seen, options) -> None:
    with pytest.raises(UsageError, match="0 to 2"):
        seen.heads("Who?", options=HeadOptions(**options), decoding=SHORT)
