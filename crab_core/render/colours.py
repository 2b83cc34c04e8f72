"""One colour a head, told apart also by the colour-blind (the palette of Okabe and Ito)."""

from __future__ import annotations

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#F0E442")


def colour(head: int) -> str:
    """The colour of a head, counted from 0, as `#rrggbb`; after the eighth they come again."""
    return PALETTE[head % len(PALETTE)]


def ink_on(hexadecimal: str) -> str:
    """Black or white, whichever is read better on a colour."""
    red, green, blue = rgb(hexadecimal)
    return "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#fff"


def rgb(hexadecimal: str) -> tuple[int, int, int]:
    """`#0072B2` gives (0, 114, 178)."""
    red, green, blue = (int(hexadecimal[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue
