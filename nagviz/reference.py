"""The reference page, made of the docstrings and of what the commands say by `--help`.

    $ python -m nagviz.reference

writes it again, beside this file; the page is never edited.
"""

import ast
import inspect
import io
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from nagviz.cli import COMMANDS, main

PAGE = Path(__file__).with_name("REFERENCE.md")
ROOMS = ("optim", "landscape", "figures")
SHORT = ("optim", "landscape")  # whose names stand in `nagviz` too
EXPERIMENT = {"nagviz.experiment.data": ("read_cifar", "read_idx"), "nagviz.experiment.anatomy": ("dissect",)}
COLUMNS = "100"  # that a help text is laid out for


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([*_head(), *_rooms(), *_experiment(), *_commands()])


def _head() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "Made of the docstrings by `python -m nagviz.reference`; `help(nagviz.nag)` says the same of each name."
    for title in (*(f"nagviz.{room}" for room in ROOMS), "nagviz.experiment", "Commands"):
        yield ""
        yield f"* [{title}](#{title.lower().replace('.', '')})" + _index(title)


def _index(title: str) -> str:
    if title == "Commands":
        names = tuple(COMMANDS)
    elif title == "nagviz.experiment":
        names = tuple(name for names in EXPERIMENT.values() for name in names)
    else:
        names = tuple(import_module(title).__all__)
    return ": " + ", ".join(f"[`{name}`](#{_anchor(title, name)})" for name in names)


def _anchor(title: str, name: str) -> str:
    """As the headings below are linked by who renders Markdown."""
    return f"nagviz-{name}" if title == "Commands" else f"{title}.{name}".lower().replace(".", "")


def _rooms() -> Iterator[str]:
    for room in ROOMS:
        module = import_module(f"nagviz.{room}")
        yield from ("", f"## nagviz.{room}", "", *_text(inspect.getdoc(module) or ""))
        if room in SHORT:
            yield from ("", f"`nagviz.NAME` is the same as `nagviz.{room}.NAME`.")
        for name in module.__all__:
            yield from _entry(module, name)


def _experiment() -> Iterator[str]:
    yield from (
        "",
        "## nagviz.experiment",
        "",
        "How a run is made. Runs are made by commands; a few names serve without.",
    )
    for path, names in EXPERIMENT.items():
        for name in names:
            yield from _entry(import_module(path), name, "nagviz.experiment")


def _entry(module: ModuleType, name: str, room: str | None = None) -> Iterator[str]:
    value = getattr(module, name)
    yield from ("", f"### {room or module.__name__}.{name}", "")
    if room:
        yield from (f"Imported from `{module.__name__}`.", "")
    yield from ("```python", *_declared(module, name, value), "```", "")
    if _is_written(value):
        yield from _text(inspect.getdoc(value) or "")


def _text(words: str) -> Iterator[str]:
    """Its first paragraph as prose, and the rest as it stands."""
    first, _, rest = words.partition("\n\n")
    yield " ".join(first.split())
    if rest:
        yield from ("", "```text", rest.rstrip(), "```")


def _is_written(value: Any) -> bool:
    """Whether it has a docstring of its own, which a constant has not."""
    return inspect.isclass(value) or inspect.isroutine(inspect.unwrap(value))


def _declared(module: ModuleType, name: str, value: Any) -> list[str]:
    """How the source declares it: a signature, a record's fields with their comments, or a value."""
    if not _is_written(value):
        return [f"{name} = {value!r}"] if isinstance(value, int | float) else [f"{name}: {type(value).__name__}"]
    source = inspect.cleandoc("\n" + inspect.getsource(inspect.unwrap(value))).splitlines()
    (node,) = ast.parse("\n".join(source)).body
    if isinstance(node, ast.ClassDef):
        fields = [source[n.lineno - 1 : n.end_lineno] for n in node.body if isinstance(n, ast.AnnAssign)]
        return [source[node.lineno - 1], *(line for field in fields for line in field)]
    return source[node.lineno - 1 : node.body[0].lineno - 1]


def _commands() -> Iterator[str]:
    yield from ("", "## Commands", "")
    for i, name in enumerate(COMMANDS):
        yield from ([""] if i else [])
        yield from (f"### nagviz {name}", "", "```text", _help(name), "```")
    yield ""


def _help(name: str) -> str:
    said = io.StringIO()
    with mock.patch.dict(os.environ, {"COLUMNS": COLUMNS, "NO_COLOR": "1"}), redirect_stdout(said):
        main([name, "--help"])
    return said.getvalue().rstrip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
