"""What a run writes and prints: its folder, its progress, its tables."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import machine, python_version, system

Row = Mapping[str, str | int | float | None]
# Keys of a row of metrics that are about the row; all others are measures.
ABOUT = ("problem", "optimizer", "learning_rate", "seed", "step", "restarted", "diverged", "not_finite")
FORMATS = ("png", "pdf", "svg")  # that a figure may have
_FIGURES = {
    "landscape": "the paths on a slice of the loss",
    "curves": "what was measured, over the steps",
    "family": "the methods on the map of the family",
    "slice-*": "the loss on another plane, by nagviz slice",
}
OUTPUTS = {  # what is what in a run's folder; `start_folder` may delete it when told to overwrite, and nothing else
    **{f"{name}.{suffix}": what for name, what in _FIGURES.items() for suffix in FORMATS},
    "results.md": "the table, to read",
    "results.csv": "the table, numbers in full",
    "metrics.jsonl": "what was measured at every snapshot, one JSON object a line",
    "family.json": "step weight, momentum and correction of the methods, by age",
    "slices/*.seen.zarr": "the paths as they lie on a slice",
    "slices/*.zarr": "the loss on a plane",
    "slices/*.tiles": "the parts of a slice, to go on from",
    "paths/*.zarr": "the path of an optimizer",
    "tensorboard/*": "event files for TensorBoard",
    "wandb/*": "runs of Weights & Biases",
    "config.toml": "the config with all its defaults",  # these two last: what they are missing from is no run's folder
    "environment.json": "versions and devices",
}


class Refusal(Exception):  # noqa: N818
    """Something that the user has to settle before work can start; its text says how."""


def start_folder(folder: Path, config: str, *, resume: bool, overwrite: bool) -> None:
    """Make a run's folder and write its resolved config; touch nothing that is not a run's.

    Args:
        folder: where.
        config: the resolved config, as TOML.
        resume: go on in a folder that holds the same config.
        overwrite: delete what an earlier run wrote there.

    Raises:
        Refusal: the folder holds something already and neither is asked for, or it holds no run, or one of
            another config, or it cannot be written.
    """
    try:
        written = folder / "config.toml"
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            _require_run(folder, written, resume or overwrite)
            if resume:
                _require_same(written, config)
        if overwrite:
            for pattern in OUTPUTS:
                for path in folder.glob(pattern):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for part in ("paths", "slices"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        write(written, config)
        write(folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
    except OSError as error:
        raise Refusal(f"{error.filename or folder}: {error.strerror or error}; name another folder by --out") from error


def require_run(folder: Path) -> Path:
    """The config of a run's folder.

    Raises:
        Refusal: the folder holds no run.
    """
    if not (folder / "environment.json").is_file():
        raise Refusal(f"{folder} holds no run; name the folder that nagviz run printed")
    return folder / "config.toml"


def _require_run(folder: Path, written: Path, allowed: bool) -> None:
    if not written.is_file() or not (folder / "environment.json").is_file():
        raise Refusal(f"{folder} exists and holds no run; name another folder by --out")
    if not allowed:
        raise Refusal(
            f"{folder} holds a run already: --resume goes on with it, --overwrite starts it anew, "
            "--out DIR writes elsewhere"
        )


def _require_same(written: Path, config: str) -> None:
    before = written.read_text(encoding="utf-8")
    if before != config:
        lines = difflib.unified_diff(before.splitlines(), config.splitlines(), "there", "asked for", "", "", 0, "")
        raise Refusal(
            f"{written.parent} holds a run of another config, which cannot be resumed as this one:\n"
            + "\n".join(lines)
            + "\ngive its config, or --overwrite, or --out DIR"
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


@contextmanager
def progress(total: int) -> Iterator[Callable[[str, int], None]]:
    """A bar on a terminal; elsewhere a plain line on stderr for each new task and every ten seconds, with what is left.

    Args:
        total: units of work in all.

    Yields:
        A function of what is being done and how many more units of it are done.
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


def each_row(advance: Callable[[str, int], None], task: str) -> Callable[[int, int], None]:
    """For `evaluate` to report to: each row done is a unit of work."""
    return lambda done, total: advance(task, 1)


@contextmanager
def _bar(total):
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=total)
        yield lambda what, more: bar.update(task, description=what, advance=more)


@contextmanager
def _lines(total):
    done, said, begun = 0, "", time.monotonic()
    last = begun

    def advance(what, more):
        nonlocal done, said, last
        done += more
        now = time.monotonic()
        if what != said or now - last > 10:
            left = f", about {spell((now - begun) * (total - done) / done)} left" if done and now - begun > 10 else ""
            print(f"[{done / total:4.0%}] {what}{left}", file=sys.stderr, flush=True)
            said, last = what, now

    yield advance
