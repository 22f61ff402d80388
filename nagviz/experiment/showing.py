"""What is in a run's folder, in words."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from nagviz.experiment import drawing, report
from nagviz.experiment.config import ConfigError, load, own_code
from nagviz.experiment.tables.runs import Run
from nagviz.landscape import arrays, bytes_in_words
from nagviz.landscape.recorder import KINDS


def told(folder: Path) -> Iterator[str]:
    """Lines that tell a run: its question, config, state, results, files and versions.

    What is damaged is told in its place, and the rest all the same.

    Args:
        folder: of the run.

    Raises:
        Refusal: the folder holds no run.
    """
    file, own = report.require_run(folder), False
    try:
        run = load(file)
        own = any(own_code(run).values())
        yield from [run.question or "(asks no question)", *filter(None, [run.expected]), "", *_config(run)]
    except ConfigError as error:
        yield from error.mistakes
    yield f"state: {_state(folder, own)}"
    yield from _results(folder / "results.md")
    if wanted := drawing.on_demand(folder):
        yield from ["", f"on demand: nagviz figure {shlex.quote(str(folder))} {' | '.join(wanted)}"]
    yield from ["", "files:", *_files(folder)]
    yield from ["", "versions:", *_versions(folder / "environment.json")]


def _config(run: Run) -> Iterator[str]:
    """The tables of a config, by what they say over their defaults."""
    yield f"name: {run.name}"
    for name in type(run).model_fields:
        value = getattr(run, name)
        if name == "plane" and run.projection is not None:
            continue  # the other stands in its place
        if name == "observe":
            yield f"{name}: {', '.join(value) or 'nothing besides'}"
        elif isinstance(value, tuple):
            for i, table in enumerate(value):
                yield f"{name}.{i}: {_said(table.model_dump(mode='json', exclude_defaults=True))}"
        elif hasattr(value, "model_dump"):
            yield f"{name}: {_said(value.model_dump(mode='json'))}"
        elif name not in ("question", "expected", "name") and value is not None:
            yield f"{name}: {value}"


def _said(table: dict[str, Any]) -> str:
    """A table's kind, and its keys as TOML would say them."""
    kind = [str(table["kind"])] if "kind" in table else []
    rest = (f"{key} = {_value(value)}" for key, value in table.items() if key != "kind" and value is not None)
    return ", ".join([*kind, *rest])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + _said(value) + " }"
    return json.dumps(value, ensure_ascii=False)


def _state(folder: Path, own: bool) -> str:
    """A run writes its figures last."""
    there = drawing.own(folder)
    drawn = all((folder / f"{name}.{suffix}").is_file() for name in there for suffix in there[name].formats)
    if drawn and (folder / "results.md").is_file():
        return "finished"
    paths = sum(map(_is_whole, folder.glob("paths/*.zarr")))
    words = ["nagviz", "run", str(folder / "config.toml"), "--out", str(folder), "--resume", *["--trust"] * own]
    return (
        f"not finished, {paths} {'path is' if paths == 1 else 'paths are'} complete; to go on:\n  {shlex.join(words)}"
    )


def _is_whole(file: Path) -> bool:
    """Whether a path was finished; its facts are written last."""
    try:
        return arrays.read(file, *KINDS, lazy=True).attributes.get("facts") is not None
    except (OSError, ValueError):
        return False


def _results(file: Path) -> Iterator[str]:
    if not file.is_file():
        return
    try:
        yield from ["", "results:", *file.read_text(encoding="utf-8").rstrip().splitlines()]
    except (OSError, ValueError) as error:
        yield f"results: {file} is damaged: {error}"


def _files(folder: Path) -> Iterator[str]:
    """Every file, and every zarr group as one, with its size and what it is."""
    listed = sorted(path for path in folder.glob("*") if not path.is_dir())
    listed += sorted(path for part in folder.glob("*") if part.is_dir() for path in part.glob("*"))
    names = [str(path.relative_to(folder)) for path in listed]
    wide = max(map(len, names))
    for name, path in zip(names, listed, strict=True):
        what = next((what for pattern, what in report.OUTPUTS.items() if fnmatch(name, pattern)), "not known to nagviz")
        yield f"  {name:{wide}}  {bytes_in_words(_size(path)):>8}  {what}"


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


def _versions(file: Path) -> Iterator[str]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        for name, value in held.items():
            yield f"  {name}: {report.listed(value)}"
    except (OSError, ValueError, AttributeError) as error:
        yield f"  {file} is damaged: {error}"
