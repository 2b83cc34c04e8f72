"""What a file holds, from its header, its index and at most one decoded picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from crab_core.errors import InputError
from crab_core.media.decoding import StreamDecoder, first_frame, is_timed
from crab_core.media.lengths import picture_duration, stream_length_s
from crab_core.media.opening import open_media, shown
from crab_core.media.orientation import Orientation, orientation_of

_STILL_BRANDS = frozenset({"avif", "heic", "heix", "mif1"})
_ANIMATIONS = frozenset({"gif", "apng", "webp_anim"})


@dataclass(frozen=True, slots=True)
class Probe:
    """What is known of a clip before it is decoded.

    `duration_s` is how long the pictures last, or the sound where there are none or only a still; 0 for a still alone.
    `size` is (width, height) as shown, (0, 0) without pictures; `rotation` the degrees clockwise that lead to it, and
    `orientation` the same with mirrors.
    `start_s` is the file's own time of what the clip calls 0 s. With a separate sound file, everything about sound is
    that file's. `notes` says what is odd about the file.
    """

    path: Path
    duration_s: float
    has_video: bool
    has_audio: bool
    size: tuple[int, int]
    rotation: int
    frames_per_s: float | None
    is_still: bool
    video_codec: str | None
    audio_codec: str | None
    start_s: float
    orientation: Orientation = Orientation()
    audio_start_s: float = 0.0
    audio_duration_s: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Track:
    """One stream: when it starts in the file's own time, how long it lasts, and in which codec."""

    start_s: float
    duration_s: float
    codec: str


@dataclass(frozen=True, slots=True)
class _Pictures(Track):
    size: tuple[int, int]
    orientation: Orientation
    frames_per_s: float | None
    is_still: bool
    notes: tuple[str, ...]


def probe(path: Path, audio_path: Path | None = None) -> Probe:
    """What the file holds, with the sound of `audio_path` in place of its own if that is given.

    Opens the container and decodes the first picture, for its rotation; only a file whose header says nothing of its
    length is read to its end, undecoded. Raises InputError if either file cannot be read, if neither pictures nor
    sound can be found in `path`, or no sound in `audio_path`.
    """
    path = Path(path)
    with open_media(path) as container:
        pictures = _pictures(container)
        sound = None if audio_path is not None else _sound(container)
    if audio_path is not None:
        sound = _separate_sound(Path(audio_path))
    if pictures is None and sound is None:
        raise InputError(
            f"{shown(path)} holds neither pictures nor sound that can be decoded", hint="Try another clip."
        )
    return _joined(path, pictures, sound)


def video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """The stream of moving pictures, or None; a cover attached to a song is none."""
    found = [s for s in container.streams.video if s.codec_context is not None and not _is_cover(s)]
    return next((s for s in found if s.disposition & av.stream.Disposition.default), found[0] if found else None)


def audio_stream(container: av.container.InputContainer) -> av.AudioStream | None:
    """The sound track that a player would choose, or None."""
    found = [s for s in container.streams.audio if s.codec_context is not None]
    return next((s for s in found if s.disposition & av.stream.Disposition.default), found[0] if found else None)


def _is_cover(stream: av.VideoStream) -> bool:
    marks = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    return bool(stream.disposition & marks)


def _joined(path: Path, pictures: _Pictures | None, sound: Track | None) -> Probe:
    if pictures is None:
        assert sound is not None
        still, duration_s, start_s = False, sound.duration_s, sound.start_s
    else:
        still = pictures.is_still
        duration_s = (sound.duration_s if sound else 0.0) if still else pictures.duration_s
        start_s = pictures.start_s
    return Probe(
        path=path,
        duration_s=duration_s,
        has_video=pictures is not None,
        has_audio=sound is not None,
        size=pictures.size if pictures else (0, 0),
        rotation=pictures.orientation.rotation if pictures else 0,
        frames_per_s=pictures.frames_per_s if pictures else None,
        is_still=still,
        video_codec=pictures.codec if pictures else None,
        audio_codec=sound.codec if sound else None,
        start_s=start_s,
        orientation=pictures.orientation if pictures else Orientation(),
        audio_start_s=sound.start_s if sound else 0.0,
        audio_duration_s=sound.duration_s if sound else 0.0,
        notes=pictures.notes if pictures else (),
    )


def _pictures(container: av.container.InputContainer) -> _Pictures | None:
    stream = video_stream(container)
    if stream is None:
        return None
    decoder = StreamDecoder(container, stream, 0.0)
    frame = first_frame(decoder)
    orientation = orientation_of(frame) if frame else Orientation()
    stored = (frame.width, frame.height) if frame else (stream.codec_context.width, stream.codec_context.height)
    rate = stream.average_rate or stream.guessed_rate
    start_s = _start_s(stream, frame)
    is_still = _is_still(container, decoder)
    duration_s, notes = (0.0, ()) if is_still else picture_duration(container, stream, start_s)
    return _Pictures(
        start_s,
        duration_s,
        stream.codec_context.name,
        orientation.size(stored),
        orientation,
        float(rate) if rate and not is_still else None,
        is_still,
        notes,
    )


def _sound(container: av.container.InputContainer) -> Track | None:
    stream = audio_stream(container)
    if stream is None:
        return None
    start_s = _start_s(stream, None)
    return Track(start_s, stream_length_s(container, stream, start_s), stream.codec_context.name)


def _separate_sound(path: Path) -> Track:
    with open_media(path) as container:
        sound = _sound(container)
    if sound is None:
        raise InputError(f"no sound track in {shown(path)}", hint="Give a file with sound after --audio.")
    return sound


def _start_s(stream: av.stream.Stream, frame: av.VideoFrame | None) -> float:
    """When the stream starts in the file's own time; streams without times start at 0."""
    if not is_timed(stream.container):
        return 0.0
    tick = stream.start_time if stream.start_time is not None else (frame.pts if frame is not None else None)
    return float((tick or 0) * stream.time_base)


def _is_still(container: av.container.InputContainer, decoder: StreamDecoder) -> bool:
    name = container.format.name
    if name.endswith("_pipe") or name == "image2":
        return True
    if name in _ANIMATIONS:
        return not any(packet.size for packet in decoder.packets())  # the first frame has been taken already
    return container.metadata.get("major_brand") in _STILL_BRANDS
