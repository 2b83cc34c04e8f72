import pytest
import torch
from torch import nn

from crab_core.nn.splice import IGNORED, Row, Splicer, Stretch

VIDEO, AUDIO, MASK = 10, 11, 12
SPLICER = Splicer({VIDEO: "video", AUDIO: "audio"}, pad_id=0, mask_ids=frozenset({MASK}))
EMBED = nn.Embedding(13, 4).requires_grad_(False)
SEEN, HEARD = torch.full((2, 3, 4), 5.0), torch.full((1, 2, 4), 7.0)


def test_features_take_the_place_of_their_placeholder():
    one = SPLICER([Row([1, VIDEO, 2, AUDIO, 3], 5, {"video": SEEN, "audio": HEARD})], EMBED)
    rows = [EMBED.weight[1:2], SEEN.flatten(0, 1), EMBED.weight[2:3], HEARD.flatten(0, 1), EMBED.weight[3:4]]
    assert torch.equal(one.embeds[0], torch.cat(rows))
    assert one.stretches[0] == (
        Stretch("text", 0, 1),
        Stretch("video", 1, 4, 0),
        Stretch("video", 4, 7, 1),
        Stretch("text", 7, 8),
        Stretch("audio", 8, 10, 0),
        Stretch("text", 10, 11),
    )


def test_rows_are_padded_on_the_left():
    batch = SPLICER([Row([1, 2, 3], 2), Row([1, VIDEO, 4], 2, {"video": SEEN})], EMBED)
    assert batch.attention_mask.tolist() == [[0] * 5 + [1] * 3, [1] * 8]
    assert batch.position_ids.tolist() == [[0] * 5 + [0, 1, 2], list(range(8))]
    assert batch.labels.tolist() == [[IGNORED] * 7 + [3], [IGNORED] * 7 + [4]]
    assert torch.equal(batch.embeds[0, :5], EMBED.weight[0].expand(5, 4))
    assert batch.stretches[0] == (Stretch("text", 5, 8),)


def test_a_row_in_a_batch_is_the_row_alone():
    rows = [Row([1, VIDEO, 2], 3, {"video": SEEN}), Row([3, AUDIO], 1, {"audio": HEARD}), Row([5], 1)]
    batch = SPLICER(rows, EMBED)
    for number, row in enumerate(rows):
        alone = SPLICER([row], EMBED)
        length = alone.embeds.shape[1]
        assert torch.equal(batch.embeds[number, -length:], alone.embeds[0])
        assert torch.equal(batch.labels[number, -length:], alone.labels[0])


@pytest.mark.parametrize(
    "features", [{}, {"audio": HEARD}, {"video": SEEN[:0]}], ids=["none", "another-medium", "no-frames"]
)
def test_a_lacking_medium_leaves_no_trace(features):
    one = SPLICER([Row([1, VIDEO, 2], 3, features)], EMBED)
    assert torch.equal(one.embeds[0], EMBED.weight[[1, 2]])


def test_only_media_and_no_text():
    assert torch.equal(SPLICER([Row([VIDEO], 1, {"video": SEEN})], EMBED).embeds[0], SEEN.flatten(0, 1))


def test_placeholders_in_the_target_are_no_labels():
    one = SPLICER([Row([1, 2, VIDEO, 3], 1, {"video": SEEN})], EMBED)
    assert one.labels[0].tolist() == [IGNORED, 2, *[IGNORED] * 6, 3]


def test_positions_before_mask_tokens_are_marked():
    one = SPLICER([Row([1, 2, MASK, MASK, 3], 2)], EMBED)
    assert one.mask_tokens[0].tolist() == [False, True, True, False, False]


def test_the_first_label_marks_nothing_at_the_end():
    assert not SPLICER([Row([MASK, 2], 0)], EMBED).mask_tokens.any()


def test_a_medium_that_is_named_twice_is_refused():
    with pytest.raises(ValueError, match="each medium once"):
        SPLICER([Row([VIDEO, 1, VIDEO], 3, {"video": SEEN})], EMBED)


def test_gradients_reach_the_features():
    seen = SEEN.clone().requires_grad_()
    SPLICER([Row([1, VIDEO], 2, {"video": seen})], EMBED).embeds.sum().backward()
    assert torch.equal(seen.grad, torch.ones_like(seen))
