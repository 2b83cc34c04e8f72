"""Small media files of every odd kind, made once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from media_files import Movie, OneWay, Sound, drawings, tones, write


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make("name.mp4", movie, sound)` writes a file once a session and gives its path."""
    folder = tmp_path_factory.mktemp("media")

    def build(name: str, movie: Movie | None = None, sound: Sound | None = None, **how: object) -> Path:
        path = folder / name
        if not path.exists():
            if how.pop("live", False):
                target = OneWay(path)
                write(target, movie, sound, **how)
                target.close()
            else:
                write(path, movie, sound, **how)
        return path

    return build


@pytest.fixture(scope="session")
def plain(make: Callable[..., Path]) -> Path:
    """4 s of H.264 at 25 frames/s, 64 x 48, with B-frames and AAC sound."""
    return make("plain.mp4", Movie(drawings(100), options={"preset": "fast"}), Sound(tones(4)))
