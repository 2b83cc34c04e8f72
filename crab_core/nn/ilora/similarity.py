"""How alike the B matrices of an adapter's heads are: do the heads write into the same directions of a layer's output?

Two heads share the down-projection A, so what tells them apart is B_h (out, r) and their routing. Three measures:

* The cosine of two B as vectors: since they read the same A, 1 means that both do the same to every input, whatever
  the strength. Independent ones are near 0, to 1 / sqrt(out r).
* Linear CKA (Kornblith et al., arXiv:1905.00414) of the columns of two B, outputs as examples: 1 if they are the same
  up to rotation and scale of the r directions.
* Principal angles (Bjoerck and Golub, 1973) between the column spaces: r angles from 0 (a direction that both have) to
  90 degrees (one that only one of them has), whatever the strengths.

All come from the matrix of inner products of all columns, so that the cost is one product a layer. Beside them stand
those of two random matrices of the same shape, for r directions of a small output are alike by chance.

# H heads, r rank, P pairs of heads
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import torch

_RANK_TOLERANCE = 1e-10  # of the largest eigenvalue: a direction that is weaker is rounding


@dataclass(frozen=True)
class Alikeness:
    """Pairs of one layer's heads: `cosine` and `cka` (P,) and `angles_deg` (P, r) ascending.

    NaN where a head is zero, or has fewer than r directions.
    """

    cosine: torch.Tensor
    cka: torch.Tensor
    angles_deg: torch.Tensor


def pairs_of(heads: int) -> list[tuple[int, int]]:
    """Every pair of heads, in the order of `Alikeness`."""
    return list(combinations(range(heads), 2))


@torch.no_grad()
def alikeness(up: torch.Tensor, heads: int) -> Alikeness:
    """The pairs of a weight (out, H r) whose heads lie side by side; float64 on the CPU."""
    weight = up.detach().double()
    rank = weight.shape[1] // heads
    centred = _products(weight - weight.mean(0), heads)
    plain = _products(weight, heads)
    bases = [_whitening(plain[head][head]) for head in range(heads)]
    pairs = pairs_of(heads)
    cka = [centred[i][j].square().sum() / (centred[i][i].norm() * centred[j][j].norm()) for i, j in pairs]
    angles = [_angles_deg(bases[i].T @ plain[i][j] @ bases[j], rank) for i, j in pairs]
    if not pairs:
        return Alikeness(torch.zeros(0), torch.zeros(0), torch.zeros(0, rank))
    cosine = [plain[i][j].trace() / (plain[i][i].trace() * plain[j][j].trace()).sqrt() for i, j in pairs]
    return Alikeness(torch.stack(cosine).cpu(), torch.stack(cka).cpu(), torch.stack(angles).cpu())


@cache
def chance(out_features: int, rank: int) -> tuple[float, tuple[float, ...]]:
    """CKA and angles in degrees of two random matrices (out, r): always the same two."""
    numbers = torch.randn(out_features, 2 * rank, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = alikeness(numbers, 2)
    return float(found.cka[0]), tuple(float(angle) for angle in found.angles_deg[0])


def _products(weight: torch.Tensor, heads: int) -> list[tuple[torch.Tensor, ...]]:
    """Inner products of columns, (H, H) blocks of (r, r)."""
    rank = weight.shape[1] // heads
    return [row.split(rank, dim=1) for row in (weight.T @ weight).split(rank, dim=0)]


def _whitening(products: torch.Tensor) -> torch.Tensor:
    """(r, k) that makes the k independent columns of a matrix with these inner products orthonormal."""
    values, vectors = torch.linalg.eigh(products)
    kept = values > _RANK_TOLERANCE * values[-1].clamp_min(0)
    return vectors[:, kept] / values[kept].sqrt()


def _angles_deg(overlap: torch.Tensor, rank: int) -> torch.Tensor:
    """(r,) from the inner products of two orthonormal bases; NaN beyond the directions that there are."""
    angles = torch.full((rank,), float("nan"), dtype=overlap.dtype, device=overlap.device)
    if overlap.numel():
        cosines = torch.linalg.svdvals(overlap).clamp(0, 1)  # descending, so angles ascend
        angles[: len(cosines)] = torch.rad2deg(torch.acos(cosines))
    return angles
