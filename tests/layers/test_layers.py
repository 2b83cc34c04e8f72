"""Who may import whom. Rooms only look down; the failure names the file and the line.

The rules are data at the top of this file; docs/design.md gives the reasons.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent.parent
GROUND = {"types", "errors", "registry", "config", "progress", "optional", "stats", "files"}
MAY_IMPORT: dict[str, set[str]] = {
    "media": set(),
    "tasks": set(),
    "weights": set(),
    "nn": set(),
    "render": set(),
    "families": {"tasks", "weights", "nn"},
    "engine": {"media", "tasks", "weights"},
    "world": {"media", "tasks"},
    "data": {"media", "tasks"},
    "train": {"engine", "data", "world", "media", "tasks", "weights", "nn", "render"},
    "evaluate": {"engine", "data", "world", "tasks", "media", "render"},
    "batch": {"engine", "tasks", "media", "weights", "render"},
    "crab_cli": {"batch", "data", "evaluate", "train", "engine", "render", "world", "media", "tasks", "weights"},
}
OPEN_TO_ALL = {"crab_core.families._base"}  # the protocols: what a family is, without any family
WITHOUT_TORCH = {"ground", "media", "tasks", "render", "world", "data"}
TORCH = {"torch", "transformers", "peft", "accelerate", "bitsandbytes", "safetensors"}
HEAVY = TORCH | {"numpy", "cv2", "av", "PIL", "matplotlib", "tokenizers", "pycocotools", "yaml", "ray"}


@dataclass(frozen=True)
class Import:
    """One imported module: where, and whether it is imported with its file or only when a function runs or a type
    checker reads."""

    target: str
    line: int
    at_once: bool
    for_types: bool


def imports(tree: ast.AST, package: str, at_once: bool = True, for_types: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_block = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for target in _targets(node, package):
            yield Import(target, node.lineno, at_once, for_types)
        yield from imports(node, package, at_once and not inside and not typing_block, for_types or typing_block)


def _targets(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parents = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*parents, node.module] if node.module else parents) if node.level else node.module or ""
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
        name = node.args[0]
        return [name.value] if isinstance(name, ast.Constant) and isinstance(name.value, str) else []
    return []


def room_of(module: str) -> str | None:
    """`crab_core.media.probe` -> media; ground for the ground floor, facade for crab_core's own names, None for what is
    not ours."""
    parts = module.split(".")
    if parts[0] == "crab_cli":
        return "crab_cli"
    if parts[0] != "crab_core":
        return None
    if len(parts) == 1 or parts[1] not in {*MAY_IMPORT, *GROUND}:
        return "facade"
    return "ground" if parts[1] in GROUND else parts[1]


def complaint(module: str, one: Import) -> str | None:
    """Why the module must not hold this import, or None."""
    room, other = room_of(module), room_of(one.target)
    outside = one.target.partition(".")[0]
    if other is None:
        if room in WITHOUT_TORCH and outside in TORCH and not one.for_types:
            return f"{room} works without torch, but imports {outside}"
        if (room in {"crab_cli", "ground", "facade"}) and outside in HEAVY and one.at_once:
            return f"{outside} is heavy: import it inside the function that needs it"
        return None
    if other in {room, "ground"} or room == "facade":
        return None
    if other == "facade":
        return None if one.target.endswith("__version__") else f"{one.target} hides its room: import it from there"
    if any(one.target == name or one.target.startswith(name + ".") for name in OPEN_TO_ALL):
        return None
    if room == "ground":
        return f"the ground floor imports {one.target}"
    if other not in MAY_IMPORT[room or ""]:
        return f"{room} may not import {other} ({one.target})"
    if room == "crab_cli" and one.at_once and other != "tasks":
        return f"{one.target} is heavy: import it inside the function that needs it"
    return None


@dataclass(frozen=True)
class Source:
    """One file of the packages with its syntax tree."""

    path: Path
    module: str
    package: str
    tree: ast.Module


def sources() -> list[Source]:
    found = []
    for path in sorted([*REPO.glob("crab_core/**/*.py"), *REPO.glob("crab_cli/**/*.py")]):
        parts = path.relative_to(REPO).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        package = module if is_package else module.rpartition(".")[0]
        found.append(Source(path, module, package, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def offenders(source: Source) -> list[str]:
    where = source.path.relative_to(REPO) if source.path.is_relative_to(REPO) else source.path
    told = [(one.line, complaint(source.module, one)) for one in imports(source.tree, source.package)]
    return [f"{where}:{line}: {why}" for line, why in told if why]


def test_every_room_has_its_rule():
    rooms = {path.name for path in (REPO / "crab_core").iterdir() if path.is_dir() and path.name != "__pycache__"}
    files = {path.stem for path in (REPO / "crab_core").glob("*.py")}
    assert rooms <= set(MAY_IMPORT)
    assert files <= GROUND | {"__init__"}


def test_rooms_only_look_down():
    found = [line for source in sources() for line in offenders(source)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "code", "expected"),
    [
        ("crab_core.media.probe", "import torch", "media works without torch"),
        ("crab_core.media.probe", "def f():\n    from torch import nn", "media works without torch"),
        ("crab_core.tasks.ave", "import transformers.models", "tasks works without torch"),
        ("crab_core.tasks.ave", "from crab_core.media.probe import probe", "tasks may not import media"),
        ("crab_core.nn.splice", "from crab_core.families.crab import FAMILY", "nn may not import families"),
        ("crab_core.nn.splice", "from ..families import crab", "nn may not import families"),
        ("crab_core.engine.session", "from crab_core.families.crab import FAMILY", "engine may not import families"),
        ("crab_core.engine.session", "importlib.import_module('crab_core.families.crab')", "engine may not import fam"),
        ("crab_core.train.loop", "if TYPE_CHECKING:\n    from crab_core.families import crab", "train may not import"),
        ("crab_core.engine.run", "from crab_core.train.loop import fit", "engine may not import train"),
        ("crab_core.types", "from crab_core.media import probe", "the ground floor imports"),
        ("crab_core.types", "import numpy as np", "numpy is heavy"),
        ("crab_core.engine.run", "from crab_core import load", "hides its room"),
        ("crab_cli.app", "import numpy", "numpy is heavy"),
        ("crab_cli.commands.infer", "from crab_core.engine.session import load", "import it inside"),
        ("crab_cli.commands.infer", "def f():\n    from crab_core.nn import splice", "crab_cli may not import nn"),
    ],
)
def test_a_wrong_import_is_told(module, code, expected):
    found = offenders(Source(Path("file.py"), module, module.rpartition(".")[0], ast.parse(code)))
    assert len(found) == 1
    assert found[0].startswith("file.py:")
    assert expected in found[0]


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("crab_core.engine.session", "from crab_core.families._base import Network"),
        ("crab_core.engine.session", "import torch"),
        ("crab_core.families.crab", "from crab_core.nn.splice import splice\nfrom crab_core.tasks.ave import TASK"),
        ("crab_core.media.probe", "if TYPE_CHECKING:\n    import torch"),
        ("crab_core.types", "if TYPE_CHECKING:\n    import numpy as np"),
        ("crab_core.world.scene", "from crab_core.errors import UsageError\nfrom .bank import Bank"),
        ("crab_cli.commands.infer", "def f():\n    from crab_core.engine.session import load"),
        ("crab_cli.app", "from crab_core import __version__"),
    ],
)
def test_a_right_import_is_let_through(module, code):
    assert offenders(Source(Path("file.py"), module, module.rpartition(".")[0], ast.parse(code))) == []


def test_no_file_imports_itself_in_a_circle():
    modules = {source.module for source in sources()}
    graph: dict[str, set[str]] = {}
    for source in sources():
        targets = {one.target for one in imports(source.tree, source.package) if one.at_once}
        owners = {t if t in modules else t.rpartition(".")[0] for t in targets}
        graph[source.module] = (owners & modules) - {source.module}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as err:
        pytest.fail("import circle: " + " -> ".join(reversed(err.args[1])))


def test_the_core_never_prints():
    found = [
        f"{source.path.relative_to(REPO)}:{node.lineno}: print in the core"
        for source in sources()
        if source.module.startswith("crab_core")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not found, "\n" + "\n".join(found)


def run_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def test_the_command_line_imports_nothing_heavy(tmp_path):
    done = run_python("import sys, crab_cli.app; print(*sorted(m for m in sys.modules if '.' not in m))", tmp_path)
    assert done.returncode == 0, done.stderr
    assert HEAVY.isdisjoint(done.stdout.split())


def test_every_module_imports_and_importing_does_nothing(tmp_path):
    """Nothing is printed, no file is made, no logging is set up, and 4-bit packages wait until they are asked for."""
    names = [source.module for source in sources() if not source.module.endswith("__main__")]
    done = run_python(
        "import importlib, logging, sys\n"
        "before = list(logging.getLogger().handlers)\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "assert logging.getLogger().handlers == before, 'the root logger was changed'\n"
        "assert 'bitsandbytes' not in sys.modules, 'bitsandbytes was imported unasked'\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
