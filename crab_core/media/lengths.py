"""How long a stream lasts: from its header, its index, or in the end by counting its packets."""

from __future__ import annotations

from fractions import Fraction

import av

from crab_core.media.decoding import StreamDecoder, is_seekable, is_timed
from crab_core.media.opening import OPTIONS

_DEFAULT_FRAMES_PER_S = 25.0


def picture_duration(
    container: av.container.InputContainer, stream: av.VideoStream, start_s: float
) -> tuple[float, tuple[str, ...]]:
    """How long the pictures last, less what is missing from a file that was cut off."""
    told_s = stream_length_s(container, stream, start_s)
    kept_s = _kept_s(container, stream, start_s)
    if kept_s is None or kept_s >= told_s:
        return told_s, ()
    return kept_s, (f"the file is cut off: of {told_s:.1f} s of pictures the first {kept_s:.1f} s are there",)


def _kept_s(container: av.container.InputContainer, stream: av.stream.Stream, start_s: float) -> float | None:
    """Up to when the packets that the index lists lie inside the file; None if all do, or there is no whole index."""
    entries, size = stream.index_entries, container.size
    if "mp4" not in container.format.name or not len(entries) or entries[-1].pos + entries[-1].size <= size:
        return None
    low, high = 0, len(entries) - 1  # the first entry that reaches beyond the file is in low..high
    while low < high:
        middle = (low + high) // 2
        if entries[middle].pos + entries[middle].size > size:
            high = middle
        else:
            low = middle + 1
    return max(0.0, float(entries[low].timestamp * stream.time_base) - start_s)


def stream_length_s(container: av.container.InputContainer, stream: av.stream.Stream, start_s: float) -> float:
    """How long a stream lasts, from the first source that knows."""
    if is_seekable(container) or container.format.name in ("mp3", "mpeg"):  # else FFmpeg guesses from the bit rate
        if stream.duration is not None:
            return float(max(0, stream.duration) * stream.time_base)
        tagged_s = _tagged_end_s(stream.metadata.get("DURATION", ""))
        if tagged_s is not None:
            return max(0.0, tagged_s - start_s)
        if container.duration is not None:
            file_start_s = (container.start_time or 0) / av.time_base
            return max(0.0, file_start_s + container.duration / av.time_base - start_s)
    return _counted_s(container.name, stream.index, start_s)


def _tagged_end_s(text: str) -> float | None:
    """Seconds from Matroska's `00:00:10.033000000`, or None if the text is not like that."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _counted_s(name: str, index: int, start_s: float) -> float:
    """How long a stream lasts by reading all its packets, undecoded: for recordings that were never finished."""
    end = Fraction(0)
    with av.open(name, options=dict(OPTIONS), metadata_errors="replace") as container:
        stream = container.streams[index]
        rate = getattr(stream, "average_rate", None) or _DEFAULT_FRAMES_PER_S
        step = Fraction(1) / Fraction(rate) if stream.type == "video" else Fraction(0)
        for packet in StreamDecoder(container, stream, 0.0).packets():
            if not packet.size:
                continue
            if packet.pts is None or not is_timed(container):
                end += step
            else:
                lasts = packet.duration * stream.time_base if packet.duration else step
                end = max(end, packet.pts * stream.time_base + lasts)
    return max(0.0, float(end) - start_s)
