"""Names are found in static tables; a wrong name is answered with the nearest right one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from crab_core.errors import MissingExtra, UsageError
from crab_core.optional import need
from crab_core.registry import FAMILIES, TASKS, Entry, lookup, suggest


@pytest.mark.parametrize("table", [FAMILIES, TASKS], ids=["families", "tasks"])
def test_every_entry_names_a_module_and_an_attribute(table: dict[str, Entry]) -> None:
    for name, entry in table.items():
        module, colon, attribute = entry.target.partition(":")
        assert colon and module.startswith("crab_core.") and attribute.isidentifier(), name
        assert entry.summary and "\n" not in entry.summary


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_entry_loads_the_task_of_its_name(name: str) -> None:
    assert TASKS[name].load().name == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("avqaa", "Did you mean 'avqa'?", id="near"),
        pytest.param("AVE", "Did you mean 'ave'?", id="upper case"),
        pytest.param("translate", f"Every task: {', '.join(TASKS)}.", id="far"),
    ],
)
def test_an_unknown_name_is_answered(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        lookup(TASKS, name, kind="task")
    assert f"'{name}'" in caught.value.message
    assert caught.value.hint == hint


def test_lookup_gives_the_entry_and_load_the_attribute() -> None:
    table = {"path": Entry("pathlib:Path", "a path")}
    assert lookup(table, "path", kind="thing").load().__name__ == "Path"
    assert suggest("pahts", ["path"], kind="thing") == "Did you mean 'path'?"


def test_need_gives_the_module_or_names_the_extra() -> None:
    assert need("json", extra="none", why="a test").__name__ == "json"
    with pytest.raises(MissingExtra, match="--engine ray needs the package 'no_such_package'") as caught:
        need("no_such_package.deep", extra="ray", why="--engine ray")
    assert caught.value.hint == "Install it with: pip install 'crab-av[ray]'"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, crab_core, crab_core.registry, crab_core.types, crab_core.errors, crab_core.config\n"
        "heavy = {'torch', 'numpy', 'transformers', 'av', 'cv2', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert 'Result' in dir(crab_core) and crab_core.Result.__name__ == 'Result'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import crab_core

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = crab_core.nothing
