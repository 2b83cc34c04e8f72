"""What is generated is fresh, and what the pages promise is there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from types import ModuleType

import pytest

from crab_core.evaluate.bootstrap import Score
from crab_core.evaluate.report import Line, Report, Table

PAGES = ["README.md", "docs/design.md", "docs/models.md", "docs/errors.md", "docs/extending.md", "docs/training.md"]
PAGES += ["CHANGELOG.md", "docs/data.md", "docs/eval.md"]


def script(repo, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, repo / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(repo / "docs"))  # as where the script is run
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(repo / "docs"))
    return module


def readme_commands(repo) -> list[str]:
    done = subprocess.run([repo / ".ci" / "run", "--list"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_error_catalogue_is_fresh(repo):
    page = (repo / "docs/errors.md").read_text(encoding="utf-8")
    assert page == script(repo, "error_catalogue").page(), "run: python docs/error_catalogue.py"


def test_the_error_catalogue_tells_each_class_once(repo):
    page = script(repo, "error_catalogue").page()
    assert page.count("| `InputError` | 3 |") == 1
    assert "| `MissingExtra` | 2 | A feature needs an optional package" in page


def test_the_model_card_is_fresh(repo):
    card = script(repo, "model_card")
    page = (repo / "docs/models.md").read_text(encoding="utf-8")
    assert page == card.filled(page, card.current()), "run: python docs/model_card.py"


def test_the_keys_of_a_run_are_fresh(repo):
    keys = script(repo, "training_keys")
    page = (repo / "docs/training.md").read_text(encoding="utf-8")
    assert page == keys.filled(page), "run: python docs/training_keys.py"
    assert "| `short_share` | `0.15` |" in page and "| `stages` | required |" in page


def test_a_key_without_a_meaning_stops_the_page(repo):
    keys = script(repo, "training_keys")
    with pytest.raises(ValueError, match="'seed'"):
        keys.table(keys.WorldData, {name: text for name, text in keys.DATA.items() if name != "seed"})
    with pytest.raises(ValueError, match="needs one pair of keys markers, and has 0"):
        keys.filled("no markers")


def test_the_model_card_holds_the_scores(repo):
    card = script(repo, "model_card")
    line = Line("all", Score(0.75, 0.7, 0.8, 40, 10), {"majority": Score(0.5, 0.4, 0.6, 40, 10)})
    report = Report("mini", {"seed": "0", "commit": "abc"}, (Table("AVQA, held-out clips", (line,)),))
    page = card.filled("before\n<!-- scores:mini -->\nold\n<!-- /scores:mini -->\nafter\n", report)
    assert page.startswith("before\n<!-- scores:mini -->\n\n* seed: 0\n* commit: abc\n\n### AVQA, held-out clips\n")
    assert "| all | 0.750 | 0.700 to 0.800 | 0.500 | 40 | 10 |\n" in page
    assert page.endswith("<!-- /scores:mini -->\nafter\n")
    assert "old" not in page
    assert card.filled(page, report) == page


def test_the_figures_of_heads_are_fresh(repo):
    card = script(repo, "heads_card")
    page = (repo / "docs/heads.md").read_text(encoding="utf-8")
    assert card.SCORES.exists()
    assert page == card.filled(page, card.current()), "run: python docs/heads_card.py"
    with pytest.raises(ValueError, match="needs one pair of figures:heads markers, and has 0"):
        card.filled("no markers", None)


def test_the_figures_of_heads_have_a_row_a_task_and_a_cell_a_router(repo):
    def line(name, value, **baselines):
        others = {key: Score(other, other, other, 4, 2) for key, other in baselines.items()}
        return Line(name, Score(value, value, value, 4, 2), others)

    fresh = {"random start": 1.5}
    choices = [line(f"entropy, {name}", value, **fresh) for name, value in (("layer 0 q", 0.5), ("layer 1 q", 1.0))]
    tables = (
        Table("How the routers choose: bits of 1.58", (line("entropy, mean of all routers", 0.75, **fresh), *choices)),
        Table("Mean share of each head", tuple(line(f"{task}, head 1", 0.25) for task in ("ave", "avqa"))),
        Table(
            "Pointing game: the strongest cell lies on it",
            (line("s4, the target, head 1", 0.3, chance=0.1), line("s4, other things, head 1", 0.9, chance=0.1)),
        ),
    )
    told = script(repo, "heads_card").figures(Report("mini", {"clips": "2"}, tables))
    assert "Entropy: 0.750 (0.750 to 0.750), at the random start 1.50." in told
    assert "| layer 0 | 0.50 (1.50) |\n| layer 1 | 1.00 (1.50) |\n" in told
    assert "| task | head 1 |\n| --- | --: |\n| ave | 0.250 (0.250 to 0.250) |\n| avqa | 0.250 (0.250" in told
    assert "| s4 | 0.300 (chance 0.100) |\n" in told and "0.900" not in told


def test_a_card_without_markers_is_refused(repo):
    with pytest.raises(ValueError, match="needs one pair of scores:mini markers, and has 0"):
        script(repo, "model_card").filled("no markers", None)


@pytest.mark.parametrize("page", ["<!-- a -->\n<!-- /b -->", "<!-- a -->\nx\n<!-- /a -->\n" * 2], ids=["none", "two"])
def test_text_is_put_between_one_pair_of_markers(repo, page: str):
    put_between = script(repo, "between_markers").put_between
    with pytest.raises(ValueError, match="needs one pair of a markers"):
        put_between(page, "a", "new")
    once = put_between("top\n<!-- a -->\nold\n<!-- /a -->\nend", "a", r"\1 new")
    assert once == "top\n<!-- a -->\n\n\\1 new\n<!-- /a -->\nend" == put_between(once, "a", r"\1 new")


def test_readme_installs_asks_and_tests_by_line_25(repo):
    commands = readme_commands(repo)
    assert "pip install -c constraints.txt -e '.[dev]'" in commands[0]
    assert commands[1].startswith("crab infer examples/clips/")
    assert commands[-1] == "pytest"
    lines = (repo / "README.md").read_text(encoding="utf-8").splitlines()
    assert all(f"$ {command}" in lines[:25] for command in commands)


def test_readme_shows_what_the_commands_really_print(repo):
    """Every line of stdout stands under its command; a terminal adds a header and the reasons."""
    blocks = "\n".join(
        re.findall(r"^```console\n(.*?)^```", (repo / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    )
    shown = dict(one.partition("\n")[::2] for one in blocks.removeprefix("$ ").split("\n$ "))
    asked = [command for command in readme_commands(repo) if command.startswith("crab infer")]
    assert asked
    for command in asked:
        words = [sys.executable, "-c", "from crab_cli.app import main; main()", *shlex.split(command)[1:]]
        done = subprocess.run(words, cwd=repo, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in shown[command].splitlines()]
        assert [line for line in done.stdout.splitlines() if line.split() not in lines] == []


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(repo, name):
    page = repo / name
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "docs/training.md"])
def test_a_trained_model_is_asked_in_the_folder_where_training_puts_it(repo, name):
    page = (repo / name).read_text(encoding="utf-8")
    assert re.search(r"^\$ crab train \S+ -o runs/mini$", page, re.M)
    assert re.findall(r"--model (runs/\S+)", page) != []
    assert set(re.findall(r"--model (runs/\S+)", page)) == {"runs/mini/model"}


def test_clips_of_the_readme_are_shipped(repo):
    named = set(re.findall(r"examples/clips/\S+\.mp4", (repo / "README.md").read_text(encoding="utf-8")))
    assert named
    assert [name for name in sorted(named) if not (repo / name).is_file()] == []


def test_files_that_the_code_names_exist(repo):
    named = re.compile(r"\b(?:examples|recipes|docs|tests|benchmarks)/[\w/.-]+\.[a-z0-9]+")
    found = [
        f"{path.relative_to(repo)} names {name}"
        for package in ("crab_core", "crab_cli")
        for path in sorted((repo / package).rglob("*.py"))
        for name in named.findall(path.read_text(encoding="utf-8"))
        if not (repo / name).exists()
    ]
    assert found == []


@pytest.mark.parametrize("name", PAGES)
def test_commands_that_pages_name_exist(repo, name):
    from typer.main import get_command

    from crab_cli.app import app

    known = set(get_command(app).commands)
    told = re.findall(r"(?:^\$ |`)crab ([a-z][a-z-]*)", (repo / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert set(told) <= known


@pytest.mark.parametrize(
    ("example", "arguments", "expected"),
    [
        ("ask.py", '{clips}/00000.mp4 "How many things are in the video?"', r"How many .* -> \w+"),
        ("events.py", "{clips}/00000.mp4", r"(audio|visual|both) +[.#]+ \w+ \d+ to \d+ s"),
        ("heads.py", "mini {folder}", r"heads 2 and 3: principal angle \d+ degrees, by chance \d+\npage and figures:"),
        ("score.py", "{clips} 1", r"\| all \| [01]\.\d{3} \|"),
    ],
)
def test_examples_run(repo, tmp_path, example, arguments, expected):
    command = [sys.executable, repo / "examples" / example]
    command += shlex.split(arguments.format(clips=repo / "examples" / "clips", folder=tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(expected, done.stdout)
