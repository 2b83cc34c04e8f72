"""Captions against the COCO code's numbers and a corpus score of sacrebleu."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu

from crab_core.errors import UsageError
from crab_core.evaluate import captions
from crab_core.evaluate.bootstrap import score
from crab_core.evaluate.captions import CaptionRow

ROWS = [
    CaptionRow("a", "a dog barks at a man in the park", ("a dog barks at the man in a park", "the dog is barking")),
    CaptionRow("b", "a bell rings and a clock ticks", ("a clock ticks while the bell rings",)),
    CaptionRow("c", "nothing is heard", ("a man plays the violin on the left", "someone plays a violin")),
    CaptionRow("d", "a man plays the guitar on the left", ("a man plays the guitar on the left",)),
]


def test_cider_is_that_of_the_coco_code():
    # CiderScorer(n=4, sigma=6.0) of pycocoevalcap 1.2 on the same words
    made = captions.cider(ROWS)
    assert made.table[:, 0] == pytest.approx([2.69910224, 3.75, 0.0, 10.0], abs=1e-8)
    assert made.value == pytest.approx(4.1122755611586825, abs=1e-12)


def test_bleu_of_all_captions_is_sacrebleus_corpus_score():
    references = [[row.references[0] for row in ROWS], [row.references[-1] for row in ROWS]]
    whole = sacrebleu.BLEU(tokenize="none", smooth_method="none").corpus_score(
        [row.predicted for row in ROWS], references
    )
    assert captions.bleu(ROWS).value == pytest.approx(whole.score / 100, abs=1e-9)


def test_bleu_has_an_interval_and_is_zero_without_four_words_in_a_row():
    found = score(captions.bleu(ROWS), draws=100)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert captions.bleu([CaptionRow("a", "a dog", ("a dog",))]).value == 0.0
    assert captions.bleu([CaptionRow("a", "", ("a dog barks at me",))]).value == 0.0


def test_the_order_of_clips_does_not_matter():
    assert captions.cider(ROWS[::-1]).value == pytest.approx(captions.cider(ROWS).value)


def test_case_and_punctuation_do_not_matter():
    assert captions.words("A dog's bark, TWICE. été") == ["a", "dog's", "bark", "twice", "été"]
    loud = [CaptionRow(row.clip, row.predicted.upper() + "!", row.references) for row in ROWS]
    assert np.array_equal(captions.cider(loud).table, captions.cider(ROWS).table)


def test_a_clip_without_a_true_caption_is_an_error():
    with pytest.raises(UsageError, match="clip 'a' has no true caption"):
        CaptionRow("a", "a dog", ())
