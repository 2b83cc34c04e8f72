"""Captions: CIDEr-D and BLEU-4.

CIDEr-D is written out here (Vedantam et al., CVPR 2015; the weights and the constants of the COCO caption code); BLEU's
counts come from sacrebleu. Both compare words in lower case without punctuation: the COCO code splits words with a Java
program, so numbers differ a little from tables made with it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crab_core.errors import UsageError
from crab_core.evaluate.bootstrap import Counts, counts
from crab_core.optional import need

ORDERS = (1, 2, 3, 4)
SIGMA = 6.0  # how sharply CIDEr-D punishes a difference in length, in words
SCALE = 10.0
Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """A told caption and one or more true ones of a clip."""

    clip: str
    predicted: str
    references: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.references:
            raise UsageError(f"clip '{self.clip}' has no true caption")


def words(text: str) -> list[str]:
    """The words that are compared: `"A dog's bark, twice."` -> `["a", "dog's", "bark", "twice"]`."""
    return re.findall(r"\w+(?:['’]\w+)?", text.lower())


def cider(rows: Sequence[CaptionRow]) -> Counts:
    """CIDEr-D over clips, from 0 to 10 a clip; papers print the mean times 100.

    How rare a phrase is follows from the true captions of all rows, so at least two different clips are needed for a
    number above 0; intervals keep these weights fixed.
    """
    grams = [[_grams(words(text)) for text in row.references] for row in rows]
    seen = Counter(gram for texts in grams for gram in set().union(*texts))
    rarity = {gram: math.log(len(rows)) - math.log(found) for gram, found in seen.items()}
    unseen = math.log(len(rows)) if rows else 0.0
    values = []
    for row, texts in zip(rows, grams, strict=True):
        told = _grams(words(row.predicted))
        values.append(SCALE * sum(_alike(told, text, rarity, unseen) for text in texts) / len(texts))
    return counts("share", [row.clip for row in rows], [(value, 1) for value in values])


def bleu(rows: Sequence[CaptionRow]) -> Counts:
    """BLEU-4 of all captions together, 0 to 1, without smoothing; raises MissingExtra without sacrebleu."""
    scorer = need("sacrebleu", extra="captions", why="BLEU").BLEU(
        tokenize="none", smooth_method="none", effective_order=True, force=True
    )
    table = []
    for row in rows:
        told = scorer.sentence_score(_plain(row.predicted), [_plain(text) for text in row.references])
        table.append([*told.counts, *told.totals, told.sys_len, told.ref_len])
    return counts("bleu", [row.clip for row in rows], table)


def _plain(text: str) -> str:
    return " ".join(words(text))


def _grams(tokens: Sequence[str]) -> Counter[Gram]:
    """How often each run of 1 to 4 words occurs."""
    return Counter(tuple(tokens[at : at + n]) for n in ORDERS for at in range(len(tokens) - n + 1))


def _alike(told: Counter[Gram], true: Counter[Gram], rarity: Mapping[Gram, float], unseen: float) -> float:
    """The mean over n of the clipped cosine of two captions, times the penalty for their lengths; 0 to 1."""
    # the published code takes the number of word pairs, not of words, as the length
    gap = sum(c for g, c in told.items() if len(g) == 2) - sum(c for g, c in true.items() if len(g) == 2)
    total = sum(_cosine(told, true, n, rarity, unseen) for n in ORDERS)
    return total / len(ORDERS) * math.exp(-(gap**2) / (2 * SIGMA**2))


def _cosine(told: Counter[Gram], true: Counter[Gram], n: int, rarity: Mapping[Gram, float], unseen: float) -> float:
    one, other = (
        {gram: found * rarity.get(gram, unseen) for gram, found in counted.items() if len(gram) == n}
        for counted in (told, true)
    )
    product = sum(min(value, other[gram]) * other[gram] for gram, value in one.items() if gram in other)
    norms = math.sqrt(sum(v * v for v in one.values())) * math.sqrt(sum(v * v for v in other.values()))
    return product / norms if norms else 0.0
