"""Every error has an exit code, a value in its message and a hint."""

from __future__ import annotations

import builtins

import pytest

from crab_core import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.ConfigError("a.yaml", ["lr: bad"]), 2),
        (errors.MissingExtra("x"), 2),
        (errors.InputError("x"), 3),
        (errors.AudioMissing("x"), 3),
        (errors.ModelError("x"), 4),
        (errors.WeightsMismatch("w", ["a"], []), 4),
        (errors.ResourceError("x"), 5),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_exit_codes(error: errors.CrabError, code: int) -> None:
    assert error.exit_code == code
    assert isinstance(error, errors.CrabError)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.UsageError, "ValueError"),
        (errors.InputError, "OSError"),
        (errors.MissingExtra, "ImportError"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_an_error_is_also_the_builtin_that_a_caller_expects(kind: type[errors.CrabError], builtin: str) -> None:
    assert issubclass(kind, getattr(builtins, builtin))


def test_the_text_is_the_message_then_the_hint() -> None:
    assert str(errors.InputError("no file 'a.mp4'", hint="Check the path.")) == "no file 'a.mp4'\nCheck the path."
    assert str(errors.InputError("no file 'a.mp4'")) == "no file 'a.mp4'"


def test_a_config_error_counts_and_lists_its_mistakes() -> None:
    error = errors.ConfigError("train.yaml", ["lr: bad", "steps: bad"])
    assert str(error) == "2 mistakes in 'train.yaml'\nlr: bad\nsteps: bad"
    assert errors.ConfigError("train.yaml", ["lr: bad"]).message == "1 mistake in 'train.yaml'"


def test_a_mismatch_shows_three_names_and_counts_the_rest() -> None:
    error = errors.WeightsMismatch("w.safetensors", ["a", "b", "c", "d", "e"], ["z"])
    assert "lacks 'a', 'b', 'c' and 2 more; has unknown 'z'" in error.message
    assert error.lacking == ("a", "b", "c", "d", "e")
