"""What single routers tell about the task, on rows whose truth is known by construction."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crab_core.engine.heads_row import HeadRow
from crab_core.evaluate.heads import specialisation
from crab_core.evaluate.heads_routers import router_specialisation
from crab_core.evaluate.heads_statistics import statistics

NAMES = ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj")


def row(clip, task, by_router, even_cost=None):
    shares = tuple(np.mean(by_router, axis=0).tolist())
    each = tuple(map(tuple, by_router))
    return HeadRow(clip, task, None, "", "", "used", {"all": shares}, (), (), even_cost, NAMES, {"all": each})


def opposite(clips=8, noise=0.0, tasks=("ave", "avqa")):
    """Two routers whose heads stand for the tasks, but in opposite order."""
    random = np.random.default_rng(0)
    rows = []
    for clip in range(clips):
        for number, task in enumerate(tasks):
            part = 0.9 - 0.8 * number + random.normal(0, noise)
            rows.append(row(str(clip), task, [(part, 1 - part), (1 - part, part)]))
    return rows


def test_the_mean_over_routers_hides_what_each_of_them_tells():
    rows = opposite()
    assert specialisation(rows).bits.value == pytest.approx(0, abs=1e-9)
    found = router_specialisation(rows)
    entropy = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    assert found.each == pytest.approx([1 - entropy] * 2)
    assert found.bits.value == pytest.approx(1 - entropy)
    assert found.p < 0.05 and found.chance < 0.2 and found.most == 1
    assert found.routers == NAMES and found.best[1] == pytest.approx(1 - entropy)


def test_routers_that_all_tasks_use_alike_tell_nothing():
    same = [row(str(clip), task, [(0.9, 0.1), (0.2, 0.8)]) for clip in range(6) for task in ("ave", "avqa")]
    found = router_specialisation(same)
    assert found.bits.value == pytest.approx(0, abs=1e-9) and found.p == 1


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="nothing"),
        pytest.param(opposite(tasks=("ave",)), id="one-task"),
        pytest.param([row("a", task, [(1.0,), (1.0,)]) for task in ("ave", "avqa")], id="one-head"),
        pytest.param([HeadRow("a", t, None, "", "", "used", {"all": (1.0, 0.0)}) for t in "xy"], id="no-router"),
    ],
)
def test_where_there_is_nothing_to_tell_apart(rows):
    assert router_specialisation(rows) is None
    assert statistics(rows)["by_router"] == {}


def test_statistics_have_the_table_of_routers():
    told = json.loads(json.dumps(statistics(opposite(noise=0.02)), allow_nan=False))["by_router"]["all"]
    assert (told["layers"], told["projections"]) == ([0, 1], ["q_proj"])
    assert np.shape(told["each"]) == (2, 1)
    assert told["best"] == pytest.approx(np.max(told["each"]), abs=1e-4)
    assert told["bits"]["low"] <= told["bits"]["value"] <= told["bits"]["high"]


def test_the_cost_of_even_shares_is_a_mean_over_the_answers_that_have_one():
    rows = [
        row("a", "ave", [(1.0, 0.0)] * 2, 0.1),
        row("b", "ave", [(1.0, 0.0)] * 2, 0.3),
        row("c", "ave", [(1.0, 0.0)] * 2),
    ]
    (found,) = statistics(rows)["even_cost"]
    assert found["task"] == "ave" and found["heads"][0]["value"] == pytest.approx(0.2)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 4), st.integers(1, 3), st.integers(0, 99))
def test_the_mean_over_routers_never_tells_more_than_they_do(heads, tasks, seed):
    """Mutual information is convex in the shares, so averaging can only lose."""
    random = np.random.default_rng(seed)
    names = [str(task) for task in range(tasks + 1)]
    rows = [row(str(c), task, random.dirichlet(np.ones(heads), 2).tolist()) for c in range(3) for task in names]
    assert specialisation(rows).bits.value <= router_specialisation(rows).bits.value + 1e-9
