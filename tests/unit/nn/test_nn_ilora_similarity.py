"""How alike two B matrices are: against the definitions, and against what must not matter."""

import numpy as np
import pytest
import torch

from crab_core.nn import ilora


def weight(*heads):
    return torch.cat(heads, dim=1)


def random(out, rank, seed):
    return torch.randn(out, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_against_the_definitions():
    one, other = random(40, 4, 1), random(40, 4, 2)
    found = ilora.alikeness(weight(one, other), 2)
    x, y = one - one.mean(0), other - other.mean(0)
    gram_x, gram_y = x @ x.T, y @ y.T  # the definition by examples: <K, L> / (|K| |L|)
    assert found.cka[0] == pytest.approx(float((gram_x * gram_y).sum() / (gram_x.norm() * gram_y.norm())))
    bases = [np.linalg.qr(some.numpy()).Q for some in (one, other)]
    expected = np.rad2deg(np.arccos(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)))
    np.testing.assert_allclose(found.angles_deg[0], expected, atol=1e-6)


def test_rotating_and_scaling_a_head_changes_nothing():
    one, turn = random(40, 4, 1), torch.linalg.qr(random(4, 4, 3)).Q
    found = ilora.alikeness(weight(one, -2.5 * one @ turn), 2)
    assert found.cka[0] == pytest.approx(1)
    assert found.angles_deg.max() < 1e-3


def test_mixing_the_directions_of_a_head_changes_its_cka_but_not_its_angles():
    one = random(40, 4, 1)
    found = ilora.alikeness(weight(one, one @ torch.diag(torch.tensor([9.0, 1, 0.1, 1], dtype=torch.float64))), 2)
    assert found.cka[0] < 0.9
    assert found.angles_deg.max() < 1e-3


def test_heads_without_a_common_direction():
    every = torch.linalg.qr(random(40, 8, 1)).Q
    assert ilora.alikeness(every, 2).angles_deg.min() == pytest.approx(90)


def test_pairs_are_in_order_and_share_what_they_share():
    one, two = random(40, 3, 1), random(40, 3, 2)
    found = ilora.alikeness(weight(one, two, one), 3)
    assert ilora.pairs_of(3) == [(0, 1), (0, 2), (1, 2)]
    assert found.cka[1] == pytest.approx(1)
    assert found.cka[0] == pytest.approx(float(found.cka[2]))


def test_a_head_of_zeros_is_like_nothing():
    found = ilora.alikeness(weight(random(40, 3, 1), torch.zeros(40, 3)), 2)
    assert torch.isnan(found.cka).all()
    assert torch.isnan(found.angles_deg).all()


def test_a_head_of_fewer_directions_than_its_rank_has_fewer_angles():
    one = random(40, 3, 1)
    flat = torch.cat([one[:, :1], one[:, :1], one[:, 1:2]], dim=1)
    angles = ilora.alikeness(weight(one, flat), 2).angles_deg[0]
    assert angles[:2].max() < 1e-3
    assert torch.isnan(angles[2])


@pytest.mark.parametrize(("out", "rank"), [(64, 8), (256, 8), (64, 32)])
def test_chance_is_what_random_heads_have(out, rank):
    cka, angles = ilora.chance(out, rank)
    found = ilora.alikeness(weight(random(out, rank, 5), random(out, rank, 6)), 2)
    assert cka == pytest.approx(float(found.cka[0]), rel=0.25)
    assert np.mean(angles) == pytest.approx(float(found.angles_deg.mean()), abs=3)


def test_one_head_has_no_pairs():
    found = ilora.alikeness(random(10, 2, 1), 1)
    assert (found.cka.shape, found.angles_deg.shape) == ((0,), (0, 2))


def test_cosine_tells_copies_from_rotated_ones():
    """CKA cannot tell a head from one with its directions exchanged; both read the same A, so they differ."""
    one = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    found = ilora.alikeness(torch.cat([one, 3 * one, one.flip(1), -one], dim=1), 4)
    cosine = dict(zip(ilora.pairs_of(4), found.cosine.tolist(), strict=True))
    cka = dict(zip(ilora.pairs_of(4), found.cka.tolist(), strict=True))
    assert cosine[0, 1] == pytest.approx(1) and cosine[0, 3] == pytest.approx(-1)
    assert cka[0, 2] == pytest.approx(1) and abs(cosine[0, 2]) < 0.7
