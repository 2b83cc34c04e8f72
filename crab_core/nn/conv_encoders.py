"""The small model's encoders: convolutions in the place of CLIP and BEATs, behind the same interface.

    visual: (N, 3, H, W) pictures          -> [(N, 4P, E) for masks, (N, P, D) for the LLM]
    audio:  (S, L, 128) filter banks       -> (S, n, D)

Source: none; the shapes follow what measured best on the generated world with few parameters. What comes after them
(Q-Formers, splice, LLM) is the network of the paper (arXiv 2503.13068, section 3.2).
Letters: N pictures, S sound segments, P patches, D and E widths, L spectrogram frames, n sound tokens a segment.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

# mean and standard deviation of a log filter bank that the published constants have normalised (reference: BEATs)
FILTER_BANK_MEAN, FILTER_BANK_STD = -0.55, 0.45


def conv_block(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_block(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (N, C, H, W) to the same shape."""
        return torch.relu(x + self.second(self.first(x)))


class ConvVisualEncoder(nn.Module):
    """Pictures of `image_px` as a 1/16 grid of patches with learned positions, and as a finer map for masks.

    The finer one, layer 0, has a patch every 8 px: the middle of the network beside its enlarged top, E = D1 + D wide.
    With `detail` the first two convolutions stand beside them, all that they have of the patch's 8 x 8 px: 4 x 4 places
    of the first and 2 x 2 of the second, E = D1 + D + 16 D2 + 4 D3 wide for widths (D2, D3, D1, D).
    """

    layers = (0, 1)

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 160), image_px: int = 112, *, detail: bool = False) -> None:
        super().__init__()
        self.detail = detail
        if image_px % 16:
            raise ValueError(f"image_px must be a multiple of 16, got {image_px}")
        first, second, third, last = widths
        self.stem = nn.Sequential(conv_block(3, first, 2), conv_block(first, second, 2))
        self.middle = nn.Sequential(conv_block(second, third, 2), ResidualBlock(third))
        self.top = nn.Sequential(conv_block(third, last, 2), ResidualBlock(last))
        self.position = nn.Parameter(torch.randn((image_px // 16) ** 2, last) * 0.5)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) -> [(N, (H/8)(W/8), E), (N, (H/16)(W/16), D)]."""
        half = self.stem[0](pictures.contiguous(memory_format=torch.channels_last))
        quarter = self.stem[1](half)
        middle = self.middle(quarter)
        top = self.top(middle)
        large = nn.functional.interpolate(top, size=middle.shape[-2:], mode="bilinear", align_corners=False)
        maps = [middle, large]
        if self.detail:
            maps += [nn.functional.pixel_unshuffle(half, 4), nn.functional.pixel_unshuffle(quarter, 2)]
        fine = torch.cat(maps, dim=1).flatten(2).transpose(1, 2)  # (N, 4P, E)
        return [fine, top.flatten(2).transpose(1, 2) + self.position]


class ConvAudioEncoder(nn.Module):
    """One-second filter banks as a short row of tokens: time is kept (1/16), frequency is folded into the width."""

    def __init__(self, widths: Sequence[int] = (24, 48, 80, 128), width: int = 160, bins: int = 128) -> None:
        super().__init__()
        if bins % 16:
            raise ValueError(f"bins must be a multiple of 16, got {bins}")
        first, second, third, last = widths
        self.layers = nn.Sequential(
            conv_block(1, first, 2),
            conv_block(first, second, 2),
            conv_block(second, third, 2),
            ResidualBlock(third),
            conv_block(third, last, 2),
        )
        self.project = nn.Linear(last * (bins // 16), width)
        self.mix = nn.Sequential(nn.ReLU(), nn.Conv1d(width, width, 5, 1, 2), nn.ReLU())

    def forward(self, banks: torch.Tensor) -> torch.Tensor:
        """(S, L, 128) -> (S, ceil(L/16), D)."""
        x = ((banks - FILTER_BANK_MEAN) / FILTER_BANK_STD)[:, None]  # (S, 1, L, 128)
        x = self.layers(x.contiguous(memory_format=torch.channels_last))  # (S, C, n, 8)
        x = self.project(x.permute(0, 2, 1, 3).flatten(2))  # (S, n, D)
        return x + self.mix(x.transpose(1, 2)).transpose(1, 2)
