"""A file and a view become a Clip: the frames and the sound that a network asked for, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crab_core.errors import InputError
from crab_core.media.frames import Pictures, read_frames
from crab_core.media.opening import shown, telling
from crab_core.media.probing import Probe, probe
from crab_core.media.sound import Sound, channels_cancel, read_sound
from crab_core.types import AudioState, Clip, View

_SILENCE = 10 ** (-80 / 20)  # -80 dBFS
_DIFFER_S = 0.5


def load_clip(
    path: Path, view: View, *, audio_path: Path | None = None, frame_size: tuple[int, int] | None = None
) -> Clip:
    """What `view` asks for of a video, a picture or a sound file, as a Clip whose notes say what is odd.

    Frames are those on screen at `view.frame_times_s`, at their own size or scaled to `frame_size` (W, H), each side
    by its own factor; `Clip.size` is always the original one. Sound comes from `audio_path` if that is given. A still
    picture is on screen all the time; a clip without pictures has no frames. Work and memory follow the view, not the
    length of the file.
    Raises InputError if a file is missing, broken or of the wrong kind, ResourceError if memory runs out.
    """
    path, audio_path = Path(path), Path(audio_path) if audio_path is not None else None
    found = probe(path, audio_path)
    with telling(path):
        pictures = _pictures(found, view, frame_size)
    with telling(audio_path or path):
        sound = _sound(found, view, audio_path)
    if found.has_video and view.frame_times_s and not len(pictures.frames) and _is_void(sound):
        raise InputError(f"nothing in {shown(path)} can be decoded", hint="Download or copy it again, or convert it.")
    audio, sound_notes = _state(found, view, sound, audio_path)
    return Clip(
        path=path,
        duration_s=found.duration_s,
        frame_times_s=np.array(view.frame_times_s if len(pictures.frames) else (), np.float64),
        frames=pictures.frames,
        waveform=sound.waveform if sound is not None and audio != "absent" else np.zeros(0, np.float32),
        sound_windows_s=view.sound_windows_s if audio != "absent" else (),
        size=found.size,
        audio=audio,
        audio_path=audio_path,
        notes=(*found.notes, *pictures.notes, *sound_notes),
    )


def _pictures(found: Probe, view: View, frame_size: tuple[int, int] | None) -> Pictures:
    if found.has_video:
        return read_frames(found, view.frame_times_s, frame_size)
    width, height = frame_size or found.size
    return Pictures(np.empty((0, height, width, 3), np.uint8))


def _sound(found: Probe, view: View, audio_path: Path | None) -> Sound | None:
    """The sound of the windows, or None if there is no sound track."""
    if not found.has_audio:
        return None
    takes_own_time = audio_path is not None or found.is_still or not found.has_video
    origin_s = found.audio_start_s if takes_own_time else found.start_s
    sound = read_sound(audio_path or found.path, view.sound_windows_s, origin_s)
    if not sound.has_samples and (audio_path is not None or not found.has_video):
        raise InputError(
            f"no sound can be decoded from {shown(audio_path or found.path)}: its track is empty or broken",
            hint="Give another file with sound, or record it again.",
        )
    return sound


def _is_void(sound: Sound | None) -> bool:
    """True without any sample, or if all that a broken track gave is silence, with which decoders fill gaps."""
    if sound is None or not sound.has_samples:
        return True
    return bool(sound.notes) and _is_silent(sound)


def _is_silent(sound: Sound) -> bool:
    return bool(len(sound.waveform)) and float(np.abs(sound.waveform).max()) < _SILENCE


def _state(
    found: Probe, view: View, sound: Sound | None, audio_path: Path | None
) -> tuple[AudioState, tuple[str, ...]]:
    """What became of the sound, and what to tell of it."""
    if sound is None:
        return "absent", ("there is no sound track",)
    if not sound.has_samples:
        return "absent", (*sound.notes, "the sound track is empty")
    notes = sound.notes + _mismatch(found, audio_path)
    if _is_silent(sound):
        return "silent", (*notes, _silence(found, view, audio_path))
    return ("used" if audio_path is None else "replaced"), notes


def _silence(found: Probe, view: View, audio_path: Path | None) -> str:
    """Why nothing was heard: the channels cancel each other, the sound lies elsewhere, or there is none."""
    if channels_cancel(audio_path or found.path):
        return "the channels of the sound cancel each other: give one of them with --audio FILE"
    heard_s = sum(end - start for start, end in view.sound_windows_s)
    if heard_s < found.audio_duration_s - _DIFFER_S:
        return f"the sound is silent in the {heard_s:.0f} s of {found.audio_duration_s:.0f} s that were listened to"
    return "the sound track is silent"


def _mismatch(found: Probe, audio_path: Path | None) -> tuple[str, ...]:
    """Sound and moving pictures that start apart or differ in length by more than half a second."""
    if not found.has_video or found.is_still:
        return ()
    notes: tuple[str, ...] = ()
    late_s = found.audio_start_s - found.start_s
    if audio_path is None and abs(late_s) > _DIFFER_S:
        notes += (f"the sound starts {abs(late_s):.1f} s {'after' if late_s > 0 else 'before'} the pictures",)
    if abs(found.audio_duration_s - found.duration_s) > _DIFFER_S:
        notes += (f"the sound lasts {found.audio_duration_s:.1f} s, the pictures {found.duration_s:.1f} s",)
    return notes
