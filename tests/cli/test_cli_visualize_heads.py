"""`crab visualize-heads` inside one process, with a tiny random network."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_family import write_clip
from tiny_crab import write_tiny

from crab_core.families.crab_network import CrabNetwork
from crab_core.media import probe


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def heads(crab, tiny):
    return lambda *words: crab("visualize-heads", *words, "-m", tiny, "--device", "cpu", "--max-new-tokens", 6)


def test_a_report_and_its_data(heads, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "<script>x.mp4")
    out = tmp_path / "out"
    said = heads(clip, "Who <b>barks</b>?", "-o", out, "--figures", "--raw", "--check", "-v")
    assert (said.code, said.out) == (0, f"{out / 'heads.html'}\n")
    assert "note: answer: " in said.err
    assert "question: head 1 0." in said.err
    page = (out / "heads.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;x.mp4" in page
    assert "Who &lt;b&gt;barks&lt;/b&gt;?" in page
    document = json.loads((out / "heads.json").read_text(encoding="utf-8"))
    assert document["heads"] == 3
    assert [one["name"] for one in document["ablations"]][-3:] == ["shares all even", "shares exchanged", "no head"]
    assert 0 < document["routing"]["entropy"][0][0] < document["routing"]["most"]
    assert "How the routers choose" in page
    assert [check["medium"] for check in document["checks"]] == ["video", "audio"]
    with np.load(out / "heads.npz") as arrays:
        np.testing.assert_allclose(arrays["raw"].sum(-1), 1, atol=1e-5)
    assert {path.suffix for path in (out / "figures").iterdir()} == {".svg", ".png"}


def test_a_video_of_the_heads_with_the_clips_sound(heads, tmp_path: Path) -> None:
    clip, out = write_clip(tmp_path / "bark.mp4"), tmp_path / "out"
    said = heads(clip, "Who barks?", "-o", out, "--no-ablate", "--video")
    assert (said.code, said.out) == (0, f"{out / 'heads.html'}\n")
    found, before = probe(out / "heads.mp4"), probe(clip)
    assert (found.video_codec, found.audio_codec, found.has_audio) == ("h264", "aac", True)
    assert found.duration_s == pytest.approx(before.duration_s, abs=0.1)
    assert found.size[0] > 3 * before.size[0]
    again = heads(clip, "Who barks?", "-o", out, "--no-ablate", "--video")
    assert (again.code, "is there already" in again.err) == (2, True)


def test_a_video_needs_a_picture(heads, tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "only.mp4", pictures=False)
    said = heads(sound, "Who barks?", "-o", tmp_path / "out", "--video")
    assert said.code == 2
    assert "--video paints over the picture, and" in said.err
    assert "Leave --video out" in said.err
    assert not (tmp_path / "out").exists()


def test_a_file_name_that_is_no_unicode(heads, tmp_path: Path) -> None:
    clip = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    write_clip(tmp_path / "x.mp4").rename(clip)
    said = heads(clip, "Who barks?", "-o", tmp_path / "out", "--no-ablate")
    assert said.code == 0
    assert json.loads((tmp_path / "out" / "heads.json").read_text())["result"]["id"] == clip.name
    assert "caf\\udce9.mp4" in (tmp_path / "out" / "heads.html").read_text()


def test_json_is_the_data(heads, clip: Path, tmp_path: Path) -> None:
    said = heads(clip, "Who?", "-o", tmp_path / "out", "--json", "--no-ablate", "--method", "share", "-q")
    document = json.loads(said.out)
    assert (document["method"], document["ablations"], said.err) == ("share", [], "")


def test_a_report_is_replaced_only_if_asked_for(heads, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert heads(clip, "Who?", "-o", out, "--no-ablate").code == 0
    again = heads(clip, "Who?", "-o", out, "--no-ablate")
    assert again.code == 2
    assert "heads.html' is there already" in again.err
    assert "--overwrite" in again.err
    assert heads(clip, "Who?", "-o", out, "--no-ablate", "--overwrite").code == 0
    assert (out / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        pytest.param(["Who?", "--method", "magic"], 2, "'magic'", id="unknown-method"),
        pytest.param([], 2, "task 'avqa' needs a question", id="no-question"),
        pytest.param(["Who?", "-o", "{clip}"], 2, "cannot make the folder", id="out-is-a-file"),
    ],
)
def test_mistakes(heads, clip: Path, tmp_path: Path, monkeypatch, words, code, told) -> None:
    monkeypatch.chdir(tmp_path)
    said = heads(clip, *(word.format(clip=clip) for word in words))
    assert said.code == code
    assert told in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param("none.mp4", "none.mp4", id="missing"),
        pytest.param("", "no file in", id="empty-folder"),
    ],
)
def test_bad_clips(heads, tmp_path: Path, name, told) -> None:
    said = heads(tmp_path / name, "Who?", "-o", tmp_path / "out")
    assert said.code == 3
    assert told in said.err
    assert not (tmp_path / "out").exists()


def test_a_model_without_heads(crab, clip: Path, tmp_path: Path) -> None:
    bare = write_tiny(tmp_path / "bare", heads=0)
    said = crab("visualize-heads", clip, "Who?", "-o", tmp_path / "out", "-m", bare, "--device", "cpu")
    assert said.code == 4
    assert "model 'tiny' has no I-LoRA" in said.err


def test_a_family_that_shows_no_heads(crab, folder: Path, clip: Path, tmp_path: Path) -> None:
    said = crab("visualize-heads", clip, "Who?", "-o", tmp_path / "out", "-m", folder, "--device", "cpu")
    assert said.code == 4
    assert "its family 'fake' shows none" in said.err


def test_the_report_of_a_heads_folder_is_its_page(heads, crab, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "one" / "bark"
    assert heads(clip, "Who?", "-o", out, "--no-ablate").code == 0
    said = crab("report", out)
    assert (said.code, said.out) == (0, f"{out / 'report.html'}\n")
    assert (out / "report.html").read_bytes() == (out / "heads.html").read_bytes()
    shutil.copytree(out, tmp_path / "one" / "again")
    assert crab("report", tmp_path / "one").code == 0
    assert (tmp_path / "one" / "report.html").read_text().count("What each LoRA head looks at") == 2
    document = json.loads((out / "heads.json").read_text())
    (out / "heads.json").write_text(json.dumps({**document, "by_kind": {"audio": ["<b>"]}}))
    said = crab("report", out, "--overwrite")
    assert said.code == 3
    assert "the data about heads in" in said.err
    assert crab("report", tmp_path / "one", "--overwrite").code == 1
    (out / "heads.npz").write_bytes(b"PK no archive")
    (out / "heads.json").write_text(json.dumps(document))
    said = crab("report", out, "--overwrite")
    assert said.code == 3
    assert "cannot read" in said.err


@pytest.mark.parametrize(
    ("media", "told", "lacking"),
    [
        pytest.param({"sound": False}, "no sound: no sound maps", "What each head listens to", id="no-sound"),
        pytest.param(
            {"pictures": False}, "the clip has no picture: no pixel maps", "What each head looks at", id="no-picture"
        ),
    ],
)
def test_a_clip_that_lacks_a_medium(heads, tmp_path: Path, media, told, lacking) -> None:
    clip = write_clip(tmp_path / "clip.mp4", **media)
    said = heads(clip, "Who?", "-o", tmp_path / "out", "--no-ablate", "--figures")
    assert (said.code, told in said.err) == (0, True)
    page = (tmp_path / "out" / "heads.html").read_text(encoding="utf-8")
    assert told in page
    assert f"<h2>{lacking}</h2>" not in page


def test_a_task_that_listens_refuses_a_clip_without_sound(heads, tmp_path: Path) -> None:
    said = heads(write_clip(tmp_path / "mute.mp4", sound=False), "--task", "ave", "-o", tmp_path / "out")
    assert said.code == 3
    assert "mute.mp4" in said.err
    assert not (tmp_path / "out").exists()


def test_one_head_only(crab, clip: Path, tmp_path: Path) -> None:
    one, out = write_tiny(tmp_path / "one", heads=1), tmp_path / "out"
    words = ("-o", out, "-m", one, "--device", "cpu", "--max-new-tokens", 4, "--figures", "--video")
    said = crab("visualize-heads", clip, "Who?", *words)
    assert said.code == 0
    assert "the model has one head: its share is 1 everywhere" in said.err
    assert "different matrices" not in (out / "heads.html").read_text(encoding="utf-8")
    assert json.loads((out / "heads.json").read_text(encoding="utf-8"))["alike"] is None
    assert (out / "heads.mp4").is_file()


def test_an_empty_answer(heads, clip: Path, tmp_path: Path, monkeypatch) -> None:
    usual = CrabNetwork.generate
    nothing = lambda *given, **named: replace(usual(*given, **named), token_ids=(), text="")  # noqa: E731
    monkeypatch.setattr(CrabNetwork, "generate", nothing)
    said = heads(clip, "Who?", "-o", tmp_path / "out", "--figures", "--video", "--check")
    assert said.code == 0
    assert "the model wrote nothing: there is no relevance and all maps are empty" in said.err
    assert "note: answer: (none)" in said.err
    page = (tmp_path / "out" / "heads.html").read_text(encoding="utf-8")
    assert "(no answer)" in page
    assert "nan" not in page.lower().replace("nano", "")
