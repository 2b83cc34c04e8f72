"""The bank: sprites and sounds that the generated world is made of, in one compact file.

An .npz whose `manifest` (JSON) lists styles, fonts and the length of every item; `sprites/STYLE/CLASS` holds PNG files
laid end to end, `sounds/FONT/CLASS` 8-bit mu-law samples at 16 kHz laid end to end. It is read without pickle and
decoded class by class when asked for.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.errors import InputError, ModelError, UsageError
from crab_core.registry import suggest

SHIPPED = Path(__file__).parent / "assets" / "bank.npz"
FORMAT = "crab.bank/1"
SPRITE_PX = 128
MU = 255
# What numpy, zipfile and json raise on a damaged file; RuntimeError: a method of packing that zipfile does not know.
DAMAGED = (ValueError, KeyError, EOFError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile, lzma.LZMAError)

Sprite = npt.NDArray[np.uint8]
Wave = npt.NDArray[np.float32]
Lengths = Mapping[str, Mapping[str, Sequence[int]]]


class Bank:
    """Sprites by drawing style and sounds by sound font, for every class; made by `load_bank`.

    styles, fonts: the names of the drawing styles and sound fonts; fingerprint: SHA-256 of the file's contents.
    """

    def __init__(self, content: bytes) -> None:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            self._packed = {key: archive[key] for key in archive.files}
        manifest = json.loads(self._packed.pop("manifest").tobytes())
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']!r}, not {FORMAT!r}")
        self._sprite_lengths: Lengths = manifest["sprites"]
        self._sound_lengths: Lengths = manifest["sounds"]
        self._decoded_sprites: dict[tuple[str, str], list[Sprite]] = {}
        self._decoded_sounds: dict[tuple[str, str], list[Wave]] = {}
        self.styles: tuple[str, ...] = tuple(self._sprite_lengths)
        self.fonts: tuple[str, ...] = tuple(self._sound_lengths)
        self.fingerprint: str = hashlib.sha256(content).hexdigest()
        self._check_sizes()

    def sprites(self, style: str, name: str) -> list[Sprite]:
        """The class's drawings in that style, each (128, 128, 4) uint8 RGBA, straight alpha, read-only.

        Raises UsageError if the style or the class is unknown.
        """
        if (style, name) not in self._decoded_sprites:
            pieces = self._pieces("sprites", self._sprite_lengths, style, name)
            self._decoded_sprites[style, name] = [_decode_png(piece) for piece in pieces]
        return list(self._decoded_sprites[style, name])

    def sounds(self, font: str, name: str) -> list[Wave]:
        """The class's sounds in that font, each (S,) float32 in [-1, 1], mono at 16 kHz, read-only.

        Their loudest 0.25 s have one root mean square, about 0.1. Raises UsageError if the font is unknown or the
        class makes no sound.
        """
        if (font, name) not in self._decoded_sounds:
            pieces = self._pieces("sounds", self._sound_lengths, font, name)
            self._decoded_sounds[font, name] = [_decode_sound(piece) for piece in pieces]
        return list(self._decoded_sounds[font, name])

    def _pieces(self, kind: str, lengths: Lengths, group: str, name: str) -> list[npt.NDArray[np.uint8]]:
        for key, known in ((group, lengths), (name, lengths.get(group, {}))):
            if key not in known:
                raise UsageError(
                    f"the bank has no {kind} of '{group}/{name}'", hint=suggest(key, list(known), kind="one")
                )
        ends = np.cumsum(lengths[group][name])
        return np.split(self._packed[f"{kind}/{group}/{name}"], ends[:-1])

    def _check_sizes(self) -> None:
        for kind, lengths in (("sprites", self._sprite_lengths), ("sounds", self._sound_lengths)):
            for group, classes in lengths.items():
                for name, each in classes.items():
                    if len(self._packed[f"{kind}/{group}/{name}"]) != sum(each) or not each:
                        raise ValueError(f"{kind} of {group}/{name} are cut")


class MixedBank(Bank):
    """The drawings of one bank and the sounds of another, to hold out one of the two."""

    def __init__(self, drawings: Bank, recordings: Bank) -> None:
        self.drawings, self.recordings = drawings, recordings
        self.styles, self.fonts = drawings.styles, recordings.fonts
        both = f"{drawings.fingerprint} {recordings.fingerprint}"
        self.fingerprint = hashlib.sha256(both.encode()).hexdigest()

    def sprites(self, style: str, name: str) -> list[Sprite]:
        """The class's drawings, as `Bank.sprites` of the first bank."""
        return self.drawings.sprites(style, name)

    def sounds(self, font: str, name: str) -> list[Wave]:
        """The class's sounds, as `Bank.sounds` of the second bank."""
        return self.recordings.sounds(font, name)


def load_bank(path: Path | None = None) -> Bank:
    """The bank in that file; None: the shipped one, read once.

    Raises ModelError if the shipped one is missing or damaged, InputError if another file is.
    """
    return _shipped() if path is None else _read(path)


def write_bank(
    path: Path,
    *,
    sprites: Mapping[str, Mapping[str, Sequence[bytes]]],
    sounds: Mapping[str, Mapping[str, Sequence[Wave]]],
) -> None:
    """Writes a bank: style -> class -> PNG files (RGBA, 128 x 128), font -> class -> waves in [-1, 1] at 16 kHz.

    The same contents give the same bytes.
    """
    packed: dict[str, npt.NDArray[np.uint8]] = {}
    drawn: dict[str, dict[str, list[int]]] = {style: {} for style in sprites}
    played: dict[str, dict[str, list[int]]] = {font: {} for font in sounds}
    for style, drawings in sprites.items():
        for name, files in drawings.items():
            packed[f"sprites/{style}/{name}"] = np.frombuffer(b"".join(files), np.uint8)
            drawn[style][name] = [len(file) for file in files]
    for font, classes in sounds.items():
        for name, waves in classes.items():
            packed[f"sounds/{font}/{name}"] = encode_mu_law(np.concatenate(waves))
            played[font][name] = [len(wave) for wave in waves]
    manifest = json.dumps({"format": FORMAT, "sprites": drawn, "sounds": played}).encode()
    packed["manifest"] = np.frombuffer(manifest, np.uint8)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:  # a sixth smaller than numpy's own deflate
        for key, array in packed.items():
            member = zipfile.ZipInfo(f"{key}.npy")  # its date is fixed
            member.compress_type = zipfile.ZIP_LZMA
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def encode_mu_law(wave: Wave) -> npt.NDArray[np.uint8]:
    """8-bit mu-law codes of samples in [-1, 1]; 128 is silence."""
    clipped = np.clip(wave, -1, 1)
    compressed = np.sign(clipped) * np.log1p(MU * np.abs(clipped)) / np.log1p(MU)
    return (np.rint(compressed * 127) + 128).astype(np.uint8)


def decode_mu_law(codes: npt.NDArray[np.uint8]) -> Wave:
    """Samples in [-1, 1] of 8-bit mu-law codes."""
    compressed = (np.arange(256) - 128) / 127
    table = np.sign(compressed) * np.expm1(np.abs(compressed) * np.log1p(MU)) / MU
    return np.clip(table, -1, 1).astype(np.float32)[codes]


@lru_cache(maxsize=1)
def _shipped() -> Bank:
    try:
        return _read(SHIPPED)
    except InputError as err:
        raise ModelError(f"the generated world cannot be used: {err.message}", hint="Reinstall crab-av.") from err


def _read(path: Path) -> Bank:
    try:
        return Bank(path.read_bytes())
    except OSError as err:
        raise InputError(
            f"cannot read the bank '{path}': {err.strerror}", hint="Give a file made by build_bank."
        ) from err
    except DAMAGED as err:
        raise InputError(f"'{path}' is not a bank or is damaged: {err}", hint="Make it again with build_bank.") from err


def _decode_png(piece: npt.NDArray[np.uint8]) -> Sprite:
    bgra = cv2.imdecode(piece, cv2.IMREAD_UNCHANGED)
    rgba = np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA), np.uint8)
    rgba.setflags(write=False)
    return rgba


def _decode_sound(piece: npt.NDArray[np.uint8]) -> Wave:
    wave = decode_mu_law(piece)
    wave.setflags(write=False)
    return wave
