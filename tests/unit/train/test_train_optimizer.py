"""Who moves which weights, and several optimizers as one: rates, steps and states are those of the parts."""

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from crab_core.train.optimizer import Muon, Together, make_optimizer, orthogonal


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = nn.Embedding(7, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.lm_head = nn.Linear(4, 7)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.lm_head(x)


def step(model: Small, optimizer: torch.optim.Optimizer) -> None:
    loss = nn.functional.cross_entropy(model(torch.arange(7)), torch.arange(7))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def made(model: Small) -> Together:
    optimizer = make_optimizer(model, "muon", rate=1e-2, matrix_rate=5e-2, weight_decay=0.1)
    assert isinstance(optimizer, Together)
    return optimizer


def test_muon_moves_the_matrices_of_layers_and_nothing_else() -> None:
    model = Small()
    adam, muon = made(model).parts
    matrices = {id(layer.weight) for layer in model.layers}
    assert {id(one) for group in muon.param_groups for one in group["params"]} == matrices
    rest = {id(one) for one in model.parameters()} - matrices
    assert {id(one) for group in adam.param_groups for one in group["params"]} == rest
    assert [group["lr"] for group in made(model).param_groups] == [1e-2, 1e-2, 5e-2]


def test_norms_and_biases_do_not_decay() -> None:
    adam = make_optimizer(Small(), "adamw", 1e-2, 1.0, weight_decay=0.1)
    decays = {one.ndim: group["weight_decay"] for group in adam.param_groups for one in group["params"]}
    assert decays == {2: 0.1, 1: 0.0}


def test_frozen_weights_are_nobodys() -> None:
    model = Small()
    model.layers.requires_grad_(False)
    optimizer = make_optimizer(model, "muon", 1e-2, 5e-2, 0.0)
    assert not isinstance(optimizer, Together), "without matrices there is one part"
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 3


def test_a_schedule_scales_the_rate_of_every_part() -> None:
    optimizer = made(Small())
    LambdaLR(optimizer, lambda _: 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [5e-3, 5e-3, 2.5e-2]


def test_a_resumed_optimizer_makes_the_same_steps() -> None:
    whole, cut = Small(), Small()
    first, second = made(whole), made(cut)
    for _ in range(3):
        step(whole, first)
        step(cut, second)
    resumed = made(cut)
    resumed.load_state_dict(second.state_dict())
    step(whole, first)
    step(cut, resumed)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, cut.state_dict()[name]), name


def test_a_state_of_another_number_of_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="of 1 optimizers, not of 2"):
        made(Small()).load_state_dict({"0": {}})


def test_a_closure_is_refused() -> None:
    with pytest.raises(ValueError, match="no closure"):
        made(Small()).step(lambda: 0.0)


@pytest.mark.parametrize("shape", [(6, 6), (12, 5), (5, 12)], ids=["square", "tall", "wide"])
def test_muon_steps_as_torchs_does(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    options = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9}
    optimizers = Muon([ours], **options), torch.optim.Muon([theirs], **options)
    for _ in range(5):
        gradient = torch.randn(shape)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    assert not torch.equal(ours, start)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)  # torch's own iterations are in bfloat16


def test_orthogonal_keeps_directions_and_evens_lengths() -> None:
    torch.manual_seed(1)
    left, _ = torch.linalg.qr(torch.randn(8, 8))
    right, _ = torch.linalg.qr(torch.randn(5, 5))
    matrix = left[:, :5] @ torch.diag(torch.tensor([9.0, 4.0, 2.0, 1.0, 0.5])) @ right.T
    found = left[:, :5].T @ orthogonal(matrix, (3.4445, -4.7750, 2.0315), 5) @ right
    assert (found - torch.diag(found.diagonal())).abs().max() < 1e-4
    assert ((found.diagonal() > 0.6) & (found.diagonal() < 1.25)).all()
