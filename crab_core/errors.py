"""The error tree. Each class has an exit code; each error says what happened, with the value, and what to do.

CrabError
├── UsageError       2   an option or a question cannot be used
│   └── ConfigError      a configuration file has mistakes, all told at once
├── InputError       3   a media file is missing, broken or of the wrong kind
│   └── AudioMissing     a task listens and there is nothing to hear
├── ModelError       4   a model is unknown, or its weights are missing, damaged or mismatched
│   └── WeightsMismatch  tensors are lacking or unknown
├── ResourceError    5   memory or disk ran out
│   └── MissingExtra     an optional package is not installed (exit code 2)
└── Diverged         1   a training's loss is no number any more
"""

from __future__ import annotations

from collections.abc import Sequence


class CrabError(Exception):
    """Base of all errors that a user can act on.

    The message says what happened with the value in quotes; `hint` says what to do in the user's own words.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class UsageError(CrabError, ValueError):
    """An option, a name or a question cannot be used."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration has mistakes; `mistakes` lists all of them."""

    def __init__(self, where: str, mistakes: Sequence[str]) -> None:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(f"{count} in '{where}'", hint="\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class MissingExtra(UsageError, ImportError):
    """A feature needs an optional package that is not installed."""


class InputError(CrabError, OSError):
    """A file is missing, unreadable, broken or of the wrong kind."""

    exit_code = 3


class AudioMissing(InputError):
    """A task listens, and the clip has no sound."""


class ModelError(CrabError):
    """A model is unknown, or its weights are missing, damaged or do not fit."""

    exit_code = 4


class WeightsMismatch(ModelError):
    """Tensors that the network needs are lacking, or the file has some that it does not know."""

    def __init__(self, where: str, lacking: Sequence[str], unknown: Sequence[str]) -> None:
        def some(names: Sequence[str]) -> str:
            shown = ", ".join(f"'{name}'" for name in names[:3])
            return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"

        told = [f"lacks {some(lacking)}"] if lacking else []
        told += [f"has unknown {some(unknown)}"] if unknown else []
        super().__init__(
            f"the weights '{where}' do not fit the network: {'; '.join(told)}",
            hint="They belong to another model or another version: compare with: crab models info",
        )
        self.lacking = tuple(lacking)
        self.unknown = tuple(unknown)


class ResourceError(CrabError):
    """Memory or disk ran out."""

    exit_code = 5


class Diverged(CrabError):
    """The loss of a training is no number any more."""

    exit_code = 1
