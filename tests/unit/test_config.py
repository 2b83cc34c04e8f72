"""YAML files and overrides become dataclasses; every mistake is told, once, with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from crab_core.config import load_config, read_yaml
from crab_core.errors import ConfigError, InputError


@dataclass(frozen=True)
class Stage:
    name: str
    steps: int = 10
    lr: float = 1e-3
    kind: Literal["visual", "audio"] = "visual"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


@dataclass(frozen=True)
class Run:
    name: str
    stages: tuple[Stage, ...] = ()
    out: Path | None = None
    size: tuple[int, int] = (1, 2)
    weights: Mapping[str, float] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    limit: int | Literal["all"] = "all"
    resume: bool = True

    def __post_init__(self) -> None:
        if min(self.weights.values(), default=0.0) < 0:
            raise ValueError("weights must not be negative")
        if len({one.name for one in self.stages}) < len(self.stages):
            raise ValueError("stages need names of their own")


def load(tmp_path: Path, text: str, *overrides: str) -> Run:
    path = tmp_path / "train.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(Run, path, overrides)


def test_a_file_becomes_the_dataclass(tmp_path: Path) -> None:
    run = load(
        tmp_path,
        "name: small\nstages:\n- {name: one, lr: 1e-3}\n- {name: two, steps: 3, kind: audio}\n"
        "out: runs/a\nsize: [3, 4]\nweights: {avqa: 4}\nnetwork: {depth: [1, 2]}\ntags: [a]\nlimit: 5\nresume: false\n",
    )
    assert run == Run(
        name="small",
        stages=(Stage("one"), Stage("two", 3, kind="audio")),
        out=Path("runs/a"),
        size=(3, 4),
        weights={"avqa": 4.0},
        network={"depth": [1, 2]},
        tags=["a"],
        limit=5,
        resume=False,
    )


@pytest.mark.parametrize(
    ("override", "attribute", "value"),
    [
        pytest.param("name=big", "name", "big", id="top level"),
        pytest.param("stages.0.steps=7", "stages", (Stage("one", 7),), id="inside a list"),
        pytest.param("stages.0.lr=3e-4", "stages", (Stage("one", lr=3e-4),), id="number written 3e-4"),
        pytest.param("weights.ave=2", "weights", {"ave": 2.0}, id="new key of a mapping"),
        pytest.param("network.a.b=2", "network", {"a": {"b": 2}}, id="nested mapping is made"),
        pytest.param("out=null", "out", None, id="null"),
        pytest.param("name=a=b", "name", "a=b", id="value with an equals sign"),
        pytest.param("resume=false", "resume", False, id="false"),
        pytest.param("limit=all", "limit", "all", id="second member of a union"),
        pytest.param("stages=[]", "stages", (), id="whole list"),
    ],
)
def test_override(tmp_path: Path, override: str, attribute: str, value: object) -> None:
    run = load(tmp_path, "name: small\nstages: [{name: one}]\nout: x\n", override)
    assert getattr(run, attribute) == value


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        pytest.param("name: x\nresum: true", "resum: no such key, did you mean 'resume'?", id="near key"),
        pytest.param("name: x\nzzzz: 1", "zzzz: no such key, the keys are name, stages", id="unknown key"),
        pytest.param("{}", "name: this key is required", id="required key"),
        pytest.param("name: 3", "name: expected a text, found number 3", id="number for a text"),
        pytest.param("name: x\nresume: 1", "resume: expected true or false, found number 1", id="number for a truth"),
        pytest.param("name: x\nlimit: none", "limit: 'none' is none of all", id="no member of the union"),
        pytest.param("name: x\nsize: [1]", "size: expected 2 values, found 1", id="tuple of the wrong length"),
        pytest.param("name: x\nsize: 1", "size: expected a list, found number 1", id="number for a list"),
        pytest.param("name: x\ntags: {a: 1}", "tags: expected a list, found mapping {'a': 1}", id="mapping for a list"),
        pytest.param(
            "name: x\nweights: [1]", "weights: expected 'key: value' lines, found list [1]", id="list for map"
        ),
        pytest.param("name: x\nweights: {a: b}", "weights.a: expected a number, found 'b'", id="text for a number"),
        pytest.param("name: x\nstages: [3]", "stages.0: expected 'key: value' lines", id="number for a dataclass"),
        pytest.param("name: x\nstages: [{name: a, steps: true}]", "stages.0.steps: expected a whole number", id="bool"),
        pytest.param("name: x\nstages: [{name: a, steps: 1.5}]", "stages.0.steps: expected a whole number", id="1.5"),
        pytest.param("name: x\nstages: [{name: a, kind: taste}]", "'taste' is none of visual, audio", id="literal"),
        pytest.param("name: x\nstages: [{name: a, steps: 0}]", "stages.0: steps must be at least 1", id="post init"),
        pytest.param("- a", "the file must hold 'key: value' lines, found a list", id="no mapping"),
        pytest.param("name: [", "line 1, column 8: expected the node content", id="broken yaml"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert mistake in str(caught.value)
    assert "1 mistake in" in caught.value.message


@pytest.mark.parametrize(
    ("override", "mistake"),
    [
        pytest.param("name", "--set 'name': write it as key=value", id="no equals sign"),
        pytest.param("a..b=1", "--set 'a..b=1': write it as key=value", id="empty key"),
        pytest.param("stages.4.name=x", "'stages' has 1 items, numbered from 0", id="index beyond the list"),
        pytest.param("name.x=1", "'name' is a single value", id="inside a text"),
        pytest.param("name=[", "--set 'name=[': line 1", id="broken yaml"),
    ],
)
def test_a_bad_override_is_told(tmp_path: Path, override: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "name: small\nstages: [{name: one}]\n", override)
    assert mistake in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "nam: x\nsize: 1\nstages: [{name: a, stps: 1}]", "oops")
    assert len(caught.value.mistakes) == 5
    assert caught.value.message.startswith("5 mistakes in")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        pytest.param(
            "name: x\nstages: [{name: a, steps: 0, zzzz: 1}]",
            ["stages.0.zzzz: no such key", "stages.0: steps must be at least 1, got 0"],
            id="beside an unknown key",
        ),
        pytest.param(
            "name: x\nstages: [{name: a, stpes: 0}]",
            ["stages.0.stpes: no such key, did you mean 'steps'?", "stages.0: steps must be at least 1, got 0"],
            id="under the misspelt key",
        ),
        pytest.param(
            "name: x\nstages: [{name: a, stpes: many}]",
            ["stages.0.stpes: no such key, did you mean 'steps'?", "stages.0.stpes: expected a whole number"],
            id="of the misspelt key's kind",
        ),
        pytest.param(
            "nam: x\nstages: [{name: a, steps: 3, stpes: 0}]",
            [
                "nam: no such key, did you mean 'name'?",
                "name: this key is required",
                "stages.0.stpes: no such key, did you mean 'steps'?",
            ],
            id="not of a key that is right beside it",
        ),
        pytest.param(
            "name: x\nzzzz: 1\nstages: [{name: a, zzzz: 1}, {name: a}]",
            ["zzzz: no such key", "stages.0.zzzz: no such key", "stages need names of their own"],
            id="of the whole",
        ),
    ],
)
def test_an_unknown_key_hides_no_other_mistake(tmp_path: Path, text: str, mistakes: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    told = sorted(caught.value.mistakes)
    assert len(told) == len(mistakes)
    for line, start in zip(told, sorted(mistakes), strict=True):
        assert line.startswith(start)


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    assert read_yaml(tmp_path / "empty.yaml") == {}


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read '.*none.yaml': No such file"):
        read_yaml(tmp_path / "none.yaml")


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read_yaml(tmp_path / "binary.yaml")
