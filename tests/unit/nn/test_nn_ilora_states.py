"""Adapter tensors: our keys, the published keys, and what the shapes tell."""

import pytest
import torch
from torch import nn

from crab_core.errors import ModelError, UsageError, WeightsMismatch
from crab_core.nn.ilora import adapter_state, from_published, inject, load_adapter_state, shape_of, to_published


def host(heads=3, rank=2, device="cpu") -> nn.ModuleDict:
    with torch.device(device):
        module = nn.ModuleDict({"q_proj": nn.Linear(8, 6), "up_proj": nn.Linear(8, 10)})
        inject(module, heads=heads, rank=rank, alpha=4)
    return module


def published(heads=3, rank=2) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = {}
    for name, out in (("q_proj", 6), ("up_proj", 10)):
        state[f"{name}.lora_route.weight"] = torch.randn(heads, 8)
        state[f"{name}.lora_A.weight"] = torch.randn(rank, 8)
        state |= {f"{name}.lora_B{head}.weight": torch.randn(out, rank) for head in range(heads)}
    return state


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(("heads", "rank"), [(1, 8), (3, 2), (5, 4), (12, 1)])
def test_round_trip_is_exact(heads, rank):
    state = published(heads, rank) | {"model.embed_tokens.weight": torch.randn(3, 3)}
    ours = from_published(state)
    assert same(to_published(ours), state)
    assert same(from_published(ours), ours), "converting twice changes nothing"
    assert same(to_published(to_published(ours)), state)
    assert shape_of(state) == shape_of(ours) == (heads, rank)


def test_each_head_keeps_its_number():
    """With 12 heads, B10 stands before B2 in the order of the alphabet."""
    state = published(12, 1)
    module = host(12, 1)
    load_adapter_state(module, state)
    for head in range(12):
        assert torch.equal(module["q_proj"].head(head), state[f"q_proj.lora_B{head}.weight"])


@pytest.mark.parametrize("prefix", ["", "base_model.model."], ids=["bare", "peft"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_load_takes_what_adapter_state_gave(prefix, device):
    source, target = host(), host(device=device)
    load_adapter_state(source, {prefix + key: value for key, value in published().items()})
    state = adapter_state(source)
    load_adapter_state(target, state)
    assert same(adapter_state(target), state)
    assert all(p.requires_grad for name, p in target.named_parameters() if "ilora_" in name)
    assert sorted(state)[:3] == [f"q_proj.ilora_{part}.weight" for part in ("A", "B", "router")]


def test_shape_is_told_by_a_whole_state_dict_too():
    assert shape_of(host(5, 4).state_dict()) == (5, 4)


def test_keys_with_an_adapter_name_stay_as_they_are():
    state = host().state_dict()
    assert same(to_published(state), state)


def lacking(state):
    del state["q_proj.lora_A.weight"]


def unknown(state):
    state["k_proj.lora_A.weight"] = torch.zeros(2, 8)


def missing_head(state):
    del state["q_proj.lora_B1.weight"]


def other_rank(state):
    state["q_proj.lora_B1.weight"] = torch.zeros(6, 3)


def other_shape(state):
    state["q_proj.lora_A.weight"] = torch.zeros(2, 9)


@pytest.mark.parametrize(
    ("damage", "error", "named"),
    [
        (lacking, WeightsMismatch, "lacks 'q_proj.ilora_A.weight'"),
        (unknown, WeightsMismatch, "unknown 'k_proj.ilora_A.weight'"),
        (missing_head, ModelError, r"'q_proj' has the heads \[0, 2\]"),
        (other_rank, ModelError, "'q_proj' differ in shape"),
        (other_shape, ModelError, r"\(2, 9\) in the file and \(2, 8\)"),
    ],
    ids=["lacking", "unknown", "missing-head", "other-rank", "other-shape"],
)
def test_damaged_states_are_refused_and_change_nothing(damage, error, named):
    module, state = host(), published()
    before = {key: value.clone() for key, value in adapter_state(module).items()}
    damage(state)
    with pytest.raises(error, match=named):
        load_adapter_state(module, state)
    assert same(adapter_state(module), before)


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"model.norm.weight": torch.ones(2)}, "tells the heads"),
        ({"q_proj.lora_route.weight": torch.ones(3, 8)}, "tells the rank"),
        (published(3) | {"k_proj.lora_route.weight": torch.ones(5, 8)}, r"differ in heads: '\[3, 5\]'"),
    ],
    ids=["no-adapter", "no-rank", "mixed"],
)
def test_shape_of_what_is_no_adapter(state, named):
    with pytest.raises(ModelError, match=named):
        shape_of(state)


def test_published_needs_the_router_that_counts_the_heads():
    state = adapter_state(host())
    del state["q_proj.ilora_router.weight"]
    with pytest.raises(ModelError, match=r"'q_proj.ilora_B.weight' has no router"):
        to_published(state)


def test_unknown_adapter_is_named():
    with pytest.raises(UsageError, match="'second'"):
        adapter_state(host(), "second")
