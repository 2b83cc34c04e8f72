"""Decoding one stream packet by packet: what is broken is skipped and remembered, never raised.

Ticks are integer times in units of the stream's time base.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal

import av

# Elementary video streams carry no times: their frames are counted.
_UNTIMED = frozenset(
    ["h264", "hevc", "vvc", "evc", "obu", "m4v", "mpegvideo", "mjpeg", "h261", "h263", "cavsvideo", "dirac", "vc1"]
)
# After a jump in these the times are guesses; in animations, each frame builds on the one before.
_UNSEEKABLE = _UNTIMED | frozenset(
    [
        "mpeg",
        "gif",
        "apng",
        "webp_anim",
        "aac",
        "ac3",
        "eac3",
        "dts",
        "amr",
        "amrnb",
        "amrwb",
        "mp3",
        "loas",
        "latm",
        "truehd",
    ]
)
_NEAR_S = 1.0  # broken packets that lie closer together than this are one place
_READ_FAILURES = 3  # in a row, then the file is taken to end there


class StreamDecoder:
    """Decodes one stream of an open container in order.

    `broken_s` holds the times at which packets could not be decoded, in seconds from `origin_s`; `is_cut_short` says
    that the file ended in the middle of a packet.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.stream.Stream, origin_s: float) -> None:
        self.container = container
        self.stream = stream
        self.base = Fraction(stream.time_base)
        self.origin_s = origin_s
        self.broken_s: set[float] = set()
        self.is_cut_short = False
        stream.thread_type = "SLICE"  # frame threads decode far ahead of the few frames that are wanted

    @property
    def is_seekable(self) -> bool:
        """False for formats whose times after a jump cannot be trusted."""
        return is_seekable(self.container)

    @property
    def is_timed(self) -> bool:
        """False for elementary streams, whose pictures say no times."""
        return is_timed(self.container)

    def tick(self, time_s: float) -> int:
        """The tick nearest to a time of the clip."""
        return round((self.origin_s + time_s) / self.base)

    def seek(self, tick: int) -> bool:
        """Go to the last keyframe at or before a tick; False if the file cannot be entered there."""
        try:
            self.container.seek(tick, stream=self.stream)
        except (av.error.FFmpegError, OSError):
            return False
        return True

    def frames(self, *, after_keyframe: bool = False, skip_before: int | None = None) -> Iterator[av.frame.Frame]:
        """Frames from where the container stands.

        With `after_keyframe`, nothing is shown that leans on what came before the next keyframe. Packets that lie
        before the tick `skip_before` are read but not decoded.
        """
        first: int | None = None
        waiting = after_keyframe
        for packet in self.packets():
            if waiting and packet.size and not packet.is_keyframe:
                continue
            if waiting:
                waiting, first = False, packet.pts
            if skip_before is not None and packet.pts is not None and packet.pts < skip_before:
                continue
            for frame in self._decode(packet):
                if first is None or frame.pts is None or frame.pts >= first:
                    yield frame

    def packets(self) -> Iterator[av.packet.Packet]:
        """Packets from where the container stands, read on beyond what cannot be read; the last one is empty."""
        failures = 0
        while failures < _READ_FAILURES:
            try:
                for packet in self.container.demux(self.stream):
                    failures = 0
                    yield packet
                return
            except (av.error.FFmpegError, OSError):
                failures += 1  # most formats find the next whole packet when read on
        self.is_cut_short = True

    def _decode(self, packet: av.packet.Packet) -> Sequence[av.frame.Frame]:
        try:
            return packet.decode()
        except EOFError:
            return ()
        except av.error.FFmpegError as err:
            if isinstance(err, MemoryError):
                raise
            tick = packet.pts if packet.pts is not None else packet.dts
            self.broken_s.add(max(0.0, float((tick or 0) * self.base) - self.origin_s))
            return ()


def is_seekable(container: av.container.InputContainer) -> bool:
    """False for formats whose times after a jump cannot be trusted."""
    return _UNSEEKABLE.isdisjoint(container.format.name.split(","))


def is_timed(container: av.container.InputContainer) -> bool:
    """False for elementary streams, whose pictures say no times."""
    return _UNTIMED.isdisjoint(container.format.name.split(","))


def broken_note(times_s: set[float], what: Literal["pictures", "sound"]) -> tuple[str, ...]:
    """What to tell of broken packets: `3 packets of the sound could not be decoded near 3.2 s`."""
    if not times_s:
        return ()
    count = "1 packet" if len(times_s) == 1 else f"{len(times_s)} packets"
    first_s, last_s = min(times_s), max(times_s)
    where = f"near {first_s:.1f} s" if last_s - first_s < _NEAR_S else f"from {first_s:.1f} to {last_s:.1f} s"
    return (f"{count} of the {what} could not be decoded {where}",)


def first_frame(decoder: StreamDecoder, *, tries: int = 500) -> av.frame.Frame | None:
    """The first frame that decodes among the first `tries` packets, or None if none does."""
    for count, packet in enumerate(decoder.packets()):
        for frame in decoder._decode(packet):
            return frame
        if count >= tries:
            break
    return None
