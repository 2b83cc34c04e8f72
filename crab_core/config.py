"""A YAML file and `--set key=value` become a checked dataclass; all mistakes are told at once.

    @dataclass(frozen=True)
    class Optimizer:
        lr: float = 1e-3

    load_config(Optimizer, Path("train.yaml"), ["lr=3e-4"])     # Optimizer(lr=0.0003)

The dataclass is the schema: field types, defaults and `__post_init__` say what is allowed. Known types: bool, int,
float, str, Path, Literal, `X | None`, `list[X]`, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]` and dataclasses.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from crab_core.errors import ConfigError, InputError

T = TypeVar("T")

_WRONG = object()  # stands where a mistake was told, so that the reader goes on to the next key


def load_config(cls: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """The settings of a YAML file with `a.b=value` overrides on top, as an instance of the dataclass `cls`.

    Raises InputError if the file cannot be read, ConfigError with every mistake of the file and of the overrides.
    """
    mistakes: list[str] = []
    tree = read_yaml(path)
    for override in overrides:
        _override(tree, override, mistakes)
    settings = _build(cls, tree, "", mistakes)
    if mistakes:
        raise ConfigError(str(path), mistakes)
    return typing.cast(T, settings)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; an empty file is an empty mapping.

    Raises InputError if the file cannot be read, ConfigError if it is no YAML or no mapping.
    """
    import yaml

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise InputError(f"cannot read '{path}': {err.strerror}", hint="Check the path of the configuration.") from err
    except UnicodeDecodeError as err:
        raise ConfigError(str(path), [f"byte {err.start} is not UTF-8 text"]) from err
    except yaml.YAMLError as err:
        raise ConfigError(str(path), [_yaml_mistake(err)]) from err
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(str(path), [f"the file must hold 'key: value' lines, found a {_kind(tree)}"])
    return tree


def _yaml_mistake(err: Exception) -> str:
    mark = getattr(err, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return f"{place}{getattr(err, 'problem', None) or 'this is no YAML'}"


def _override(tree: dict[str, Any], override: str, mistakes: list[str]) -> None:
    """Put `a.b=value` or `a.0.b=value` into the tree; the value is read as YAML."""
    import yaml

    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        mistakes.append(f"--set '{override}': write it as key=value")
        return
    try:
        value = yaml.safe_load(text) if text.strip() else ""
    except yaml.YAMLError as err:
        mistakes.append(f"--set '{override}': {_yaml_mistake(err)}")
        return
    try:
        _put(tree, keys, value)
    except LookupError as err:
        mistakes.append(f"--set '{override}': {err.args[0]}")


def _put(tree: dict[str, Any], keys: Sequence[str], value: object) -> None:
    place: Any = tree
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(place, list):
            if not (key.isdecimal() and int(key) < len(place)):
                raise LookupError(f"'{'.'.join(keys[:depth])}' has {len(place)} items, numbered from 0")
            index: Any = int(key)
        elif isinstance(place, dict):
            index = key
            if not last and place.get(key) is None:
                place[key] = {}
        else:
            raise LookupError(f"'{'.'.join(keys[:depth])}' is a single value")
        if last:
            place[index] = value
        else:
            place = place[index]


def _build(kind: Any, value: object, where: str, mistakes: list[str]) -> Any:
    """The value as `kind`, or `_WRONG` after telling a mistake."""
    if kind is Any or kind is object:
        return value
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where, mistakes)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _build_union(kind, value, where, mistakes)
    if origin is Literal:
        return _build_literal(kind, value, where, mistakes)
    if origin in (list, tuple, Sequence):
        return _build_sequence(kind, value, where, mistakes)
    if origin in (dict, Mapping):
        return _build_mapping(kind, value, where, mistakes)
    return _build_scalar(kind, value, where, mistakes)


def _build_dataclass(kind: Any, value: object, where: str, mistakes: list[str]) -> Any:
    if not isinstance(value, dict):
        return _tell(mistakes, where, f"expected 'key: value' lines, found {_shown(value)}")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    given = _given(fields, value, where, mistakes)
    built = {}
    complete = True
    for name, field in fields.items():
        if name in given:
            built[name] = _build(hints[name], value[given[name]], _join(where, given[name]), mistakes)
            complete = complete and built[name] is not _WRONG
        if name not in value and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            mistakes.append(f"{_join(where, name)}: this key is required")
            complete = complete and name in given
    if not complete:
        return _WRONG
    try:
        return kind(**built)
    except ValueError as err:
        return _tell(mistakes, where, str(err))


def _given(
    fields: Mapping[str, object], value: Mapping[str, object], where: str, mistakes: list[str]
) -> dict[str, str]:
    """Field -> the key under which its value stands; of an unknown key that is the field nearest to it, if it is free,
    so that what follows from the value is told, too.
    """
    given = {name: name for name in fields if name in value}
    for key in value:
        if key not in fields:
            near = _near(str(key), list(fields))
            hint = f"did you mean '{near}'?" if near else f"the keys are {', '.join(fields)}"
            mistakes.append(f"{_join(where, key)}: no such key, {hint}")
            if near:
                given.setdefault(near, key)
    return given


def _build_union(kind: Any, value: object, where: str, mistakes: list[str]) -> Any:
    options = get_args(kind)
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    if isinstance(value, dict) and any(map(dataclasses.is_dataclass, rest)):
        return _build(max(rest, key=lambda option: _shared_keys(option, value)), value, where, mistakes)
    for option in rest[:-1]:
        attempt: list[str] = []
        built = _build(option, value, where, attempt)
        if not attempt:
            return built
    return _build(rest[-1], value, where, mistakes)


def _shared_keys(option: Any, value: Mapping[str, object]) -> int:
    """How many keys of the value the option has; ties go to the first option."""
    known = {field.name for field in dataclasses.fields(option)} if dataclasses.is_dataclass(option) else set()
    return len(known & set(value))


def _build_literal(kind: Any, value: object, where: str, mistakes: list[str]) -> Any:
    allowed = get_args(kind)
    if any(type(value) is type(option) and value == option for option in allowed):  # 1 is not True
        return value
    names = [str(option) for option in allowed]
    return _tell(mistakes, where, f"{_shown(value)} is none of {', '.join(names)}")


def _build_sequence(kind: Any, value: object, where: str, mistakes: list[str]) -> Any:
    arguments = get_args(kind)
    if not isinstance(value, list):
        return _tell(mistakes, where, f"expected a list, found {_shown(value)}")
    fixed = get_origin(kind) is tuple and arguments[-1] is not Ellipsis
    if fixed and len(value) != len(arguments):
        return _tell(mistakes, where, f"expected {len(arguments)} values, found {len(value)}")
    kinds = arguments if fixed else [arguments[0]] * len(value)
    built = [
        _build(one, item, _join(where, i), mistakes) for i, (one, item) in enumerate(zip(kinds, value, strict=True))
    ]
    if any(item is _WRONG for item in built):
        return _WRONG
    return built if get_origin(kind) is list else tuple(built)


def _build_mapping(kind: Any, value: object, where: str, mistakes: list[str]) -> Any:
    if not isinstance(value, dict):
        return _tell(mistakes, where, f"expected 'key: value' lines, found {_shown(value)}")
    key_kind, item_kind = get_args(kind)
    built = {
        _build(key_kind, key, _join(where, key), mistakes): _build(item_kind, item, _join(where, key), mistakes)
        for key, item in value.items()
    }
    return _WRONG if any(one is _WRONG for one in (*built, *built.values())) else built


def _build_scalar(kind: Any, value: object, where: str, mistakes: list[str]) -> Any:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-3 as a text
        except ValueError:
            pass
    elif kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    elif type(value) is kind:
        return value
    return _tell(mistakes, where, f"expected {_KINDS.get(kind, str(kind))}, found {_shown(value)}")


_NAMES = {
    dict: "mapping",
    list: "list",
    str: "text",
    bool: "truth value",
    type(None): "value",
    int: "number",
    float: "number",
}
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def _tell(mistakes: list[str], where: str, what: str) -> object:
    mistakes.append(f"{where}: {what}" if where else what)
    return _WRONG


def _near(key: str, known: list[str]) -> str | None:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return near[0] if near else None


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else f"{_kind(value)} {value!r}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)
