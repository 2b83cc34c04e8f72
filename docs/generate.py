"""Writes docs/commands/*.md from the command line's own help: one page a command.

python docs/generate.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from crab_cli.app import app

FOLDER = Path(__file__).parent / "commands"
WIDTH = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}


def pages() -> dict[str, str]:
    """Every page by file name."""
    names = list(command_names())
    made = {f"{'-'.join(name)}.md": page(name) for name in names}
    lines = [f"* [`crab {' '.join(name)}`]({'-'.join(name)}.md): {summary(name)}" for name in names]
    made["README.md"] = "\n".join(["# Commands", "", *lines, "", "Written by `python docs/generate.py`.", ""])
    return made


def command_names() -> Iterator[tuple[str, ...]]:
    """`("infer",)`, `("models", "list")` and so on, sorted."""
    for name, command in sorted(get_command(app).commands.items()):
        inner = getattr(command, "commands", None)
        yield from ((name, one) for one in sorted(inner)) if inner else ((name,),)


def page(name: tuple[str, ...]) -> str:
    """The help of a command as a page."""
    return f"# crab {' '.join(name)}\n\n```text\n{help_of(*name)}```\n"


def summary(name: tuple[str, ...]) -> str:
    """The first sentence of a command's help."""
    return help_of(*name).split("\n\n")[1].strip().replace("\n  ", " ")


def help_of(*name: str) -> str:
    """What `crab NAME --help` prints, 100 characters wide."""
    done = CliRunner().invoke(app, [*name, "--help"], prog_name="crab", env=WIDTH, terminal_width=100)
    assert done.exit_code == 0, done.output
    return "\n".join(line.rstrip() for line in done.output.splitlines()).strip("\n") + "\n"


def main() -> None:
    """Write the pages and remove those of commands that are gone."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
