"""The shipped bank holds what its table of classes promises, at one loudness, and damage is told."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from crab_core.errors import InputError, ModelError, UsageError
from crab_core.world import bank as bank_module
from crab_core.world.bank import SHIPPED, Bank, MixedBank, decode_mu_law, encode_mu_law, load_bank, write_bank
from crab_core.world.build_bank.drawing import GLYPHS, png
from crab_core.world.build_bank.recipes import EFFECTS, PLAYED
from crab_core.world.build_bank.sources import HELD_OUT_DRAWINGS, HELD_OUT_SOUNDS, TRAINING_DRAWINGS, TRAINING_SOUNDS
from crab_core.world.build_bank.synth import RECIPES
from crab_core.world.build_bank.waves import LOUDNESS, is_audible_throughout, loudness
from crab_core.world.classes import SILENT, SOUNDING

CLASSES = [one.name for one in SOUNDING + SILENT]


@pytest.fixture(scope="module")
def bank() -> Bank:
    return load_bank()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.npz"
    sprite = np.full((128, 128, 4), (10, 200, 30, 255), np.uint8)
    wave = np.sin(np.arange(8000) / 5).astype(np.float32) * 0.1
    write_bank(path, sprites={"flat": {"dog": [png(sprite)]}}, sounds={"font": {"dog": [wave, wave[:100]]}})
    return path


def test_classes_are_enough_and_distinct() -> None:
    assert len(SOUNDING) >= 20
    assert len(SILENT) == 8
    assert len(set(CLASSES)) == len(CLASSES)
    assert {one.kind for one in SOUNDING} == {"note", "hit", "loop"}
    assert {one.kind for one in SILENT} == {"none"}
    assert all((one.article == "an") == (one.name[0] in "aeiou") for one in SOUNDING + SILENT)


def test_every_class_has_a_recipe() -> None:
    assert list(GLYPHS) == CLASSES
    assert {*PLAYED, *EFFECTS, *RECIPES, "person"} == {one.name for one in SOUNDING}
    assert set(PLAYED) == {one.name for one in SOUNDING if one.kind != "loop"}


def test_bank_is_small_and_knows_its_styles_and_fonts(bank: Bank) -> None:
    assert SHIPPED.stat().st_size <= 10_000_000
    assert bank.styles == tuple(style.key for style in TRAINING_DRAWINGS)
    assert bank.fonts == tuple(font.key for font in TRAINING_SOUNDS)
    assert len(bank.styles) >= 3
    assert len(bank.fonts) >= 2
    assert len(bank.fingerprint) == 64


def test_held_out_sources_are_not_in_the_bank(bank: Bank) -> None:
    assert not {style.key for style in HELD_OUT_DRAWINGS} & set(bank.styles)
    assert not {font.key for font in HELD_OUT_SOUNDS} & set(bank.fonts)


def test_fonts_never_share_a_random_value() -> None:
    fonts = (*TRAINING_SOUNDS, *HELD_OUT_SOUNDS)
    lanes = sorted(font.lane for font in fonts)
    assert all(first[1] < second[0] for first, second in zip(lanes, lanes[1:], strict=False))
    assert len({font.seed for font in fonts}) == len(fonts)
    voices = [voice for font in fonts for voice in font.voices]
    assert len(set(voices)) == len(voices)


@pytest.mark.parametrize("name", CLASSES)
def test_every_style_draws_the_class(bank: Bank, name: str) -> None:
    for style in bank.styles:
        sprites = bank.sprites(style, name)
        assert len(sprites) == len(GLYPHS[name])
        for sprite in sprites:
            assert sprite.shape == (128, 128, 4)
            assert sprite.dtype == np.uint8
            seen = sprite[..., 3] >= 8
            assert 0.05 < seen.mean() < 1
            assert max(np.ptp(np.flatnonzero(seen.any(axis)).astype(int)) for axis in (0, 1)) >= 125
            assert not sprite.flags.writeable


@pytest.mark.parametrize("one", SOUNDING, ids=lambda one: one.name)
def test_every_font_plays_the_class_at_one_loudness(bank: Bank, one) -> None:
    for font in bank.fonts:
        waves = bank.sounds(font, one.name)
        assert len(waves) >= (4 if one.kind == "loop" else 10)
        for wave in waves:
            assert wave.dtype == np.float32
            assert wave.ndim == 1
            assert np.abs(wave).max() <= 1
            assert loudness(wave) == pytest.approx(LOUDNESS, rel=0.05)
            assert not wave.flags.writeable


@pytest.mark.parametrize("one", [one for one in SOUNDING if one.kind == "loop"], ids=lambda one: one.name)
def test_loops_are_audible_throughout(bank: Bank, one) -> None:
    for font in bank.fonts:
        for wave in bank.sounds(font, one.name):
            assert 3.0 <= len(wave) / 16_000 <= 4.0
            assert is_audible_throughout(wave)


@pytest.mark.parametrize("one", [one for one in SOUNDING if one.kind in ("note", "hit")], ids=lambda one: one.name)
def test_notes_and_hits_start_at_once_and_end_in_silence(bank: Bank, one) -> None:
    for font in bank.fonts:
        for wave in bank.sounds(font, one.name):
            assert np.argmax(np.abs(wave) > 0.1 * np.abs(wave).max()) < 0.1 * 16_000
            assert np.abs(wave[-16:]).max() < 0.02


def test_fonts_play_different_sounds(bank: Bank) -> None:
    for one in SOUNDING:
        heard = [wave.tobytes() for font in bank.fonts for wave in bank.sounds(font, one.name)]
        assert len(set(heard)) == len(heard), one.name


def test_silence_is_no_loop() -> None:
    wave = np.sin(np.arange(48_000) / 3).astype(np.float32)
    assert is_audible_throughout(wave)
    wave[16_000:] = 0
    assert not is_audible_throughout(wave)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda bank: bank.sprites("notto", "dog"), "noto"),
        (lambda bank: bank.sprites("noto", "dogg"), "dog"),
        (lambda bank: bank.sounds("fluidr3", "apple"), "fluidr3/apple"),
        (lambda bank: bank.sounds("timgm6mb", "dog"), "timgm6mb/dog"),
    ],
    ids=["unknown style", "unknown class", "silent class", "held-out font"],
)
def test_unknown_names_are_told(bank: Bank, call, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call(bank)


def test_written_bank_reads_back(small: Path) -> None:
    bank = load_bank(small)
    (sprite,) = bank.sprites("flat", "dog")
    assert (sprite == (10, 200, 30, 255)).all()
    first, second = bank.sounds("font", "dog")
    assert (len(first), len(second)) == (8000, 100)
    assert np.abs(first - np.sin(np.arange(8000) / 5) * 0.1).max() < 0.003
    assert bank.fingerprint != load_bank().fingerprint


def test_same_contents_give_the_same_bytes(small: Path, tmp_path: Path) -> None:
    bank, again = load_bank(small), tmp_path / "again.npz"
    sprites = {"flat": {"dog": [png(sprite) for sprite in bank.sprites("flat", "dog")]}}
    write_bank(again, sprites=sprites, sounds={"font": {"dog": bank.sounds("font", "dog")}})
    assert again.read_bytes() == small.read_bytes()
    assert load_bank(again).fingerprint == bank.fingerprint


def test_mu_law_keeps_every_code() -> None:
    codes = np.arange(1, 256, dtype=np.uint8)
    assert (encode_mu_law(decode_mu_law(codes)) == codes).all()
    assert decode_mu_law(np.array([128], np.uint8))[0] == 0


def test_shipped_bank_is_read_once() -> None:
    assert load_bank() is load_bank()


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 4
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 40]) + content[middle + 40 :]


def _without_a_member(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as kept:
        for name in source.namelist():
            if not name.startswith("sounds/"):
                kept.writestr(name, source.read(name))
    return target.getvalue()


def _other_format(content: bytes) -> bytes:
    target = io.BytesIO()
    np.savez(target, manifest=np.frombuffer(b'{"format": "other/9"}', np.uint8))
    return target.getvalue()


@pytest.mark.parametrize(
    "damage",
    [_cut, _flipped, _without_a_member, _other_format, lambda _: b"", lambda _: b"not a bank", lambda _: b"\x93NUMPY"],
    ids=["cut", "flipped bytes", "a member is missing", "another format", "empty", "text", "half an array"],
)
def test_damaged_bank_is_told(small: Path, damage) -> None:
    small.write_bytes(damage(small.read_bytes()))
    with pytest.raises(InputError, match=r"small\.npz") as caught:
        load_bank(small)
    assert caught.value.hint


def test_missing_bank_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"none\.npz"):
        load_bank(tmp_path / "none.npz")
    monkeypatch.setattr(bank_module, "SHIPPED", tmp_path / "none.npz")
    bank_module._shipped.cache_clear()
    with pytest.raises(ModelError, match=r"none\.npz") as caught:
        load_bank()
    assert "Reinstall" in str(caught.value)
    bank_module._shipped.cache_clear()


def test_every_source_has_its_licence() -> None:
    told = (SHIPPED.parent / "LICENSES.md").read_text()
    for key in (*bank_module.load_bank().styles, *bank_module.load_bank().fonts):
        assert f"`{key}`" in told
    for style in (*TRAINING_DRAWINGS, *HELD_OUT_DRAWINGS):
        name, _, version = style.package.rpartition("@")
        assert (name or "Noto Color Emoji") in told
        assert not name or version in told
    for one in SOUNDING + SILENT:
        assert one.name in told


def test_a_mixed_bank_draws_from_one_and_plays_from_the_other(small: Path) -> None:
    first, second = load_bank(), load_bank(small)
    mixed = MixedBank(first, second)
    assert (mixed.styles, mixed.fonts) == (first.styles, second.fonts)
    style, font = first.styles[0], second.fonts[0]
    assert all((a == b).all() for a, b in zip(mixed.sprites(style, "dog"), first.sprites(style, "dog"), strict=True))
    assert all((a == b).all() for a, b in zip(mixed.sounds(font, "dog"), second.sounds(font, "dog"), strict=True))
    assert mixed.fingerprint not in (first.fingerprint, second.fingerprint)
