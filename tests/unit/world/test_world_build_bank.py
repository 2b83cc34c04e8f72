"""The builder's parts without its programs and sources: what it computes, and what it says of what is lacking."""

import io
import subprocess
import tarfile
import wave as wave_file
from pathlib import Path

import numpy as np
import pytest

from crab_core.errors import InputError, ResourceError
from crab_core.progress import Progress
from crab_core.world import build_bank
from crab_core.world.bank import load_bank
from crab_core.world.build_bank import __main__ as command
from crab_core.world.build_bank import drawing, recipes, soundfont, sources, speech
from crab_core.world.build_bank.modelled import HIT, MODELS, NOTE, model
from crab_core.world.build_bank.soundfont import Note, play
from crab_core.world.build_bank.sources import TRAINING_SOUNDS
from crab_core.world.build_bank.synth import LENGTH, LOOP_S, RECIPES
from crab_core.world.build_bank.tones import Dial
from crab_core.world.build_bank.waves import (
    LOUDNESS,
    close_loop,
    fade,
    is_audible_throughout,
    lay,
    level,
    loudness,
    resample,
    samples,
    trim,
)

MODELLED = next(font for font in TRAINING_SOUNDS if font.path is None)


def _tone(hz: float, count: int, rate: int = 16_000) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(count) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_resample_keeps_tone_and_length(rate: int) -> None:
    heard = resample(_tone(100, rate, rate), rate)
    assert len(heard) == 16_000
    one_sample = 2 * np.pi * 100 / 16_000
    assert np.abs(heard - _tone(100, 16_000))[800:-800].max() < one_sample


def test_resample_drops_what_16_khz_cannot_hold() -> None:
    assert np.abs(resample(_tone(12_000, 48_000, 48_000), 48_000))[800:-800].max() < 0.01


def test_a_closed_loop_has_no_seam() -> None:
    closed = close_loop(_tone(101.3, 5_000), 4_000)
    assert len(closed) == 4_000
    around = np.concatenate([closed, closed])
    assert np.abs(np.diff(around)).max() < 1.5 * np.abs(np.diff(_tone(101.3, 4_000))).max()


def test_lay_cuts_and_adds() -> None:
    one = np.ones(4, np.float32)
    assert lay([(0, one), (2, one), (5, one), (9, one)], 6).tolist() == [1, 1, 2, 2, 1, 2]


def test_fade_and_trim() -> None:
    faded = fade(np.ones(1_600, np.float32), in_s=0.01, out_s=0.02)
    assert faded[0] == faded[-1] == 0
    assert faded[200] == 1
    assert len(trim(np.pad(_tone(300, 400), 100))) == pytest.approx(400, abs=4)


@pytest.mark.parametrize("gain", [1e-4, 1.0, 40.0])
def test_level_gives_one_loudness_without_clipping(gain: float) -> None:
    clicks = np.zeros(8_000, np.float32)
    clicks[::400] = gain
    for wave in (_tone(440, 8_000) * np.float32(gain), clicks):
        levelled = level(wave)
        assert np.abs(levelled).max() <= 0.97
    assert loudness(level(_tone(440, 8_000) * np.float32(gain))) == pytest.approx(LOUDNESS, rel=0.01)


@pytest.mark.parametrize("name", RECIPES)
def test_synthesised_loops_are_audible_and_repeatable(name: str) -> None:
    first, again, other = (RECIPES[name](Dial((seed,), (0.8, 0.98)))[:LENGTH] for seed in (9, 9, 10))
    assert first.shape == (LENGTH,)
    assert (first == again).all()
    assert (first != other).any()
    assert is_audible_throughout(close_loop(first, samples(LOOP_S)))


@pytest.mark.parametrize("name", MODELS)
def test_models_sound_at_the_pitch_asked_for(name: str) -> None:
    (low,), (high,) = (model(name, [key], Dial((1,), MODELLED.lane)) for key in (57, 69))
    assert len(low) == (HIT if name in ("drum", "maracas") else NOTE)
    assert np.isfinite(low).all()
    if name not in ("drum", "maracas", "bell"):
        assert _repeats_after(high, 16_000 / 440) > 0.8
        assert _repeats_after(low, 16_000 / 220) > 0.8


def _repeats_after(wave: np.ndarray, period: float) -> float:
    """The correlation of the sustained part with itself one period later."""
    part, lag = wave[2_000:8_000], round(period)
    first, second = part[:-lag], part[lag:]
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def test_dial_stays_in_its_lane_of_every_quarter() -> None:
    dial = Dial((3,), (0.25, 0.5))
    drawn = np.array([dial(10, 18) for _ in range(400)])
    place = (drawn - 10) / 2
    assert set(np.floor(place)) == {0, 1, 2, 3}
    assert ((place % 1 >= 0.25) & (place % 1 <= 0.5)).all()


def _fake_fluidsynth(command: list[str], **_: object) -> None:
    """Plays each note-on of the MIDI file as a constant equal to its key, from its tick on, for 0.2 s."""
    midi = Path(command[-1]).read_bytes()
    position, tick, out = 22, 0, np.zeros((soundfont.RENDER_RATE_HZ * 3, 2), "<i2")
    while position < len(midi):
        delta = 0
        while midi[position] & 0x80:
            delta, position = delta << 7 | midi[position] & 0x7F, position + 1
        tick, position = tick + (delta << 7 | midi[position]), position + 1
        kind = midi[position] & 0xF0
        if kind == 0x90:
            first = tick * soundfont.RENDER_RATE_HZ // soundfont.TICKS_PER_S
            out[first : first + 9_600] = midi[position + 1] * 100
        position += 2 if kind == 0xC0 else 3
    Path(command[command.index("-F") + 1]).write_bytes(out.tobytes())


def test_each_note_comes_back_in_its_own_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", _fake_fluidsynth)
    notes = [Note(24, 40, 100, 0.1, 0.2), Note(None, 60, 90, 0.1, 0.3), Note(73, 80, 80, 0.2, 0.4)]
    waves = play(Path("any.sf2"), notes)
    assert [len(wave) for wave in waves] == [3_200, 4_800, 6_400]
    for wave, note in zip(waves, notes, strict=True):
        assert wave[1_600] == pytest.approx(note.key * 100 / 32_768, rel=0.01)


@pytest.mark.parametrize(
    ("call", "program"),
    [
        (lambda: play(Path("any.sf2"), [Note(0, 60, 90, 0.1, 0.2)]), "fluidsynth"),
        (lambda: speech.speak(("en",), 0, Dial((1,), (0, 1))), "espeak-ng"),
        (lambda: sources.fetch("nothing@1", "", Path()), "npm"),
    ],
    ids=["fluidsynth", "espeak-ng", "npm"],
)
def test_a_lacking_program_is_told(call, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ResourceError, match=program) as caught:
        call()
    assert program in (caught.value.hint or "")


def _fake_espeak(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
    spoken = io.BytesIO()
    with wave_file.open(spoken, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(22_050)
        silence, tone = np.zeros(4_000), 9_000 * _tone(300, 80_000, 22_050)
        sound.writeframes(np.concatenate([silence, tone]).astype("<i2").tobytes())
    return subprocess.CompletedProcess(command, 0, stdout=spoken.getvalue())


def test_speech_starts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", _fake_espeak)
    spoken = speech.speak(("en-gb+m1", "en-gb+f1"), 3, Dial((1,), (0, 0.25)))
    assert len(spoken) == LENGTH
    assert np.abs(spoken[:100]).max() > 0.1


def test_a_font_gives_every_class_its_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)

    def played(_: Path, notes: list[Note]) -> list[np.ndarray]:
        return [rng.normal(0, 0.1, samples(note.length_s)).astype(np.float32) for note in notes]

    def cheap(dial: Dial) -> np.ndarray:
        return dial.noise(LENGTH).astype(np.float32)

    monkeypatch.setattr(recipes, "RECIPES", dict.fromkeys(RECIPES, cheap))
    monkeypatch.setattr(recipes, "play", played)
    monkeypatch.setattr(subprocess, "run", _fake_espeak)
    for font in (TRAINING_SOUNDS[1], MODELLED):
        heard = recipes.sounds(font)
        assert all(len(waves) >= 4 for waves in heard.values())
        assert len(heard["person"]) == recipes.SPEECH_TAKES
        assert len(heard["drum"]) == 12


def test_a_loop_that_falls_silent_stops_the_build() -> None:
    wave = np.zeros(LENGTH, np.float32)
    wave[:8_000] = _tone(300, 8_000)
    with pytest.raises(InputError, match="'dog' falls silent"):
        recipes._loop("dog", wave)


def test_fetch_unpacks_only_the_known_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "drawing.svg").write_text("<svg/>")
    with tarfile.open(tmp_path / "art-1.tgz", "w:gz") as archive:
        archive.add(tmp_path / "in", "package")
    done = subprocess.CompletedProcess([], 0, stdout="art-1.tgz\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(InputError, match="another version"):
        sources.fetch("art@1", "0" * 64, tmp_path)
    monkeypatch.setattr(sources, "check", lambda *_: None)
    assert (sources.fetch("art@1", "", tmp_path) / "drawing.svg").read_text() == "<svg/>"


def test_a_lacking_source_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"font\.sf2") as caught:
        sources.check(tmp_path / "font.sf2", "")
    assert "LICENSES.md" in (caught.value.hint or "")


def test_a_drawing_is_cropped_and_centred() -> None:
    image = pytest.importorskip("PIL.Image")
    page = np.zeros((90, 90, 4), np.uint8)
    page[20:60, 30:50] = (200, 100, 50, 255)
    sprite = drawing._sprite(image.fromarray(page))
    seen = sprite[..., 3] > 128
    assert seen.any(1).sum() == 128
    assert abs(seen.any(0).sum() - 64) <= 2
    assert (seen == seen[:, ::-1]).mean() > 0.99
    with pytest.raises(InputError, match="empty"):
        drawing._sprite(image.fromarray(np.zeros((9, 9, 4), np.uint8)))


SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" fill="red"/></svg>'


def test_a_style_of_svg_files_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL.Image")
    pytest.importorskip("resvg_py")
    monkeypatch.setattr(drawing, "fetch", lambda *_: tmp_path)
    monkeypatch.setattr(drawing, "GLYPHS", {"dog": {"1f415": "dog"}})
    twemoji = next(style for style in sources.TRAINING_DRAWINGS if style.key == "twemoji")
    with pytest.raises(InputError, match=r"1f415\.svg"):
        drawing.sprites(twemoji, tmp_path)
    (tmp_path / "1f415.svg").write_text(SVG)
    (sprite,) = drawing.sprites(twemoji, tmp_path)["dog"]
    assert (sprite[64, 64] == (255, 0, 0, 255)).all()


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("fluent", "icons/flat/dog.svg"),
        ("fluent3d", "assets/1f415-fe0f.webp"),
        ("openmoji", "color/svg/1F415.svg"),
    ],
)
def test_each_style_finds_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, file: str) -> None:
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("resvg_py")
    monkeypatch.setattr(drawing, "fetch", lambda *_: tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    if file.endswith(".svg"):
        (tmp_path / file).write_text(SVG)
    else:
        image.new("RGBA", (40, 40), (255, 0, 0, 255)).save(tmp_path / file, lossless=True)
    style = next(one for one in (*sources.TRAINING_DRAWINGS, *sources.HELD_OUT_DRAWINGS) if one.key == key)
    sprite = drawing._sprite(drawing._reader(style, tmp_path)("1f415", "dog"))
    assert (sprite[64, 64] == (255, 0, 0, 255)).all()


@pytest.mark.parametrize("held_out", [False, True], ids=["training", "held out"])
def test_build_writes_styles_and_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_out: bool) -> None:
    monkeypatch.setattr(build_bank, "sprites", lambda *_: {"dog": [np.full((128, 128, 4), 255, np.uint8)]})
    monkeypatch.setattr(build_bank, "sounds", lambda _: {"dog": [_tone(300, 800)]})
    monkeypatch.setattr(build_bank, "check", lambda *_: None)
    heard: list[Progress] = []
    build_bank.build(tmp_path / "bank.npz", held_out=held_out, listen=heard.append)
    bank = load_bank(tmp_path / "bank.npz")
    assert (bank.styles, bank.fonts) == (
        (("openmoji",), ("timgm6mb",))
        if held_out
        else (("noto", "twemoji", "fluent", "fluent3d"), ("fluidr3", "musescore", "modelled"))
    )
    assert heard[-1].done == heard[-1].total == len(bank.styles) + len(bank.fonts)


def test_command_tells_progress_and_errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["build_bank", "-o", "bank.npz"])

    def build(_: Path, *, held_out: bool, listen) -> None:
        listen(Progress("bank", 1, 2, "sources", "noto"))
        raise InputError("no file 'noto'", hint="Install it.")

    monkeypatch.setattr(command, "build", build)
    assert command.main() == 3
    assert capsys.readouterr().err == "1/2 sources noto\nerror: no file 'noto'\nInstall it.\n"
    monkeypatch.setattr(command, "build", lambda *_, **__: None)
    assert command.main() == 0
