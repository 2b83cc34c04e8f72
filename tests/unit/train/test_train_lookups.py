"""Facts that the state at a name must hold: which ones and of whom, and that a run learns them and leaves no trace."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crab_core.train.batches import LanguageBatches
from crab_core.train.features import Features
from crab_core.train.lookups import CHOICES, MEASURES, PLACES, Facts, Lookups, facts_of_clip, facts_of_second
from crab_core.train.packing import Row, Text, pack
from crab_core.train.pool import PoolPlan, open_pool
from crab_core.train.targets import THINGS
from crab_core.world.labels import label
from crab_core.world.moments import sights

NOTHING = list(CHOICES.values())


def told(facts: Facts, name: str) -> dict[str, int]:
    return dict(zip(CHOICES, map(int, facts.choices[THINGS.index(name)]), strict=True))


def test_facts_of_a_clip_are_those_of_its_labels() -> None:
    plan = PoolPlan("train", 30, 0, 0.4)
    for number in range(plan.clips):
        labels = label(plan.scene(number))
        facts = facts_of_clip(labels)
        for seen in labels.seen:
            own = told(facts, seen.name)
            assert (own["first_seen"], own["last_seen"]) == (seen.start_s, seen.end_s - 1)
            assert PLACES[own["place"]] == seen.place and own["count"] == min(seen.count, 3) - 1
        for heard in labels.heard:
            own = told(facts, heard.name)
            assert (own["first_heard"], own["last_heard"]) == (heard.start_s, heard.end_s - 1)
            assert ("loud", "medium", "soft")[own["level"]] == heard.level
        there = {one.name for one in (*labels.seen, *labels.heard)}
        assert set(facts.present()) == there
        assert all(list(told(facts, name).values()) == NOTHING for name in THINGS if name not in there)
        assert np.isnan(facts.measures[:, 1:]).all(), "boxes are of single pictures"
        assert (~np.isnan(facts.measures[:, 0])).sum() == len(labels.heard)


def test_facts_of_a_second_are_what_is_seen_and_heard_in_it(tmp_path: Path) -> None:
    plan = PoolPlan("train", 6, 0, 0.4)
    pool = open_pool(plan, tmp_path)
    boxed = silent = 0
    for number in range(plan.clips):
        scene = plan.scene(number)
        for second in range(scene.seconds):
            shown = sights(scene, second, pool.maps[number, second])
            facts = facts_of_second(label(scene), second, shown)
            for one in shown:
                assert told(facts, one.name)["first_seen"] == 0
                assert (told(facts, one.name)["first_heard"] == 0) == one.sounds
                silent += not one.sounds
                box = facts.measures[THINGS.index(one.name), 1:]
                if sum(other.name == one.name for other in shown) == 1:
                    boxed += 1
                    assert np.allclose(box * 100, one.box, atol=1e-4)
                else:
                    assert np.isnan(box).all() and told(facts, one.name)["count"] > 0
            hidden = [name for name in THINGS if name not in {one.name for one in shown}]
            assert all(told(facts, name)["place"] == len(PLACES) for name in hidden)
    assert boxed > 20 and silent > 5


@torch.no_grad()
def test_the_loss_of_a_guess_is_the_logarithm_of_the_choices_and_parts_add_up() -> None:
    torch.manual_seed(0)
    lookups = Lookups(16)
    torch.nn.init.zeros_(lookups.head.weight)
    torch.nn.init.zeros_(lookups.head.bias)
    facts = Facts()
    facts.see(THINGS[3], 2, 4, "left", 1)
    facts.hear(THINGS[3], 0, 9, "soft", -12.0)
    batch = {
        "names": torch.tensor([[-1, 3, 5, -1], [3, -1, -1, -1]]),
        "choices": torch.from_numpy(facts.choices)[None].repeat(2, 1, 1),
        "measures": torch.from_numpy(facts.measures)[None].repeat(2, 1, 1),
    }
    totals = lookups.counts(**batch)
    assert totals == {"names": 3, "measures": 2}
    states = torch.randn(2, 4, 16)
    whole = lookups(states, **batch, totals=totals)
    guessed = sum(math.log(count + 1) for count in CHOICES.values())
    off = 10.0 * (1.2 - 0.05)  # smooth L1 of a level of -12 dB told as 0, in units of 10 dB
    assert float(whole["lookup_loss"]) == pytest.approx(guessed + off, rel=1e-5)
    torch.nn.init.normal_(lookups.head.weight)
    together = float(lookups(states, **batch, totals=totals)["lookup_loss"])
    parts = [
        float(
            lookups(states[at : at + 1], **{k: v[at : at + 1] for k, v in batch.items()}, totals=totals)["lookup_loss"]
        )
        for at in (0, 1)
    ]
    assert sum(parts) == pytest.approx(together, rel=1e-5)
    assert len(MEASURES) == batch["measures"].shape[-1]


def test_a_head_begins_by_reading_what_stands_there() -> None:
    torch.manual_seed(0)
    lookups = Lookups(16)
    directions = torch.randn(len(THINGS), 16)
    told = Facts()
    told.see(THINGS[3], 2, 4, "left", 1)
    told.hear(THINGS[3], 0, 9, "soft", -12.0)
    names = torch.tensor([[3, 5, -1, 3, 7]])
    facts = {
        "names": names,
        "choices": torch.from_numpy(told.choices)[None],
        "measures": torch.from_numpy(told.measures)[None],
    }
    states = directions[names.clamp_min(0)]
    totals = lookups.counts(**facts)
    lookups.fit([(states, facts), (states, facts)])
    with torch.no_grad():
        fitted = lookups(states, **facts, totals=totals)
    assert float(fitted["facts_right"]) == 1.0 and float(fitted["lookup_loss"]) < 0.1  # a guess costs 13
    weights = lookups.head.weight.clone()
    lookups.fit([(states, facts), (states, facts)])
    assert torch.equal(weights, lookups.head.weight), "what it begins with is a function of what it is given"
    lookups.fit([(states, {**facts, "names": torch.full_like(names, -1)})])
    assert torch.equal(weights, lookups.head.weight), "nothing is named, nothing is learnt"


def test_rows_hold_names_of_their_own_and_the_facts_of_all_that_they_name(tiny_run: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    from crab_core.train.lookups import named_by_token, names_as_tokens
    from crab_core.train.network import read_model
    from crab_core.train.settings import Stage
    from crab_core.train.texts import RowMaker

    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_run / "model")
    plan = PoolPlan("train", 4, 0, 0.0)
    scenes = [plan.scene(number) for number in range(plan.clips)]
    model, maps = read_model(tiny_run / "model"), np.zeros((4, 10, 56, 56), np.uint8)
    names = names_as_tokens(tokenizer)

    def maker(**settings: float) -> RowMaker:
        stage = Stage("x", "language", 1, train=("llm",), samples=2, tasks={"avqa": 1.0}, **settings)  # type: ignore[arg-type]
        return RowMaker(tokenizer, model, scenes, maps, stage)

    def row_of(**settings: float) -> Row:
        return maker(**settings)(1, None, np.random.default_rng(3))

    features = Features(torch.zeros(4, 10, 6, 192), torch.zeros(4, 10, 2, 192))
    seconds = np.array([scene.seconds for scene in scenes])
    (plain,) = LanguageBatches(features, seconds, maker(), 0).pieces([0, 1, 2], [range(3)])
    assert plain["lookups"] == {}
    asking = maker(lookup_weight=1.0, lookups=9)
    (asked,) = LanguageBatches(features, seconds, asking, 0, names=named_by_token(tokenizer)).pieces(
        [0, 1, 2], [range(3)]
    )
    lookups = asked["lookups"]
    assert "recalled" not in lookups, "only where it is learnt"
    for ids, named in zip(asked["ids"], lookups["names"], strict=True):
        for token, number in zip(ids.tolist(), named.tolist(), strict=True):
            assert number == names.get(token, -1)
            if number >= 0:
                assert re.match(THINGS[number][:3], tokenizer.decode([token]).strip())
        assert len(set(named[named >= 0].tolist())) >= 5, "most of nine names are single tokens"
    row, bare = row_of(lookup_weight=1.0, lookups=9), row_of()
    kept = len(bare.texts)
    assert row.texts[:kept] == bare.texts and bare.facts is None and row.facts is not None
    alone = row.texts[kept:]
    assert 5 <= len(alone) <= 9 and all(len(one.prompt) == 1 and not one.target for one in alone)
    named_alone = {THINGS[names[one.prompt[0]]] for one in alone}
    assert {name for name in row.facts.present() if len(tokenizer.tokenize(f" {name}")) == 1} <= named_alone


def test_a_value_recalls_the_last_name_of_its_own_text() -> None:
    from crab_core.train.lookups import REACH, recalled

    name, other, word, value = 7, 8, 5, 6
    # the name, a word, a value of it, the other name and at once a value of that
    told_twice = Text((word,), (name, word, value, other, value), values=(2, 4))
    # a text that names nothing right behind one that does, and one whose name is too far before its value
    nameless = Text((word,), (value,), values=(0,))
    far = Text((name,), (*[word] * REACH, value, value), values=(REACH, REACH + 1))
    packed = pack([Row((word,), (told_twice, nameless)), Row((word,), (far,))])
    named = torch.full_like(packed.ids, -1)
    named[packed.ids == name], named[packed.ids == other] = 3, 4
    first, second = recalled(named, packed).tolist()
    #              prefix  prompt  name  word  value  other  value  prompt  value  padding
    assert first == [-1, -1, -1, 3, -1, 4, -1, -1, -1, -1], "before each value stands of whom it is told"
    assert second == [-1, *[-1] * REACH, 3, -1, -1], "the nearer value only"


@pytest.mark.parametrize("recalls", [{}, {"recall_weight": 0.5, "recall_layer": 1}], ids=["names", "and values"])
def test_a_run_learns_facts_and_leaves_no_head_in_the_model(
    recalls: dict[str, float], tiny_config: Path, tmp_path: Path
) -> None:
    import yaml
    from safetensors import safe_open

    from crab_core.train.loop import run

    document = yaml.safe_load(tiny_config.read_text())
    (language,) = [one for one in document["stages"] if one["kind"] == "language"][:1]
    document["stages"] = [{**language, "lookup_weight": 1.0, "lookup_layer": 1, "steps": 6, "save_every": 3, **recalls}]
    config = tmp_path / "lookups.yaml"
    config.write_text(yaml.safe_dump(document))
    folder = run(config, out=tmp_path / "run")
    with safe_open(folder / "model.safetensors", "pt") as stored:
        assert not [name for name in stored.keys() if "lookup" in name or "recall" in name]  # noqa: SIM118  # no mapping
    again = run(config, out=tmp_path / "again")
    assert folder.joinpath("model.safetensors").read_bytes() == again.joinpath("model.safetensors").read_bytes()


def test_heads_are_fitted_once_and_not_where_a_run_goes_on(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    import yaml

    from crab_core.train.language import LanguageStage
    from crab_core.train.loop import run

    fitted: list[int] = []

    def counting(self: LanguageStage, batches: Any, fit: Any = LanguageStage.fit_heads) -> None:
        fitted.append(1)
        fit(self, batches)

    monkeypatch.setattr(LanguageStage, "fit_heads", counting)
    document = yaml.safe_load(tiny_config.read_text())
    (language,) = [one for one in document["stages"] if one["kind"] == "language"][:1]
    document["stages"] = [{**language, "lookup_weight": 1.0, "lookup_layer": 1, "steps": 4, "until": 4}]
    config, out = tmp_path / "fit.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(document))
    whole = run(config, out=out).joinpath("model.safetensors").read_bytes()
    assert len(fitted) == 1
    shutil.rmtree(out / "model")
    assert run(config, out=out).joinpath("model.safetensors").read_bytes() == whole
    assert len(fitted) == 1, "the checkpoint has them"


def test_new_layers_below_an_llm_change_nothing_until_they_learn(tiny_run: Path) -> None:
    from crab_core.train.network import add_ilora, deepen, read_model

    model = read_model(tiny_run / "words").eval()
    deeper = deepen(model, 2).eval()
    assert len(deeper.llm.model.layers) == len(model.llm.model.layers) + 2 == deeper.config.llm["num_hidden_layers"]
    ids = torch.arange(2, 30)[None]
    with torch.no_grad():
        assert torch.allclose(deeper.llm(ids).logits, model.llm(ids).logits, atol=1e-6)
        inside = deepen(deeper, 1, above=1).eval()
        assert torch.allclose(inside.llm(ids).logits, model.llm(ids).logits, atol=1e-6)
        assert [bool(one.mlp.down_proj.weight.any()) for one in inside.llm.model.layers] == [False, False, False, True]
    deeper.llm(ids, labels=ids).loss.backward()
    lowest = deeper.llm.model.layers[0]
    assert lowest.self_attn.o_proj.weight.grad.abs().sum() > 0 and lowest.mlp.down_proj.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="I-LoRA"):
        deepen(add_ilora(model, {"heads": 2, "rank": 2, "alpha": 4.0, "dropout": 0.0}), 1)


def named_batch(width: int) -> dict[str, Any]:
    """Two rows without media: token 7 names a class, token 8 is where a value of it is told next."""
    packed = pack([Row((5, 6), (Text((7,), (8, 9)),)), Row((5,), (Text((7,), (8,)),))])
    facts = Facts()
    return {
        "seen": torch.zeros(2, 10, 6, width),
        "heard": torch.zeros(2, 10, 2, width),
        "in_sight": torch.zeros(2, 10, dtype=torch.bool),
        "in_earshot": torch.zeros(2, 10, dtype=torch.bool),
        "numbers": torch.zeros(2, 10, dtype=torch.long),
        "masks": {},
        "lookups": {
            "names": torch.where(packed.ids == 7, 3, -1),
            "recalled": torch.where(packed.ids == 8, 3, -1),
            "choices": torch.from_numpy(facts.choices)[None].repeat(2, 1, 1),
            "measures": torch.from_numpy(facts.measures)[None].repeat(2, 1, 1),
        },
        **packed.to_dict(),
    }


def test_new_layers_pay_for_what_they_change(tiny_run: Path) -> None:
    from crab_core.train.language import LanguageStage
    from crab_core.train.network import deepen, read_model

    model = deepen(read_model(tiny_run / "words"), 1)
    stage = LanguageStage(model, projected=True, lookup_weight=1.0, lookup_layer=1, change_weight=2.0).eval()
    batch = named_batch(model.config.vl.out_width)
    totals = stage.counts(batch)
    assert totals["positions"] == 5 + 3, "padding does not count"
    with torch.no_grad():
        before = stage(**batch, totals=totals)
        assert float(before["change"]) == 0.0
        model.llm.model.layers[0].mlp.down_proj.weight.normal_()
        after = stage(**batch, totals=totals)
        free = LanguageStage(model, projected=True, lookup_weight=1.0, lookup_layer=1).eval()
        free.lookups.load_state_dict(stage.lookups.state_dict())
        unpaid = free(**batch, totals=totals)
    assert float(after["change"]) > 0.1
    assert float(after["loss"] - unpaid["loss"]) == pytest.approx(2.0 * float(after["change"]), rel=1e-4)


def test_recalled_facts_are_a_loss_of_their_own(tiny_run: Path) -> None:
    from crab_core.train.language import LanguageStage
    from crab_core.train.network import read_model

    model = read_model(tiny_run / "words")
    settings = {"projected": True, "lookup_weight": 1.0, "lookup_layer": 1}
    stage = LanguageStage(model, recall_weight=0.5, recall_layer=1, **settings).eval()  # type: ignore[arg-type]
    without = LanguageStage(model, **settings).eval()  # type: ignore[arg-type]
    without.lookups.load_state_dict(stage.lookups.state_dict())
    batch = named_batch(model.config.vl.out_width)
    totals = stage.counts(batch)
    assert totals["recalled"] == 2 and totals["names"] == 2
    with torch.no_grad():
        told, bare = stage(**batch, totals=totals), without(**batch, totals=without.counts(batch))
    assert "recall_loss" not in bare and float(told["recall_loss"]) > 0
    assert float(told["loss"] - bare["loss"]) == pytest.approx(0.5 * float(told["recall_loss"]), rel=1e-3)


def test_a_stage_deepens_the_llm_once_also_if_it_is_resumed(tiny_config: Path, tmp_path: Path) -> None:
    import json
    import shutil

    import yaml

    from crab_core.train.loop import run

    document = yaml.safe_load(tiny_config.read_text())
    (language,) = [one for one in document["stages"] if one["kind"] == "language"][:1]
    first = {**language, "until": None, "steps": 1}
    second = {
        **language,
        "name": "deeper",
        "deepen": 1,
        "lookup_weight": 1.0,
        "steps": 4,
        "until": None,
        "save_every": 2,
    }
    document["stages"] = [first, second]
    config = tmp_path / "deeper.yaml"
    config.write_text(yaml.safe_dump(document))
    folder = run(config, out=tmp_path / "run")
    assert json.loads(folder.joinpath("crab.json").read_text())["config"]["llm"]["num_hidden_layers"] == 2
    whole = folder.joinpath("model.safetensors").read_bytes()
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "model")
    steps = sorted((tmp_path / "cut").glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    assert len(steps) == 1, "one checkpoint is kept, of the last step"
    again = run(config, out=tmp_path / "cut")
    assert again.joinpath("model.safetensors").read_bytes() == whole


def test_the_plan_counts_new_layers_in_their_stage_and_behind_it(tiny_config: Path) -> None:
    from crab_core.config import load_config
    from crab_core.train.estimate import plans
    from crab_core.train.settings import TrainSettings

    before = plans(load_config(TrainSettings, tiny_config, []))
    after = plans(load_config(TrainSettings, tiny_config, ["stages.2.deepen=2"]))
    a_layer = 4 * 16**2 + 3 * 16 * 24 + 2 * 16
    assert after[2].learning == before[2].learning + 2 * a_layer
    a_head = after[4].learning - before[4].learning - 2 * a_layer
    assert a_head > 0, "the adapter is on the new layers, too"
    assert [one.learning for one in after[:2]] == [one.learning for one in before[:2]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"lookup_weight": 1, "lookup_layer": 99}, "lookup_layer must be at most", id="no such layer"),
        pytest.param(
            {"lookup_weight": 1, "lookup_layer": 1, "recall_weight": 1, "recall_layer": 99},
            "recall_layer must be at most",
            id="no such layer to recall at",
        ),
        pytest.param({"deepen": 1, "deepen_above": 99}, "deepen_above must be at most", id="no such place"),
        pytest.param({"ilora": {"heads": 2}, "deepen": 1}, "an I-LoRA gets no new layers", id="below its own adapter"),
    ],
)
def test_layers_that_cannot_be_are_told_before_anything_loads(
    tiny_config: Path, settings: dict[str, object], message: str
) -> None:
    import json

    from crab_core.config import load_config
    from crab_core.errors import ConfigError
    from crab_core.train.settings import TrainSettings

    stages = load_config(TrainSettings, tiny_config, []).stages
    at = next(number for number, stage in enumerate(stages) if stage.kind == "language")
    with pytest.raises(ConfigError, match=message):
        load_config(
            TrainSettings, tiny_config, [f"stages.{at}.{key}={json.dumps(value)}" for key, value in settings.items()]
        )
