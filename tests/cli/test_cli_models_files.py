"""`crab models pull|verify|where`: what they print and what they refuse."""

from __future__ import annotations

import json

import huggingface_hub.constants
import pytest
from hub_server import Hub, serve

BEATS = "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("CRAB_MODELS", str(tmp_path / "models"))
    with serve(Hub({"camenduru/beats": {BEATS: b"weights"}})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def test_a_pulled_file_is_told_found_and_verified(crab, hub):
    said = crab("models", "pull", "crab-7b", "--only", "beats")
    assert said.code == 0
    role, path = said.out.rstrip("\n").split("\t")
    assert (role, path.endswith(BEATS), said.err) == ("beats", True, "")
    rows = json.loads(crab("models", "where", "crab-7b", "--json").out)
    assert [row["file"] for row in rows if row["state"] == "here"] == [path]
    verified = crab("models", "verify", "crab-7b")
    assert (verified.code, verified.out.split("\t")[0]) == (0, path)


def test_where_and_info_ask_no_server(crab, hub):
    told = crab("models", "where", "crab-7b").out
    assert "gated, Llama 2 Community License" in told and "9.98 GB" in told
    facts = json.loads(crab("models", "info", "crab-7b", "--json").out)
    beats = next(source for source in facts["files"] if source["role"] == "beats")
    assert f"THUdyh/Ola_speech_encoders/{BEATS}" in beats["files"][0]["mirrors"]
    assert crab("models", "where", "mini").code == 0
    assert hub.asked == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        pytest.param(["pull", "crab7b"], 2, "Did you mean 'crab-7b'?", id="near-name"),
        pytest.param(["pull", "mini"], 2, "nothing to pull", id="embedded"),
        pytest.param(["pull", "crab-7b", "--only", "beat"], 2, "Did you mean 'beats'?", id="role"),
        pytest.param(["pull", "crab-7b", "--only", "llm"], 4, "shows no repository 'meta-llama", id="unknown"),
        pytest.param(["verify", "crab-7b"], 4, "is not on this machine", id="nothing-to-verify"),
        pytest.param(["where", "crap"], 4, "no model is called 'crap'", id="where"),
    ],
)
def test_refusals(crab, hub, words, code, told):
    said = crab("models", *words)
    assert (said.code, told in said.err) == (code, True)
    assert len(said.err.splitlines()) <= 2 and said.out == ""


def test_a_model_folder_is_verified(crab, tmp_path):
    said = crab("models", "verify", "mini", "--json")
    assert (said.code, {row["told_by"] for row in json.loads(said.out)}) == (0, {"crab.json"})
