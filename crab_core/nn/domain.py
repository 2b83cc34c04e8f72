"""How far what an encoder gives lies from what it gave for the clips of the training, and how far is too far.

The mean feature of a picture, over its patches, is one point; the pictures of the training are a cloud of points, told
by their mean and covariance, and a distance from it is the Mahalanobis distance. A clip is judged by the median
distance of its pictures, so that one odd picture is forgiven.
Source: Lee et al. (arXiv 1807.03888), here with one cloud for all classes and the limits read off clips that had no
part in the mean and covariance. Letters: N pictures, P patches, D width, K limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

RIDGE = 1e-2  # of the mean variance, added to each: rounding to half precision changes far less


@dataclass(frozen=True, eq=False)
class Domain:
    """The cloud: `mean` (D,), `whitening` (D, D), `limits` (K,), all float32.

    Limit k is that of the median over k + 1 pictures; more pictures than K share the last one.
    """

    mean: torch.Tensor
    whitening: torch.Tensor
    limits: torch.Tensor

    def __post_init__(self) -> None:
        width, square, limits = tuple(self.mean.shape), tuple(self.whitening.shape), tuple(self.limits.shape)
        if len(width) != 1 or square != (*width, *width) or len(limits) != 1 or not limits[0]:
            raise ValueError(f"a mean {width}, a whitening {square} and limits {limits} are no statistics")
        if not all(bool(torch.isfinite(one).all()) for one in (self.mean, self.whitening, self.limits)):
            raise ValueError("the statistics are not finite")

    def distances(self, tokens: torch.Tensor) -> torch.Tensor:
        """(N,) distances of pictures with features (N, P, D), in units of the cloud's spread."""
        means = tokens.float().mean(1)  # (N, D)
        return torch.linalg.vector_norm((means - self.mean) @ self.whitening, dim=1)

    def strangeness(self, tokens: torch.Tensor) -> float:
        """The median distance of pictures (N, P, D) as a share of its limit: above 1 they are unlike the training's."""
        limit = self.limits[min(len(tokens), len(self.limits)) - 1]
        return float(self.distances(tokens).median() / limit)

    def to(self, device: torch.device | str) -> Domain:
        """The same on a device."""
        return Domain(self.mean.to(device), self.whitening.to(device), self.limits.to(device))

    def tensors(self) -> dict[str, torch.Tensor]:
        """What is stored."""
        return {"mean": self.mean, "whitening": self.whitening, "limits": self.limits}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Domain:
        """What `tensors` gave; raises ValueError for anything else."""
        if set(tensors) != {"mean", "whitening", "limits"}:
            raise ValueError(f"it holds {', '.join(sorted(tensors)) or 'nothing'}, not mean, whitening and limits")
        return cls(**{name: one.float() for name, one in tensors.items()})


def cloud(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean (D,) and the whitening (D, D) of points (N, D): whitened, every direction has a variance of at most 1.

    Raises ValueError for fewer than 2 points.
    """
    if len(points) < 2:
        raise ValueError(f"statistics need 2 points at least, got {len(points)}")
    exact = points.double()
    mean = exact.mean(0)
    variances, directions = torch.linalg.eigh(torch.cov(exact.T))
    ridge = RIDGE * variances.clamp_min(0).mean() + torch.finfo(torch.float32).tiny
    whitening = directions * (variances.clamp_min(0) + ridge).rsqrt()  # (D, D): columns are directions
    return mean.float(), whitening.float()
