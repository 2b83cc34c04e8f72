"""What an encoder gave for a training, as a cloud with limits: distances, what is stored, what is refused."""

import pytest
import torch

from crab_core.errors import InputError
from crab_core.nn.domain import Domain, cloud
from crab_core.train.domain import FEWEST, domain_of

WIDTH, SECONDS = 6, 10


def clips(count: int, seed: int = 0, shift: float = 0.0, seconds: int = SECONDS) -> list[torch.Tensor]:
    """Clips whose pictures scatter around a point of their own, with very different spreads a direction."""
    random = torch.Generator().manual_seed(seed)
    spread = torch.tensor([10.0, 3.0, 1.0, 1.0, 0.3, 0.1])
    middle = torch.randn(count, 1, WIDTH, generator=random) + shift
    return list((middle + 0.3 * torch.randn(count, seconds, WIDTH, generator=random)) * spread + 5)


def shares(domain: Domain, found: list[torch.Tensor]) -> torch.Tensor:
    return torch.tensor([domain.strangeness(one[:, None]) for one in found])


@pytest.fixture(scope="module")
def domain() -> Domain:
    return domain_of(clips(2000))


def test_distances_count_in_spreads_of_each_direction() -> None:
    points = torch.cat(clips(2000))
    mean, whitening = cloud(points)
    domain = Domain(mean, whitening, torch.ones(1))
    assert domain.distances(mean[None, None]).item() == 0
    steps = mean + torch.diag(points.std(0))  # one spread away in each direction
    assert torch.allclose(domain.distances(steps[:, None])[:3], torch.ones(3), atol=0.1)
    squared = domain.distances(points[:, None]).square().mean().item()
    assert 0.5 * WIDTH < squared <= WIDTH + 0.01, "the mean of squares is the number of directions that are not ridge"


@pytest.mark.parametrize("seconds", [1, 3, 10, 40])
def test_few_clips_like_the_trainings_are_strange_and_many_others(domain: Domain, seconds: int) -> None:
    own, others = (shares(domain, clips(2000, 1, shift, seconds)) for shift in (0.0, 8.0))
    assert (own > 1).float().mean() <= 0.01
    assert (others > 1).float().mean() > 0.9


def test_one_odd_picture_is_forgiven_and_most_are_not(domain: Domain) -> None:
    clip = clips(1, 5)[0]
    clip[:4] += 1000
    assert domain.strangeness(clip[:, None]) < 1
    clip[:6] += 1000
    assert domain.strangeness(clip[:, None]) > 1


def test_what_is_stored_is_what_was_measured(domain: Domain) -> None:
    again = Domain.from_tensors(domain.tensors())
    assert torch.equal(shares(again, clips(20, 2)), shares(domain, clips(20, 2)))
    assert len(domain.limits) == SECONDS


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"limits": torch.ones(0)}, "are no statistics", id="no-limits"),
        pytest.param({"mean": torch.zeros(3)}, "are no statistics", id="width"),
        pytest.param({"whitening": torch.full((WIDTH, WIDTH), torch.nan)}, "not finite", id="nan"),
        pytest.param({"more": torch.ones(1)}, "not mean, whitening and limits", id="unknown"),
    ],
)
def test_damaged_statistics_are_refused(domain: Domain, change: dict[str, torch.Tensor], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Domain.from_tensors(domain.tensors() | change)


def test_of_few_clips_nothing_is_told() -> None:
    with pytest.raises(InputError, match=f"{FEWEST - 1} clips are too few"):
        domain_of(clips(FEWEST - 1))
