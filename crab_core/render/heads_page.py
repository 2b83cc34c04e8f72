"""The report about the LoRA heads of one answer: a page and its figures, from the data that stand beside it.

`document` is what `heads.json` holds (schema `crab.heads/1`), `arrays` what `heads.npz` holds: the page can be made
again from the files, without a model. Letters: S frames or seconds, H heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from crab_core.render.charts import layers_chart, seconds_chart, shares_chart
from crab_core.render.colours import colour
from crab_core.render.heads_ablation import ablation_parts
from crab_core.render.heads_alike import alike_charts, alike_parts
from crab_core.render.heads_routing import routing_charts, routing_parts
from crab_core.render.overlays import data_uri, encoded, overlay, sound_overlay, sound_picture, strip
from crab_core.render.page import heading, page, paragraph, picture, table

if TYPE_CHECKING:
    import numpy.typing as npt

Document = Mapping[str, Any]
Arrays = Mapping[str, "npt.NDArray[Any]"]

HOW = {
    "attention": "the attention that writing reasons and answer paid to it (mean over layers and attention heads)",
    "gradient": "the gradient of the log-probability of reasons and answer, times the token itself, without sign",
    "share": "nothing: every query counts alike, whatever the answer",
}
NAMES = {"video": "seen", "audio": "heard"}
WAVE_PARTS = 300


def heads_page(document: Document, arrays: Arrays) -> str:
    """The self-contained page; its size grows with frames and heads, some hundred kB for ten frames."""
    result = document["result"]
    body = [*_head(document), *_summary(document), *_seen(document, arrays), *_heard(document, arrays)]
    body += [*_written(document), *ablation_parts(document), *_checks(document), *_layers(document)]
    body += [*routing_parts(document), *alike_parts(document), *_reading(document)]
    return page(f"Heads: {result['id']}", body)


def heads_short(document: Document) -> list[str]:
    """The numbers of a report as parts of a page about more than it, without its pictures."""
    return [*_head(document, level=2), *_summary(document, level=3), *ablation_parts(document, level=3)]


def figures(document: Document, arrays: Arrays) -> Iterator[tuple[str, bytes]]:
    """File names and contents for a paper: charts as SVG, overlays as PNG."""
    for name, chart in _charts(document, arrays):
        yield f"{name}.svg", chart.encode()
    for head in range(document["heads"]):
        if "map_video" in arrays:
            yield f"seen-head-{head + 1}.png", encoded(strip(_overlays(arrays, head)))
        if "map_audio" in arrays:
            yield f"heard-head-{head + 1}.png", encoded(_sound_overlay(document, arrays, head))


def _charts(document: Document, arrays: Arrays) -> Iterator[tuple[str, str]]:
    yield "shares-by-kind", shares_chart(document["by_kind"], "mean share of each head by kind of token")
    yield "evidence", shares_chart(_evidence(document), "evidence that went through each head")
    for medium in document["by_second"]:
        if chart := _seconds_chart(document, arrays, medium):
            yield f"{NAMES[medium]}-by-second", chart
    for head in range(document["heads"]):
        yield f"layers-head-{head + 1}", _layers_chart(document, head)
    yield from routing_charts(document)
    yield from alike_charts(document)


def _head(document: Document, level: int = 1) -> list[str]:
    result = document["result"]
    answer = result["answer"] or {"text": "", "reasoning": ""}
    asked = result["question"] or f"task {result['task']}"
    parts = [
        heading("What each LoRA head looks at and listens to", level),
        paragraph(f"{result['id']} · model {result['model']}, {document['heads']} heads", "dim"),
        paragraph(asked),
        paragraph(answer["text"] or "(no answer)", "answer"),
    ]
    parts += [paragraph(answer["reasoning"], "dim")] if answer["reasoning"] else []
    parts += [paragraph(f"Note: {note}", "dim") for note in [*result["notes"], *document["notes"]]]
    keys = [
        f'<span class="key" style="background:{colour(head)}"></span>head {head + 1}'
        for head in range(document["heads"])
    ]
    return [*parts, f"<p>{' &nbsp; '.join(keys)}</p>"]


def _summary(document: Document, level: int = 2) -> list[str]:
    masses = [f"{NAMES[medium]} {sum(values):.0%}" for medium, values in document["mass"].items() if any(values)]
    return [
        heading("Who does how much", level),
        paragraph("Mean share of each head, by what a token is. A router gives each token shares that make 1."),
        f'<div class="wide">{shares_chart(document["by_kind"], "mean share by kind of token")}</div>',
        paragraph(f"Evidence from sight and sound that went through each head ({', '.join(masses) or 'none'})."),
        f'<div class="wide">{shares_chart(_evidence(document), "evidence by head")}</div>',
    ]


def _seen(document: Document, arrays: Arrays) -> list[str]:
    if "map_video" not in arrays:
        return []
    times = document["frame_times_s"]
    rows = ["<tr><th></th>" + "".join(f"<th>{time:.1f} s</th>" for time in times) + "</tr>"]
    rows.append(_frames_row("frame", list(arrays["frames"]), times))
    for head in range(document["heads"]):
        rows.append(_frames_row(f"head {head + 1}", _overlays(arrays, head), times))
    return [
        heading("What each head looks at"),
        paragraph("All pictures share one scale: the stronger the colour, the more evidence went through that head."),
        f'<div class="wide"><table class="frames">{"".join(rows)}</table></div>',
        *_by_second(document, arrays, "video"),
    ]


def _heard(document: Document, arrays: Arrays) -> list[str]:
    if "map_audio" not in arrays:
        return []
    rows = []
    sound = _sound_picture(document, arrays)
    for name, shown in [
        ("sound", sound),
        *((f"head {head + 1}", _sound_overlay(document, arrays, head)) for head in range(document["heads"])),
    ]:
        rows.append(f"<span>{escape(name)}</span>{picture(data_uri(shown), f'spectrogram, {name}')}")
    windows = document["sound_windows_s"]
    return [
        heading("What each head listens to"),
        paragraph(_windows_told(windows)),
        f'<div class="sound">{"".join(rows)}</div>',
        *_by_second(document, arrays, "audio"),
    ]


def _windows_told(windows: Sequence[Sequence[float]]) -> str:
    if not windows:
        return "The sound that the model heard; low tones below."
    width = windows[0][1] - windows[0][0]
    if len(windows) == 1:
        return f"The one window of sound ({width:g} s) that the model heard; low tones below."
    return f"The {len(windows)} windows of sound ({width:g} s each) that the model heard, end to end; low tones below."


def _by_second(document: Document, arrays: Arrays, medium: str) -> list[str]:
    chart = _seconds_chart(document, arrays, medium)
    below = ", below the waveform" if medium == "audio" else ""
    told = f"Mean share by second{below}:" if len(document["by_second"].get(medium, ())) > 1 else "Mean share:"
    return [paragraph(told), f'<div class="wide">{chart}</div>'] if chart else []


def _seconds_chart(document: Document, arrays: Arrays, medium: str) -> str:
    """A line a head; of one second a bar, named by its time. Nothing if the model got no tokens of that medium."""
    series = document["by_second"].get(medium)
    if not series:
        return ""
    if len(series) == 1:
        return shares_chart({_only_time(document, medium): series[0]}, f"mean share, {NAMES[medium]}")
    heard = _loudness(arrays["waveform"]) if medium == "audio" else []
    return seconds_chart(series, f"share by second, {NAMES[medium]}", _ends(document), heard)


def _only_time(document: Document, medium: str) -> str:
    """`at 3.5 s` of a picture, `3 to 4 s` of a sound."""
    if medium == "video":
        return f"at {document['frame_times_s'][0]:g} s"
    start_s, end_s = document["sound_windows_s"][0]
    return f"{start_s:g} to {end_s:g} s"


def _loudness(waveform: npt.NDArray[np.float32]) -> list[float]:
    """How far the sound swings in each of equal parts, of its loudest; empty without sound."""
    if not len(waveform):
        return []
    swings = [float(np.abs(part).max()) for part in np.array_split(waveform, min(WAVE_PARTS, len(waveform)))]
    return [swing / max(*swings, 1e-9) for swing in swings]


def _written(document: Document) -> list[str]:
    tokens, shares = document["tokens"], document["shares"]
    written = [place for place, token in enumerate(tokens) if token["kind"] in ("reasoning", "format", "answer")]
    if not written:
        return []
    spans = [_token(tokens[place], shares[place] if place < len(shares) else None) for place in written]
    return [
        heading("Who wrote what"),
        paragraph("The bar under each token shows the shares of the heads when it was read; the answer is bold."),
        f'<div class="tokens">{"".join(spans)}</div>',
    ]


def _token(token: Document, shares: Sequence[float] | None) -> str:
    kind = "token answer" if token["kind"] == "answer" else "token"
    if shares is None:
        return f'<span class="{kind}" title="the last token: nobody read it">{escape(token["text"])}</span>'
    ends = np.cumsum(shares) * 100
    stops = ",".join(
        f"{colour(head)} {start:.1f}% {end:.1f}%"
        for head, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
    )
    told = ", ".join(f"head {head + 1}: {share:.2f}" for head, share in enumerate(shares))
    style = f"background-image:linear-gradient(90deg,{stops})"
    return f'<span class="{kind}" style="{style}" title="{told}">{escape(token["text"])}</span>'


def _checks(document: Document) -> list[str]:
    checks = document.get("checks", [])
    if not checks:
        return []
    rows = [
        (NAMES[one["medium"]], f"{part:.0%}", f"{relevant - one['whole']:+.2f}", f"{random - one['whole']:+.2f}")
        for one in checks
        for part, relevant, random in zip(one["parts"], one["relevant"], one["random"], strict=True)
    ]
    gains = ", ".join(f"{NAMES[one['medium']]} {one['gain']:+.2f}" for one in checks)
    return [
        heading("Do the maps hold?"),
        paragraph(
            "Change of the log-probability of the same text when a part of the patches is hidden: those that the maps "
            "of all heads together call most relevant, or as many at random. The map tells the truth where hiding by "
            f"the map costs more. Mean difference: {gains} (above 0 is better than chance)."
        ),
        table(("medium", "hidden", "most relevant", "at random"), rows, numbers=(1, 2, 3)),
    ]


def _layers(document: Document) -> list[str]:
    charts = "".join(f"<div>{_layers_chart(document, head)}</div>" for head in range(document["heads"]))
    return [
        heading("Where in the network"),
        paragraph("Mean share over all tokens, by layer (down) and projection (across), one table a head."),
        f'<div class="charts">{charts}</div>',
    ]


def _reading(document: Document) -> list[str]:
    return [
        heading("How to read this"),
        paragraph(
            "A head here is a LoRA expert, no attention head, and the language model sees query tokens instead of "
            "patches. So a map is composed: relevance of a query token to the answer, times the head's share at that "
            "token, times that query's cross-attention over patches (mean over the projector's layers and heads)."
        ),
        paragraph(f"Relevance by method '{document['method']}': {HOW[document['method']]}."),
        paragraph(
            "All maps of all heads, sight and sound together, make 1: a head's map is its part of the evidence. "
            "Shares say who was asked, not who was right: the ablation says what a head was worth."
        ),
    ]


def _frames_row(name: str, frames: Sequence[npt.NDArray[np.uint8]], times: Sequence[float]) -> str:
    cells = [
        f"<td>{picture(data_uri(frame), f'{name}, {time:.1f} s')}</td>"
        for frame, time in zip(frames, times, strict=True)
    ]
    return f'<tr><th class="row">{escape(name)}</th>{"".join(cells)}</tr>'


def _overlays(arrays: Arrays, head: int) -> list[npt.NDArray[np.uint8]]:
    maps = arrays["map_video"]
    highest = float(maps.max())
    pairs = zip(arrays["frames"], maps[head], strict=True)
    return [overlay(frame, map_, highest, colour(head)) for frame, map_ in pairs]


def _sound_picture(document: Document, arrays: Arrays) -> npt.NDArray[np.uint8]:
    return sound_picture(arrays["waveform"], document["sound_windows_s"])


def _sound_overlay(document: Document, arrays: Arrays, head: int) -> npt.NDArray[np.uint8]:
    maps = arrays["map_audio"]
    return sound_overlay(_sound_picture(document, arrays), maps[head], float(maps.max()), colour(head))


def _layers_chart(document: Document, head: int) -> str:
    table = [[None if cell[0] is None else cell[head] for cell in row] for row in document["by_router"]]
    return layers_chart(table, [str(layer) for layer in document["layers"]], document["projections"], head)


def _evidence(document: Document) -> dict[str, Sequence[float]]:
    return {NAMES[medium]: values for medium, values in document["mass"].items()}


def _ends(document: Document) -> tuple[float, float]:
    return 0.0, round(float(document["result"]["duration_s"]), 1)
