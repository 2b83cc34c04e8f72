"""Help is light, complete and the same as in docs/commands; a result's JSON keeps its shape."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from crab_cli.app import main
from crab_core.types import Answer, Box, Event, Result

REPO = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
HEAVY = ["torch", "transformers", "peft", "numpy", "cv2", "av", "pydantic", "yaml", "rich.progress", "bitsandbytes"]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", REPO / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    return done.stdout


def test_the_pages_are_fresh() -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in (REPO / "docs" / "commands").glob("*.md")}
    assert found == generator().pages(), "run: python docs/generate.py"


@pytest.mark.parametrize("name", list(generator().command_names()), ids=" ".join)
def test_every_command_shows_three_examples_of_itself(name: tuple[str, ...]) -> None:
    examples = re.findall(r"^    (crab .*)$", generator().help_of(*name), re.MULTILINE)
    assert len(examples) == 3
    assert all(example.startswith(f"crab {' '.join(name)}") for example in examples)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--help"], id="help"),
        pytest.param(["infer", "--help"], id="infer help"),
        pytest.param(["--version"], id="version"),
        pytest.param(["models", "list"], id="models list"),
        pytest.param(["infer", "none.mp4"], id="infer without a question"),
        pytest.param(["infer", "none.mp4", "Who?", "--model", "minni"], id="infer with an unknown model"),
    ],
)
def test_nothing_heavy_is_loaded(words: list[str]) -> None:
    code = f"import sys; from crab_cli.app import run; run({words!r}); print(*set({HEAVY!r}) & set(sys.modules))"
    assert python(code).splitlines()[-1] == ""


def test_torch_is_not_loaded_for_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no film")
    code = (
        "import sys; from crab_cli.app import run; from crab_core.engine import resolve\n"
        "resolve.folder_of = lambda name: None\n"
        f"assert run(['infer', {str(tmp_path / 'bad.mp4')!r}, 'Who?']) == 3\n"
        "print('torch' in sys.modules)"
    )
    assert python(code) == "False\n"


def test_help_is_quick() -> None:
    command = [sys.executable, "-m", "crab_cli", "--help"]
    spent_s = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent_s) < 0.5, "seconds of computing, which a busy machine does not stretch; 0.15 as measured"


def test_version(crab) -> None:
    from crab_core import __version__

    assert crab("--version").out == f"crab {__version__}\n"


@pytest.mark.parametrize("words", [[], ["models"], ["data"]], ids=["crab", "models", "data"])
def test_no_command_shows_the_commands(crab, words: list[str]) -> None:
    said = crab(*words)
    assert said.code == 2 and said.out == ""
    assert "Usage:" in said.err and said.err.splitlines()[-2] == "crab: a command is needed"


def test_the_json_of_a_result_keeps_its_shape() -> None:
    result = Result(
        id="clip.mp4",
        model="mini",
        task="ave",
        question=None,
        answer=Answer("dog", "A dog barks."),
        events=(Event("dog", 0.0, 2.5, "both"),),
        boxes=(Box("dog", 1.0, 2.0, 3.0, 4.0, 0.5),),
        raw_text="<event> dog </event>",
        audio="used",
        duration_s=10.0,
        seconds=1.25,
        timings_s={"encode": 0.5},
        notes=("a note",),
        seed=1,
    )
    assert json.dumps(result.to_dict(), indent=2) + "\n" == (GOLDEN / "result.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("debug", "hushed"), [("0", True), ("1", False)])
def test_the_console_script_prepares_its_process(
    debug: str, hushed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["crab", "--version"])
    monkeypatch.setenv("CRAB_DEBUG", debug)
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "")
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY")
    with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("crab ")
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert ("TRANSFORMERS_VERBOSITY" in os.environ) == hushed
