"""The command as a process: streams, signals, completion."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CRAB = [sys.executable, "-m", "crab_cli"]


def test_a_closed_pipe_is_no_drama() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*CRAB, "models", "list"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == "" and done.returncode == 1


def test_an_undecodable_name_is_told_in_one_line(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9\nbar.mp4"
    done = subprocess.run(
        [*CRAB, "models", "info", name], capture_output=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    assert done.returncode == 4
    first, second = done.stderr.splitlines()
    assert first.endswith(b"caf\\udce9\\nbar.mp4'") and second.startswith(b"      ")


def test_interrupting_exits_130_in_one_line(tmp_path: Path) -> None:
    command = [*CRAB, "data", "synth", "-o", str(tmp_path / "out"), "--clips", "100000", "--size", "32"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 240
        while not list(tmp_path.glob("out/*.mp4")) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=120)
    assert (running.returncode, out, err) == (130, "", "crab: interrupted\n")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        pytest.param("crab inf", ["infer"], id="command"),
        pytest.param(
            "crab infer clip.mp4 --task av", ["avqa", "ave", "avvp", "avss", "avcap", "avqa-options"], id="task"
        ),
        pytest.param("crab infer clip.mp4 --model m", ["mini"], id="model"),
        pytest.param("crab models info crab-", ["crab-7b", "crab-plus-7b"], id="model argument"),
        pytest.param("crab infer clip.mp4 --dtype b", ["bfloat16"], id="choice"),
    ],
)
def test_completion_offers(words: str, offered: list[str]) -> None:
    env = {
        **os.environ,
        "_CRAB_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(CRAB, capture_output=True, text=True, env=env, check=True)
    assert done.stdout.split() == offered


def test_the_completion_script_can_be_shown() -> None:
    script = subprocess.run(
        ["bash", "-c", '"$0" -m crab_cli --show-completion; exit $?', sys.executable],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "_CRAB_COMPLETE=complete_bash" in script
