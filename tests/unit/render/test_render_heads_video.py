"""The clip under each head's maps: where colours fall, what moves, and that every frame has one even size."""

import numpy as np
import pytest

from crab_core.render.colours import colour, rgb
from crab_core.render.heads_video import GAP_PX, HeadsScene

GRAY = np.full((90, 160, 3), 128, np.uint8)


def scene(heads=3, sound=True, size=(160, 90)):
    """Head h looks at the left in the first frame and at the right in the second; only head 1 hears, at the end."""
    seen = np.zeros((heads, 2, 1, 2), np.float32)
    seen[:, 0, 0, 0] = seen[:, 1, 0, 1] = 1
    arrays = {"map_video": seen}
    if sound:
        arrays["map_audio"] = np.zeros((heads, 2, 1, 4), np.float32)
        arrays["map_audio"][0, 1, 0, 3] = 1
    windows = [[0.0, 1.0], [1.0, 2.0]]
    document = {"heads": heads, "frame_times_s": [0.0, 1.0], "sound_windows_s": windows, "result": {"duration_s": 2.0}}
    return HeadsScene.of(document, arrays, size)


def tinted(part, head):
    """How far a part leans to a head's colour."""
    ink = np.array(rgb(colour(head)), float)
    return float((part.reshape(-1, 3).mean(0) - part.mean()) @ (ink - ink.mean()))


@pytest.mark.parametrize("heads", [1, 3, 5])
def test_every_head_has_a_panel_in_its_colour(heads):
    made = scene(heads)
    frame = made.frame(GRAY, 0.2)
    rows = -(-(heads + 1) // made.columns)
    tall, wide = (len(frame) - len(made.strip.picture)) // rows, made.panel.width + GAP_PX
    for number in range(heads + 1):
        row, column = divmod(number, made.columns)
        panel = frame[row * tall : (row + 1) * tall, column * wide :][:, : made.panel.width]
        left, right = (part[-tall // 2 : -GAP_PX] for part in (panel[:, :60], panel[:, -60:]))
        if number == 0:
            assert (left == 128).all()
        else:
            assert tinted(left, number - 1) > tinted(right, number - 1) + 100


def test_a_frame_lies_under_the_maps_of_the_nearest_frame_that_was_seen():
    made = scene()
    first, also, second = (made.frame(GRAY, now) for now in (0.0, 0.45, 0.55))
    panels = slice(0, made.panel.size[1])
    assert (first[panels] == also[panels]).all()
    assert (first[panels] != second[panels]).any()


def test_sound_has_a_lane_a_head_at_its_own_time():
    made = scene()
    frame = made.frame(GRAY, 0.0)
    is_blue = (frame == rgb(colour(0))).all(-1)
    rows, columns = np.nonzero(is_blue[-made.strip.picture.shape[0] :])
    assert len(rows) > 50
    assert columns.min() >= made.strip.x_of(1.7)  # the last quarter of the second window
    is_other = (frame[-made.strip.picture.shape[0] :] == rgb(colour(1))).all(-1)
    assert not is_other.any()


@pytest.mark.parametrize("size", [(161, 91), (40, 400), (4000, 1000), (2, 2)])
@pytest.mark.parametrize("sound", [True, False])
def test_all_frames_have_the_same_even_sides(size, sound):
    made = scene(size=size, sound=sound)
    shapes = {made.frame(np.zeros((size[1], size[0], 3), np.uint8), now).shape for now in (0.0, 1.0, 5.0)}
    ((height, width, _),) = shapes
    assert (height % 2, width % 2) == (0, 0)
    assert width <= 1920


def test_without_pixel_maps_there_is_nothing_to_paint():
    document = {"heads": 1, "frame_times_s": [], "sound_windows_s": [], "result": {"duration_s": 1.0}}
    with pytest.raises(ValueError, match="nothing to paint"):
        HeadsScene.of(document, {}, (16, 16))
