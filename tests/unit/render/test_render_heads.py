"""Overlays, charts and the page: pure functions of small arrays."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from crab_core.render.charts import layers_chart, seconds_chart, shares_chart
from crab_core.render.colours import PALETTE, colour, rgb
from crab_core.render.heads_page import figures, heads_page
from crab_core.render.overlays import encoded, overlay, sound_overlay, sound_picture, spectrogram, strip

EVIL = "<script>alert('x')</script>&\"<img src=http://evil.example/x>"
SVG = "{http://www.w3.org/2000/svg}"


def test_heads_have_their_own_colours():
    assert len({colour(head) for head in range(8)}) == 8
    assert colour(8) == PALETTE[0]
    assert rgb("#0072B2") == (0, 114, 178)


def test_an_overlay_colours_where_the_map_is_high():
    picture = np.full((40, 60, 3), 100, np.uint8)
    map_ = np.array([[1, 0], [0, 0]], np.float32)
    painted = overlay(picture, map_, 1.0, "#0072B2")
    assert painted.shape == picture.shape
    assert painted[0, 0, 2] > painted[0, 0, 0] + 50  # blue in that corner
    assert (painted[-1, -1] == 100).all()  # gray where nothing is
    assert (overlay(picture, map_ * 0, 0.0, "#0072B2") == 100).all()
    weaker = overlay(picture, map_, 2.0, "#0072B2")
    assert abs(int(weaker[0, 0, 2]) - 100) < abs(int(painted[0, 0, 2]) - 100)  # maps of one scale compare


@pytest.mark.parametrize("hertz", [300, 1000, 4000])
def test_a_tone_is_where_it_belongs_in_the_spectrogram(hertz):
    tone = np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000).astype(np.float32)
    loud = spectrogram([tone])
    assert loud.shape == (128, 98)
    mel = 2595 * np.log10(1 + hertz / 700) / (2595 * np.log10(1 + 8000 / 700))
    assert loud.mean(1).argmax() / 127 == pytest.approx(mel, abs=0.03)


def test_silence_is_an_empty_spectrogram():
    assert not spectrogram([np.zeros(1000, np.float32)]).any()
    assert not spectrogram([np.zeros(0, np.float32)]).any()


def test_a_quiet_part_stays_quiet_beside_a_loud_one():
    tone = np.sin(np.arange(16_000) / 5).astype(np.float32)
    loud = spectrogram([tone, tone / 100])
    assert loud[:, :98].max() == 1
    assert loud[:, 98:].max() == pytest.approx(1 - 40 / 70, abs=0.01)  # 40 dB below, of 70 that are shown


def test_sound_maps_lie_over_their_own_window_with_low_tones_below():
    windows = [(0, 1), (1, 2)]
    picture = sound_picture(np.zeros(32_000, np.float32), windows, height_px=64)
    maps = np.zeros((2, 4, 3), np.float32)
    maps[1, 0] = 1  # the lowest band of the second window
    painted = sound_overlay(picture, maps, 1.0, "#D55E00").astype(int)
    coloured = painted[..., 0] - painted[..., 2] > 20
    assert coloured[-1, -1]
    assert not coloured[:, : picture.shape[1] // 2].any()
    assert not coloured[0].any()


def test_a_strip_and_its_file():
    pictures = [np.full((4, 6, 3), value, np.uint8) for value in (10, 200)]
    joined = strip(pictures, gap_px=2)
    assert joined.shape == (4, 14, 3)
    joined[0, 0] = (255, 0, 0)
    read = cv2.imdecode(np.frombuffer(encoded(joined), np.uint8), cv2.IMREAD_COLOR)
    assert read[0, 0].tolist() == [0, 0, 255]  # cv2 reads blue first: red was red


def test_bars_are_as_long_as_their_shares():
    root = ElementTree.fromstring(shares_chart({EVIL: [0.25, 0.75], "none": [0, 0]}, EVIL))
    widths = [float(bar.get("width")) for bar in root.iter(f"{SVG}rect")]
    assert widths[1] == pytest.approx(3 * widths[0], abs=0.1)
    assert widths[2:] == [0, 0]
    assert root.find(f"{SVG}title").text == EVIL


def test_lines_rise_with_the_share():
    root = ElementTree.fromstring(seconds_chart([[0.2, 0.8], [0.5, 0.5]], "t", (0, 2)))
    first, second = (
        [float(p.split(",")[1]) for p in line.get("points").split()] for line in root.iter(f"{SVG}polyline")
    )
    assert first[1] < first[0]
    assert second[1] > second[0]
    assert first[1] == second[1]
    assert ElementTree.fromstring(seconds_chart([], "t", (0, 0))) is not None


def test_layers_are_cells_and_lacking_ones_are_empty():
    root = ElementTree.fromstring(layers_chart([[0.25, None], [1.0, 0.5]], ["0", "7"], ["q_proj", "up_proj"], 1))
    cells = list(root.iter(f"{SVG}rect"))
    assert [float(cell.get("fill-opacity")) for cell in cells] == [0.25, 1.0, 0.5]
    assert cells[1].find(f"{SVG}title").text == "layer 7, q_proj, head 2: 1.000"


def findings(frames=2, heads=3, text="dog", sound=True, picture=True):
    """A small report's document and arrays, with `text` wherever a stranger's text may stand."""
    random = np.random.default_rng(0)
    maps = {"map_video": random.random((heads, frames, 2, 2)).astype(np.float32)} if picture else {}
    maps |= {"map_audio": random.random((heads, frames, 1, 4)).astype(np.float32)} if sound else {}
    shares = random.dirichlet(np.ones(heads), 4)
    media = [medium for medium, there in (("video", picture), ("audio", sound)) if there]
    tokens = [{"kind": "question", "text": text}, *({"kind": kind, "text": text} for kind in ("reasoning", "answer"))]
    document = {
        "schema": "crab.heads/1",
        "result": {
            "id": text,
            "model": text,
            "task": "avqa",
            "question": text,
            "answer": {"text": text, "reasoning": text},
            "notes": [text],
            "duration_s": 2.0,
        },
        "heads": heads,
        "method": "attention",
        "mass": {medium: [0.1] * heads for medium in media},
        "by_kind": {"question": shares[0].tolist(), "answer": shares[1].tolist()},
        "by_second": {medium: shares[:frames].tolist() for medium in media},
        "layers": [0, 1],
        "projections": ["q_proj"],
        "by_router": shares[:2, None].tolist(),
        "tokens": tokens,
        "shares": shares[:2].tolist(),  # the last token was read by nobody
        "frame_times_s": [0.0, 1.0][:frames],
        "sound_windows_s": [[0.0, 1.0], [1.0, 2.0]],
        "ablations": [
            {"name": "all heads", "answer": text, "log_probability": -1.0},
            {"name": "no head", "answer": "", "log_probability": -3.5},
        ],
        "checks": [
            {"medium": m, "whole": -1, "parts": [0.5], "relevant": [-3], "random": [-2], "gain": 1} for m in media
        ],
        "notes": [text],
        "alike": {
            "pairs": [[0, 1], [0, 2], [1, 2]] if heads == 3 else [],
            "cosine": [[[0.75, 0.5, None]], [[0.25, 0.5, None]]],
            "cka": [[[0.25, 0.5, None]], [[0.75, 0.5, None]]],
            "angle_deg": [[[30.0, 60.0, None]], [[40.0, 60.0, None]]],
            "chance_cka": [[0.1], [0.1]],
            "chance_angle_deg": [[80.0], [80.0]],
        },
        "routing": {
            "most": 1.585 if heads == 3 else 0.0,
            "entropy": [[0.9], [None]],
            "token": [[0.4], [None]],
            "kind": [[0.1], [None]],
        },
    }
    arrays = {
        "frames": random.integers(0, 255, (frames, 12, 16, 3), dtype=np.uint8),
        "waveform": random.standard_normal(32_000).astype(np.float32),
        **maps,
    }
    return document, arrays


class Tags(HTMLParser):
    """Collects what a browser would load or run, and checks that tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(html):
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    return tags


def test_a_single_picture_has_bars_of_its_own_time_and_no_axis():
    document, arrays = findings(frames=1)
    document |= {"frame_times_s": [3.5], "sound_windows_s": [[3.0, 4.0]]}
    document["result"] |= {"duration_s": 10.0}
    html = heads_page(document, arrays)
    assert "<polyline" not in html and "10 s" not in html and "Mean share by second" not in html
    assert ">at 3.5 s</text>" in html and ">3 to 4 s</text>" in html
    assert "The one window of sound (1 s) that the model heard" in html
    names = dict(figures(document, arrays))
    assert b"at 3.5 s" in names["seen-by-second.svg"]
    several = heads_page(*findings())
    assert several.count("<polyline") == 2 * 3 and "The 2 windows of sound (1 s each)" in several


def test_the_page_is_self_contained():
    html = heads_page(*findings())
    tags = parsed(html)
    assert tags.names.count("img") == 2 + 2 * 3 + 1 + 3  # frames, frames a head, sound, sound a head
    assert all(source.startswith("data:image/jpeg;base64,") for source in tags.sources)
    assert "script" not in tags.names
    assert re.search(r"url\(|@import", html) is None
    assert "prefers-color-scheme:dark" in html
    assert "@media print" in html
    assert "seen +1.00, heard +1.00" in html
    assert ">-2.50<" in html  # the change of the log-probability without any head


def test_how_alike_heads_are_beside_chance():
    document, arrays = findings()
    html = heads_page(document, arrays)
    row = r"<td>heads 1 and 2</td><td[^>]*>0.500</td><td[^>]*>0.500</td><td[^>]*>35.0</td>"
    assert re.search(row, html)
    assert re.search(r"<td>heads 2 and 3</td>(<td[^>]*>–</td>){3}", html)  # a head that is zero
    chance = r"random matrices of that shape</td><td[^>]*>0.000</td><td[^>]*>0.100</td><td[^>]*>80.0</td>"
    assert re.search(chance, html)
    names = [name for name, _ in figures(document, arrays)]
    assert {"alike-cka-heads-1-2.svg", "alike-angle-heads-2-3.svg"} <= set(names)
    assert "different matrices" not in heads_page(*findings(heads=1))
    assert "different matrices" not in heads_page({**document, "alike": None}, arrays)


def test_the_overlap_of_masks_is_shown_where_there_are_masks():
    document, arrays = findings()
    assert "its overlap" not in heads_page(document, arrays)
    document["ablations"] = [
        {**one, "mask_iou": iou} for one, iou in zip(document["ablations"], (1, 0.25), strict=True)
    ]
    html = heads_page(document, arrays)
    assert "its overlap" in html
    assert re.search(r"<td>no head</td>(<td[^>]*>[^<]*</td>){2}<td[^>]*>0.25</td><td>\(none\)</td>", html)


def test_data_of_an_older_version_has_a_page():
    document, arrays = findings()
    del document["routing"], document["alike"]["cosine"]
    html = heads_page(document, arrays)
    assert "How the routers choose" not in html
    assert re.search(r"<td>heads 1 and 2</td><td[^>]*>–</td><td[^>]*>0.500</td>", html)


def test_how_the_routers_choose():
    document, arrays = findings()
    html = heads_page(document, arrays)
    assert "of 1.58 at most" in html
    assert re.search(r"<td>entropy of a token&#x27;s shares</td><td[^>]*>0.900</td>", html)
    charts = dict(figures(document, arrays))
    told = ElementTree.fromstring(charts["routing-token.svg"]).findall(f"{SVG}rect/{SVG}title")
    assert [title.text for title in told] == ["layer 0, q_proj, token: 0.252"]  # 0.4 bits of 1.585
    assert "How the routers choose" not in heads_page(*findings(heads=1))


def test_the_waveform_stands_above_the_shares():
    loudness = [0.0, 1.0, 0.5, 0.0]
    plain, below = (
        ElementTree.fromstring(seconds_chart([[0.2, 0.8], [0.5, 0.5]], "t", (0, 2), wave)) for wave in ((), loudness)
    )
    assert plain.find(f"{SVG}polygon") is None
    points = [tuple(map(float, point.split(","))) for point in below.find(f"{SVG}polygon").get("points").split()]
    heights = [points[at][1] for at in range(4)]
    assert heights[1] < heights[2] < heights[0] == heights[3]
    wave_ends = max(y for _, y in points)
    assert all(float(dot.get("cy")) > wave_ends for dot in below.iter(f"{SVG}circle"))
    across = [float(dot.get("cx")) for dot in below.iter(f"{SVG}circle")][:2]
    assert across == [pytest.approx(np.mean([points[at][0] for at in pair])) for pair in ((0, 1), (2, 3))]
    assert "below the waveform" in heads_page(*findings())


def test_every_text_of_a_stranger_is_escaped():
    html = heads_page(*findings(text=EVIL))
    tags = parsed(html)
    assert "script" not in tags.names
    assert all(source.startswith("data:") for source in tags.sources)
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("changes", "there", "lacking"),
    [
        pytest.param({"sound": False}, "looks at</h2>", "listens to</h2>", id="no-sound"),
        pytest.param({"picture": False}, "listens to</h2>", "looks at</h2>", id="no-picture"),
        pytest.param({"heads": 1}, "head 1", "head 2", id="one-head"),
        pytest.param({"heads": 9}, "head 9", "head 10", id="more-heads-than-colours"),
    ],
)
def test_what_is_not_there_is_not_shown(changes, there, lacking):
    html = heads_page(*findings(**changes))
    parsed(html)
    assert there in html
    assert lacking not in html


def test_an_answer_of_nothing_has_a_page():
    document, arrays = findings()
    document = {**document, "tokens": document["tokens"][:1], "ablations": []}
    document["result"] = {**document["result"], "answer": None, "question": None}
    html = heads_page(document, arrays)
    parsed(html)
    assert "(no answer)" in html
    assert "Who wrote what" not in html


def test_figures_are_svg_and_png():
    found = dict(figures(*findings()))
    assert {"shares-by-kind.svg", "layers-head-3.svg", "seen-head-1.png", "heard-head-3.png"} <= set(found)
    for name, content in found.items():
        if name.endswith(".svg"):
            ElementTree.fromstring(content)
        else:
            assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).size > 0
