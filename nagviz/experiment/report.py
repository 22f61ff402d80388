"""What a run writes and prints: its folder, its progress, its tables."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import machine, python_version, system
from typing import Any, NamedTuple

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

Row = Mapping[str, str | int | float | None]
# Keys of a row of metrics that are about the row; all others are measures.
ABOUT = ("problem", "optimizer", "learning_rate", "seed", "step", "restarted", "diverged", "not_finite")
FORMATS = ("png", "pdf", "svg")  # that a figure may have
_FIGURES = {
    "landscape": "the paths on a slice of the loss",
    "compare": "one optimizer a panel, or two runs, under one scale",
    "curves": "what was measured, over the steps",
    "family": "the methods on the map of the family",
    "noise": "steps to a decimal digit by noise, and the best correction",
    "targets": "steps to the target loss, by batch size",
    "sharpness": "the largest Hessian eigenvalues along the paths, under what each method can bear",
    "step": "the anatomy of one step",
    "cuts": "train and test loss along the lines between the solutions",
    "field": "the negative gradient on a slice, and the look-ahead along the paths",
    "surface": "a slice in three dimensions",
    "slice-*": "the loss on another plane, by nagviz slice",
}
OUTPUTS = {  # what is what in a run's folder; `start_folder` may delete it when told to overwrite, and nothing else
    **{f"{name}.{suffix}": what for name, what in _FIGURES.items() for suffix in FORMATS},
    "report.html": "the run on one page, to send to somebody",
    "report.md": "likewise, with links to the figures",
    "page.html": "the paths on the slices to explore, in a browser",
    "animation.gif": "the paths as they grow on a slice, with their look-ahead",
    "animation.png": "likewise",
    "animation.mp4": "likewise",
    "surface.html": "likewise, to be turned",
    "surface.vts": "likewise, for ParaView",
    "results.md": "the table, to read",
    "results.csv": "the table, numbers in full",
    "grid.md": "the learning rates of a grid and what chose among them, to read",
    "grid.csv": "likewise, numbers in full",
    "table.md": "the results by two keys of the optimizers, to read",
    "table.csv": "likewise, numbers in full",
    "noise.md": "the law of noise that grows with the gradient, to read",
    "noise.csv": "likewise, numbers in full",
    "targets.md": "the steps to the target loss, to read",
    "targets.csv": "likewise, numbers in full",
    "sharpness.csv": "the largest Hessian eigenvalues along the paths, and the limit of each method",
    "metrics.jsonl": "what was measured, by step, one JSON object a line",
    "family.json": "step weight, momentum and correction of the methods, by age",
    "slices/*.seen.zarr": "the paths as they lie on a slice",
    "slices/*.zarr": "the loss on a plane",
    "slices/*.tiles": "the parts of a slice, to go on from",
    "paths/*.zarr": "the path of an optimizer",
    "paths/*.checkpoints": "where a path that is not finished goes on",
    "tensorboard/*": "event files for TensorBoard",
    "wandb/*": "runs of Weights & Biases",
    "config.toml": "the config with all its defaults",
    "environment.json": "versions, devices, seeds and the digest of the data",
}

_REPLACED = {"config.toml", "environment.json"}  # never missing: what they are missing from is no run's folder


class Refusal(Exception):  # noqa: N818
    """Something that the user has to settle before work can start; its text says how."""


def start_folder(folder: Path, config: str, facts: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make a run's folder and write its resolved config; touch nothing that is not a run's.

    Args:
        folder: where.
        config: the resolved config, as TOML.
        facts: what else the results depend on, for `environment.json`; "data" are the digests of the arrays, "code"
            those of the files of the user's own.
        resume: go on in a folder that holds the same config; one that holds nothing is begun, which is told. What a run
            was begun with stays on record, and when it was gone on with, and what was other then, is added.
        overwrite: delete what an earlier run wrote there.

    Raises:
        Refusal: the folder holds something already and neither is asked for, or it holds no run, or one of
            another config, or it cannot be written.
    """
    try:
        written, facts_file = folder / "config.toml", folder / "environment.json"
        there = folder.exists() and not (folder.is_dir() and _is_free(folder, config))
        if there:
            _require_run(folder, written, resume or overwrite)
        if there and resume:
            _require_same(written, config)
            require_same_inputs(facts_file, facts)
            _note_resumption(facts_file, facts)
        elif resume:
            print(f"note: {folder} holds no run yet; it is begun", file=sys.stderr)
        if overwrite:
            for pattern in OUTPUTS.keys() - _REPLACED:
                for path in folder.glob(pattern):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        if not (there and resume):
            write(written, config)
            write(facts_file, json.dumps({**environment(), **facts}, indent=2) + "\n")
        for part in ("paths", "slices"):
            (folder / part).mkdir(exist_ok=True)
    except OSError as error:
        remedy = "make room or give access" if resume else "name another folder by --out"
        raise Refusal(f"{error.filename or folder}: {error.strerror or error}; {remedy}") from error


@contextmanager
def alone(folder: Path, otherwise: str = "name another folder by --out") -> Iterator[None]:
    """A run's folder, made if it is not there, for this process alone as long as it lives; a kill leaves no lock.

    Where a file system has no locks two processes are not kept apart, which is told, nor on Windows, whose folders have
    none.

    Args:
        folder: of the run.
        otherwise: what may be done in place of waiting for another process to end.

    Raises:
        Refusal: another process works in it, or it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"{folder} is no folder; name another one by --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY) if fcntl else None
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror}"
        raise Refusal(f"{reason}; make room or give access, or {otherwise}") from error
    try:
        if held is not None:
            _lock(held, folder, otherwise)
        yield
    finally:
        if held is not None:
            os.close(held)


def _lock(held: int, folder: Path, otherwise: str) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refusal(
            f"{folder} is being worked in by another process; wait until it has ended, or {otherwise}"
        ) from None
    except OSError as error:
        print(
            f"note: {folder} is on a file system without locks ({error.strerror}): nothing keeps another process from "
            "working in it at the same time, so take care that none does",
            file=sys.stderr,
        )


def require_run(folder: Path) -> Path:
    """The config of a run's folder.

    Raises:
        Refusal: the folder holds no run.
    """
    if not (folder / "environment.json").is_file():
        raise Refusal(f"{folder} holds no run; name the folder that nagviz run printed")
    return folder / "config.toml"


def listed(value: Any) -> str:
    """A fact of `environment.json` in words.

    Example:
        >>> listed([{"time": "2026-01-01T00:00:00+00:00", "jax": "0.10"}])
        'time 2026-01-01T00:00:00+00:00 and jax 0.10'
    """
    if isinstance(value, dict):
        return " and ".join(f"{key} {listed(item)}" for key, item in value.items())
    return ", ".join(map(listed, value)) if isinstance(value, list) else str(value)


def read_facts(folder: Path) -> dict[str, Any]:
    """What a run's results depend on beside its config: versions, devices, seeds, data.

    Raises:
        Refusal: they are damaged.
    """
    return _kept(folder / "environment.json", _facts)


class Identity(NamedTuple):
    """Which run it is, wherever its folder lies."""

    name: str
    # The SHA-256 of its config, as it is kept with all defaults, and of the digests of its data and of one's own code.
    fingerprint: str


def identity(folder: Path) -> Identity:
    """Of a run. Two with one fingerprint asked the same of the same data; it stands in each figure of a run.

    Raises:
        Refusal: the folder's config or facts are missing or damaged.
    """
    held = read_facts(folder)
    digests = [held.get("data", {}), *([held["code"]] if "code" in held else [])]
    config = _kept(folder / "config.toml", str)
    name = _kept(folder / "config.toml", tomllib.loads).get("name", "")
    return Identity(name, hashlib.sha256((config + "".join(map(_sorted, digests))).encode()).hexdigest())


def _sorted(digests: Mapping[str, str]) -> str:
    return json.dumps(digests, sort_keys=True)


def _is_free(folder: Path, config: str) -> bool:
    """Whether nothing is there, or what is left where this very run was killed before its folder was one."""
    left = {".config.toml.partial", ".environment.json.partial"}
    names = {path.name for path in folder.iterdir()} - left
    if names != {"config.toml"}:
        return not names
    kept = (folder / "config.toml").read_text(encoding="utf-8", errors="surrogateescape")  # which no config has
    return kept == config


def _require_run(folder: Path, written: Path, allowed: bool) -> None:
    if not written.is_file() or not (folder / "environment.json").is_file():
        raise Refusal(f"{folder} exists and holds no run; name another folder by --out")
    if not allowed:
        raise Refusal(
            f"{folder} holds a run already: --resume goes on with it, --overwrite starts it anew, "
            "--out DIR writes elsewhere"
        )


def _require_same(written: Path, config: str) -> None:
    before, asked = by_key(_kept(written, tomllib.loads)), by_key(tomllib.loads(config))
    keys = [key for key in {**before, **asked} if before.get(key) != asked.get(key)]
    if keys:
        lines = (f"  {key}: there {before.get(key, 'not set')}, asked for {asked.get(key, 'not set')}" for key in keys)
        raise Refusal(
            f"{written.parent} holds a run of another config, which cannot be resumed as this one:\n"
            + "\n".join(lines)
            + "\ngive its config, or --overwrite, or --out DIR"
        )


def by_key(value: Any, *keys: str) -> dict[str, str]:
    """What stands in a config, by dotted keys, as JSON.

    >>> by_key({"data": {"kind": "digits"}, "seeds": [0, 1]})
    {'data.kind': '"digits"', 'seeds.0': '0', 'seeds.1': '1'}
    """
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {name: text for key, item in inner for name, text in by_key(item, *keys, str(key)).items()}
    return found or {".".join(keys): json.dumps(value)}


def _facts(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


def _kept(file: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise Refusal(f"{file} is damaged: {error}; give it back, or --overwrite, or --out DIR") from None


_USED = ("devices used", "processes")  # facts that a run may be gone on with otherwise


def _note_resumption(written: Path, facts: Mapping[str, Any]) -> None:
    """Put on record that the run is gone on with, and when; tell what is other than when it was begun."""
    before, present = _kept(written, _facts), environment() | {key: facts[key] for key in _USED if key in facts}
    other = {what: now for what, now in present.items() if before.get(what, now) != now}
    resumed = [*before.get("resumed", []), {"time": datetime.now(UTC).isoformat(timespec="seconds"), **other}]
    write(written, json.dumps({**before, "resumed": resumed}, indent=2) + "\n")
    changed = [f"{what} {before[what]}, now {now}" for what, now in other.items()]
    if changed:
        print(
            f"note: this run was begun with {'; '.join(changed)}: its numbers may not be those of one run",
            file=sys.stderr,
        )


OWN = "this run's"


def chosen(names: Sequence[str], asked: str | None, option: str, default: int, whose: str = OWN) -> int:
    """The number of a name that a command asks for by an option; the default where it does not ask.

    Raises:
        Refusal: there is no such name.

    Example:
        >>> chosen(["NAG", "SGD"], "SGD", "around", 0)
        1
    """
    if asked is None:
        return default
    if asked not in names:
        raise Refusal(f"--{option}: {asked!r} is none of {whose}; it has {', '.join(names)}")
    return names.index(asked)


def require_same_inputs(written: Path, facts: Mapping[str, Any]) -> None:
    """Refuse data, and code of the user's own, whose digests are not those of a run.

    Args:
        written: the run's `environment.json`.
        facts: as `start_folder` takes them.

    Raises:
        Refusal: they differ, or the file is damaged.
    """
    before = _kept(written, _facts)
    for kind, said in {"data": "on other {} data", "code": "of another {}"}.items():
        there = before.get(kind, {})
        for name, digest in facts.get(kind, {}).items():
            if there.get(name, digest) != digest:
                raise Refusal(
                    f"{written.parent} holds a run {said.format(name)} (SHA-256 {there[name]:.12}..., now "
                    f"{digest:.12}...); give back what it was, or --overwrite, or --out DIR"
                )


def environment() -> dict[str, str | list[str]]:
    """The versions and devices that a result depends on; nothing that tells whose machine it was."""
    import jax  # here, since who only lists or shows needs none

    return {
        "python": python_version(),
        "platform": f"{system()} {machine()}",
        **{package: _version(package) for package in _PACKAGES},
        "devices": [f"{device.platform} {device.id}: {device.device_kind}" for device in jax.devices()],
    }


_PACKAGES = (
    "nagviz",
    "jax",
    "jaxlib",
    "optax",
    "flax",
    "numpy",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "tensorstore",
    "orbax-checkpoint",
)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"  # as nagviz itself may be, that runs from a checkout


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_table(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Write rows as a CSV and as a Markdown table."""
    write(folder / f"{name}.csv", comma_separated(rows))
    write(folder / f"{name}.md", markdown(rows) + "\n")


def jsonl(rows: Iterable[Row]) -> str:
    """One JSON object a line.

    JSON has neither NaN nor infinities. Where a row holds such, null stands in their place, so that the column stays
    one of numbers for every reader, and the row's "not_finite" says what they were.

    Example:
        >>> print(jsonl([{"step": 4, "loss": math.inf, "gap": 0.5}, {"step": 8, "loss": 1.0, "gap": 0.25}]), end="")
        {"step": 4, "loss": null, "gap": 0.5, "not_finite": "loss = inf"}
        {"step": 8, "loss": 1.0, "gap": 0.25}
    """
    return "".join(f"{json.dumps(_finite(row), allow_nan=False)}\n" for row in rows)


def _finite(row: Row) -> Row:
    odd = {name: value for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    told = {"not_finite": "; ".join(f"{name} = {value}" for name, value in odd.items())} if odd else {}
    return {**row, **dict.fromkeys(odd), **told}


def comma_separated(rows: Sequence[Row]) -> str:
    """The rows as CSV with a header, numbers in full."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, numbers rounded for reading.

    Example:
        >>> print(markdown([{"optimizer": "NAG", "train loss": 0.01234567, "note": None}]))
        | optimizer | train loss | note |
        |:----------|-----------:|:-----|
        | NAG       |    0.01235 |      |
    """
    cells = [list(rows[0]), *([readable(value).replace("|", r"\|") for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [isinstance(value, int | float) for value in rows[0].values()]

    def line(row):
        parts = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        return "| " + " | ".join(parts) + " |"

    rule = ("-" * (w + 1) + ":" if r else ":" + "-" * (w + 1) for w, r in zip(widths, right, strict=True))
    return "\n".join([line(cells[0]), "|" + "|".join(rule) + "|", *map(line, cells[1:])])


def readable(value: str | int | float | None) -> str:
    """A number with four digits that count; nothing for None."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show(rows: Sequence[Row]) -> None:
    """Print the rows: as a table with rules on a terminal, as Markdown elsewhere."""
    if not sys.stdout.isatty():
        print(markdown(rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()  # cells as texts: a name in brackets is no markup
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*(Text(readable(value)) for value in row.values()))
    Console().print(table)


Advance = Callable[..., None]  # (what, more, spared=False): what is being done, and how many more units of it are


@contextmanager
def progress(total: int) -> Iterator[Advance]:
    """A bar on a terminal; elsewhere a plain line on stderr for each new task and every ten seconds, with what is left.

    Args:
        total: units of work in all.

    Yields:
        A function of what is being done and how many more units of it are done; `spared=True` where they took no
        work, as what was kept from before does not: they say nothing of the pace.
    """
    with (_bar if sys.stderr.isatty() else _lines)(total) as advance:
        yield advance


def spell(seconds: float) -> str:
    """A time in the unit that suits it.

    Example:
        >>> [spell(seconds) for seconds in (4.2, 200, 9000)]
        ['4 s', '3 min', '2.5 h']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def each_row(advance: Advance, task: str) -> Callable[[int, int], None]:
    """For `evaluate` to report to: each row is a unit of work, but for those of its first call."""
    before = None

    def told(done: int, total: int) -> None:
        nonlocal before
        del total
        advance(task, done - (before or 0), spared=before is None)
        before = done

    return told


def _pace(total: int) -> Callable[[int, bool], tuple[int, float, str]]:
    """A clock: when so many more units are done, how many are, the seconds since it began, and what is left."""
    begun, done, worked = time.monotonic(), 0, 0

    def after(more, spared):
        nonlocal done, worked
        done += more
        worked += 0 if spared else more
        taken = time.monotonic() - begun
        return done, taken, f"about {spell(taken * (total - done) / worked)} left" if worked else ""

    return after


@contextmanager
def _bar(total):
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    pace = _pace(total)
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=total, left="")

        def advance(what, more, spared=False):
            done, _, left = pace(more, spared)
            bar.update(task, description=what, completed=done, left=left)

        yield advance


@contextmanager
def _lines(total):
    pace, said, last = _pace(total), "", 0.0

    def advance(what, more, spared=False):
        nonlocal said, last
        done, taken, left = pace(more, spared)
        if what != said or taken - last > 10:
            tail = f", {left}" if left and taken > 10 else ""
            print(f"[{done / total:4.0%}] {what}{tail}", file=sys.stderr, flush=True)
            said, last = what, taken

    yield advance
