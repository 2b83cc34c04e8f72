"""Sources sound where they are labelled, at their level, and nowhere else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from crab_core.world.bank import load_bank
from crab_core.world.scene import sample_scene
from crab_core.world.sound import LOUD_DBFS, audit_audibility, noise, render_sound, stems
from crab_core.world.tracks import FLOOR_DB, compose, level

RATE_HZ = 16_000


def levels_db(wave):
    return 10 * np.log10(np.mean(wave.reshape(-1, RATE_HZ).astype(np.float64) ** 2, axis=1) + 1e-12)


@pytest.fixture(scope="module")
def bank():
    return load_bank()


def test_sound_is_16_khz_below_full_scale_and_repeatable(bank):
    for index in range(12):
        scene = sample_scene("train", index, bank=bank, seconds=5)
        wave = render_sound(scene, bank)
        assert (wave.shape, wave.dtype) == ((5 * RATE_HZ,), np.float32)
        assert np.abs(wave).max() < 1
        assert np.array_equal(wave, render_sound(scene, bank))


@pytest.mark.parametrize("split", ["train", "geometry"])
def test_fewer_than_one_percent_of_the_labelled_seconds_are_wrong(bank, split):
    scenes = [sample_scene(split, index, bank=bank) for index in range(60)]
    assert audit_audibility(scenes, bank) < 0.01


def test_the_audit_finds_what_cannot_be_heard(fake_bank):
    class Dying(type(fake_bank)):
        """Tones that are gone after a tenth of a second, in a loop of three."""

        def sounds(self, font, name):
            silence = np.zeros(3 * RATE_HZ, np.float32)
            silence[:1600] = super().sounds(font, name)[0][:1600]
            return [silence]

    scene = sample_scene("train", 0, bank=fake_bank, kind="ave")
    siren = dataclasses.replace(scene.actors[0], name="siren")
    assert audit_audibility([dataclasses.replace(scene, actors=(siren,))], Dying()) > 0.3


def test_an_audit_of_nothing_finds_nothing(fake_bank):
    assert audit_audibility([], fake_bank) == 0.0


def test_sources_have_their_labelled_level_and_silence_around(bank):
    for index in range(12):
        scene = sample_scene("val", index, bank=bank)
        for actor, stem in stems(scene, bank):
            span = slice(actor.heard.start_s * RATE_HZ, actor.heard.end_s * RATE_HZ)
            measured_db = 10 * np.log10(np.mean(stem[span].astype(np.float64) ** 2))
            wanted_db = LOUD_DBFS + scene.acoustics.gain_db + actor.level_db
            # levels are at least 4 dB apart; below 2 dB of error no two of them can be taken for one another
            assert measured_db == pytest.approx(wanted_db, abs=1.5)
            assert not stem[: span.start].any()
            assert not stem[span.stop :].any()


def test_the_mix_is_the_sources_and_the_noise(fake_bank):
    scene = sample_scene("val", 3, bank=fake_bank)
    parts = stems(scene, fake_bank)
    mix = noise(scene, parts) + sum(stem for _, stem in parts)
    assert np.allclose(render_sound(scene, fake_bank), mix, atol=1e-6)


def test_a_scene_without_sources_is_quiet_noise(fake_bank):
    scene = dataclasses.replace(sample_scene("val", 0, bank=fake_bank), actors=())
    assert levels_db(render_sound(scene, fake_bank)) == pytest.approx(scene.acoustics.noise_db, abs=1.5)


def test_a_peak_above_full_scale_is_taken_back(fake_bank):
    scene = sample_scene("val", 3, bank=fake_bank, kind="ave")
    loud = dataclasses.replace(scene, acoustics=dataclasses.replace(scene.acoustics, gain_db=40.0, noise_db=0.0))
    assert 0.9 < np.abs(render_sound(loud, fake_bank)).max() < 1


@pytest.mark.parametrize("colour", ["white", "pink"])
def test_noise_has_its_colour(fake_bank, colour):
    scene = dataclasses.replace(sample_scene("val", 0, bank=fake_bank), actors=())
    scene = dataclasses.replace(scene, acoustics=dataclasses.replace(scene.acoustics, noise=colour))
    power = np.abs(np.fft.rfft(noise(scene, []))) ** 2
    low, high = power[1000:10_000].mean(), power[40_000:80_000].mean()
    assert (low / high > 4) == (colour == "pink")


@pytest.mark.parametrize(
    ("change", "changed"),
    [({"reverb_mix": 0.0}, True), ({"tilt_db": 6.0}, True), ({"peak_db": -6.0}, True), ({}, False)],
    ids=["no room", "tilt", "peak", "nothing"],
)
def test_room_and_equaliser_are_heard(fake_bank, change, changed):
    scene = sample_scene("val", 3, bank=fake_bank, kind="ave")
    base = dataclasses.replace(scene.acoustics, reverb_mix=0.3, tilt_db=-3.0, peak_db=3.0)
    plain, other = (
        stems(dataclasses.replace(scene, acoustics=acoustics), fake_bank)[0][1]
        for acoustics in (base, dataclasses.replace(base, **change))
    )
    assert (np.abs(plain - other).max() > 1e-3) == changed


@pytest.mark.parametrize("kind", ["note", "hit", "loop"])
@pytest.mark.parametrize("seconds", [1, 2, 10])
def test_tracks_are_even_and_their_own(fake_bank, kind, seconds):
    sounds = fake_bank.sounds("low", "guitar")
    track = compose(kind, sounds, seconds, seed=3)
    assert track.shape == (seconds * RATE_HZ,)
    assert np.mean(track**2) == pytest.approx(1, abs=1e-3)
    assert levels_db(track).min() > FLOOR_DB - 1
    assert np.array_equal(track, compose(kind, sounds, seconds, seed=3))
    assert not np.array_equal(track, compose(kind, sounds, seconds, seed=4))
    assert abs(track[0]) < 1e-3
    assert abs(track[-1]) < 1e-3


def test_composing_leaves_the_bank_alone(fake_bank):
    sounds = fake_bank.sounds("low", "guitar")
    kept = [sound.copy() for sound in sounds]
    for kind in ("note", "hit", "loop"):
        compose(kind, sounds, 3, seed=1)
    assert all(np.array_equal(one, other) for one, other in zip(sounds, kept, strict=True))


def test_faint_seconds_are_lifted():
    track = np.ones(3 * RATE_HZ, np.float32)
    track[RATE_HZ : 2 * RATE_HZ] = 0.1
    lifted_db = levels_db(level(track))
    whole_db = 10 * np.log10((1 + 0.01 + 1) / 3)
    assert lifted_db[1] - lifted_db[0] == pytest.approx(FLOOR_DB + whole_db, abs=0.7)
