"""Pulling from a server that speaks the hub's protocol: what is fetched, compared, gone on with, refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import huggingface_hub
import huggingface_hub.constants
import pytest
from hub_server import COMMIT, Hub, serve

from crab_core.errors import ModelError, ResourceError
from crab_core.progress import Note
from crab_core.weights import pull as module
from crab_core.weights.catalog import MODELS
from crab_core.weights.pull import pull, verify_pulled, where
from crab_core.weights.spec import RemoteFile, Source

BIG = bytes(range(256)) * 4000
SPEC = dataclasses.replace(
    MODELS["crab-7b"],
    sources=(
        Source("a/llm", "free", (RemoteFile("config.json"), RemoteFile("model.safetensors")), role="llm", whole=True),
        Source("b/copy", "free", (RemoteFile("beats.pt", mirrors=(("c/copy", "other.pt"),)),), role="beats"),
    ),
)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("CRAB_MODELS", str(tmp_path / "models"))
    files = {
        "a/llm": {"config.json": b"{}", "model.safetensors": BIG},
        "b/copy": {"beats.pt": BIG[:5000]},
        "c/copy": {"other.pt": BIG[:5000]},
    }
    with serve(Hub(files, small={"config.json"})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def gets(hub, name):
    return [entry for entry in hub.asked if entry[0] == "GET" and entry[1].endswith(name)]


def test_files_come_into_the_hubs_own_cache_with_their_sha256(hub, tmp_path):
    (llm, folder), (beats, file) = pull(SPEC)
    assert (llm.role, beats.role) == ("llm", "beats")
    assert folder == tmp_path / "hf" / "hub" / "models--a--llm" / "snapshots" / COMMIT
    assert (folder / "model.safetensors").read_bytes() == BIG
    assert file.read_bytes() == BIG[:5000]
    assert huggingface_hub.try_to_load_from_cache("b/copy", "beats.pt", cache_dir=tmp_path / "hf/hub") == str(file)
    told = {fact.name: (fact.told_by, fact.sha256) for _, fact in verify_pulled(SPEC)}
    assert told["beats.pt"] == ("hub", hashlib.sha256(BIG[:5000]).hexdigest())
    assert told["config.json"][0] == "first pull"


def test_what_is_there_is_not_fetched_again_and_needs_no_network(hub, monkeypatch):
    first = pull(SPEC)
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull(SPEC) == first
    assert hub.asked == []


def test_one_source_alone(hub):
    assert [source.role for source, _ in pull(SPEC, ("beats",))] == ["beats"]
    assert [path is not None for _, _, path in where(SPEC)] == [False, False, True]


def test_offline_asks_nobody(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        pull(SPEC)
    assert hub.asked == []


def test_a_file_that_is_cut_off_goes_on_where_it_ended(hub):
    hub.cut["model.safetensors"] = 400_000
    (_, folder), _ = pull(SPEC)
    assert (folder / "model.safetensors").read_bytes() == BIG
    assert [entry[2] for entry in gets(hub, "model.safetensors")] == ["", "bytes=400000-", "bytes=800000-"]


def test_a_later_pull_goes_on_with_the_part_that_is_there(hub):
    hub.cut["model.safetensors"] = 100_000
    with pytest.raises(ModelError, match="cannot reach|again and again") as caught:
        pull(SPEC)
    assert "it goes on" in (caught.value.hint or "")
    hub.asked.clear()
    hub.cut.clear()
    pull(SPEC)
    assert [entry[2] for entry in gets(hub, "model.safetensors")] == ["bytes=400000-"]


def test_a_server_without_ranges_starts_anew(hub):
    hub.cut["beats.pt"] = 1000
    with pytest.raises(ModelError):
        pull(SPEC)
    hub.cut.clear()
    hub.ranges = False
    *_, (_, file) = pull(SPEC)
    assert file.read_bytes() == BIG[:5000]


def test_a_part_longer_than_the_file_is_thrown_away(hub, tmp_path):
    blobs = tmp_path / "hf" / "hub" / "models--b--copy" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(BIG[:5000]).hexdigest()}.crab-part").write_bytes(b"x" * 6000)
    *_, (_, file) = pull(SPEC)
    assert file.read_bytes() == BIG[:5000]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_bytes_than_the_hub_announces_are_deleted(hub, tmp_path, name):
    hub.swapped.add(name)
    with pytest.raises(ModelError, match=f"'a/llm/{name}' is not the published file"):
        pull(SPEC)
    assert not list((tmp_path / "hf").rglob(name))
    assert not any(path.read_bytes().startswith(b"?") for path in (tmp_path / "hf").rglob("*") if path.is_file())


def test_the_sha256_of_the_catalogue_counts_more_than_the_hubs(hub):
    wrong = RemoteFile("beats.pt", sha256="0" * 64)
    spec = dataclasses.replace(SPEC, sources=(dataclasses.replace(SPEC.sources[1], files=(wrong,)),))
    with pytest.raises(ModelError, match="not '000000000000…'"):
        pull(spec)


def test_without_any_published_sha256_the_first_pull_is_recorded_and_said_so(hub, tmp_path):
    hub.opaque.add("beats.pt")
    heard = []
    pull(SPEC, ("beats",), heard.append)
    assert any("no sha256 is published for 'b/copy/beats.pt'" in one.text for one in heard if isinstance(one, Note))
    for path in (tmp_path / "hf").rglob("*"):
        if path.is_symlink() or path.is_file():
            path.unlink()
    hub.repositories["b/copy"]["beats.pt"] = BIG[:4999] + b"!"
    with pytest.raises(ModelError, match="is not the published file"):
        pull(SPEC, ("beats",))


def test_the_mirror_is_asked_when_the_first_place_has_nothing(hub):
    del hub.repositories["b/copy"]["beats.pt"]
    *_, (_, file) = pull(SPEC)
    assert file.name == "other.pt"
    del hub.repositories["b/copy"]
    del hub.repositories["c/copy"]
    file.unlink()
    with pytest.raises(ModelError, match="no repository 'b/copy'") as caught:
        pull(SPEC)
    assert "HF_TOKEN" in (caught.value.hint or "")


def test_a_gated_repository_says_what_to_do_and_opens_with_a_token(hub, monkeypatch):
    hub.gated.add("a/llm")
    with pytest.raises(ModelError, match="only to those who accept its licence") as caught:
        pull(SPEC)
    assert "https://huggingface.co/a/llm" in (caught.value.hint or "")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    pull(SPEC)
    assert {entry[3] for entry in hub.asked if entry[1].startswith("/cdn/")} == {""}  # no token for other hosts


def test_a_missing_file_and_a_dead_server_are_told(hub, monkeypatch):
    del hub.repositories["a/llm"]["model.safetensors"]
    with pytest.raises(ModelError, match=r"no file 'model.safetensors' in 'a/llm'"):
        pull(SPEC)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"cannot reach 'http://127.0.0.1:9'"):
        pull(SPEC, ("beats",))


def test_a_full_disk_is_told_before_anything_is_fetched(hub, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1}))
    with pytest.raises(ResourceError, match="GB more and the disk has"):
        pull(SPEC)
    assert not [entry for entry in hub.asked if entry[0] == "GET"]


def test_a_file_that_rots_is_found(hub):
    *_, (_, file) = pull(SPEC)
    file.resolve().write_bytes(b"rotten")
    with pytest.raises(ModelError, match="is damaged"):
        list(verify_pulled(SPEC))


def test_a_repository_that_changes_between_two_pulls_gives_one_folder(hub):
    hub.cut["model.safetensors"] = 100_000
    with pytest.raises(ModelError):
        pull(SPEC)
    hub.cut.clear()
    hub.commit = "b" * 40
    (_, folder), _ = pull(SPEC)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_damaged_record_is_told(hub, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "pulled.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(ModelError, match="no record of pulls"):
        pull(SPEC)
