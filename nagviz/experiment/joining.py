"""What lies on the straight lines between the solutions of a run, and between its start and them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nagviz import figures, landscape
from nagviz.experiment import report
from nagviz.experiment.config import load
from nagviz.experiment.outcomes import read_shown
from nagviz.experiment.problems import EFFORT, Problem, facts, make_problems
from nagviz.experiment.report import Refusal
from nagviz.landscape.trajectory import last

ALONG = np.linspace(-0.25, 1.25, 61)  # of the way: 0 and 1, where the solutions are, are among them
START = "start"


class Choice(NamedTuple):
    """Which lines."""

    optimizer: str | None = None  # from whose end, by name; the first that stayed finite if left out
    problem: str | None = None  # by name; the last if left out
    other: Path | None = None  # the folder of another run, to whose ends the lines go


class Between(NamedTuple):
    """What was evaluated."""

    lines: dict[str, figures.Line]  # by title
    looks: dict[str, figures.Look]  # of all that may be marked
    note: str


class _Ends(NamedTuple):
    """The solutions of a run."""

    problem: Problem
    start: Any
    points: dict[str, Any]  # by optimizer: its last iterate
    optimizers: tuple[str, ...]  # those that diverged among them


def between(folder: Path, asked: Choice = Choice(), *, trust: bool = False) -> Between:  # noqa: B008
    """The train and the test loss from the start of a run to one solution, and from there to each of the others.

    Args:
        folder: of the run.
        asked: which lines.
        trust: import the code of the user's own that the run's config names.

    Raises:
        ConfigError: the folder's config is none.
        Refusal: the folder holds no finished run, or the other one of another model; the optimizer diverged, or there
            is none such; the config names code that is not trusted.

    Source: Goodfellow, Vinyals, Saxe (2015).
    """
    found = _ends(folder, asked.problem, trust)
    if asked.optimizer in {*found.optimizers} - {*found.points}:
        raise Refusal(f"--optimizer: {asked.optimizer} diverged and has no solution; {', '.join(found.points)} have")
    at = report.chosen(list(found.points), asked.optimizer, "optimizer", 0)
    name = list(found.points)[at]
    others = {key: point for key, point in found.points.items() if key != name}
    if asked.other is not None:
        others = {
            f"{key} of {asked.other.resolve().name}": p for key, p in _ends(asked.other, None, trust).points.items()
        }
    with found.problem.precision():
        ways = {(START, name): (found.start, found.points[name])}
        ways |= {(name, other): (found.points[name], point) for other, point in others.items()}
        apart = {pair: ends for pair, ends in ways.items() if not _is_one(*ends)}
        lines = {f"{a} to {b}": _line(found.problem, {a: p, b: q}) for (a, b), (p, q) in apart.items()}
    looks = figures.looks([*found.optimizers, *others]) | {START: figures.style.NEUTRAL}
    return Between(lines, looks, "\n".join(_said(found, [pair for pair in ways if pair not in apart])))


def _ends(folder: Path, problem_name: str | None, trust: bool) -> _Ends:
    config = load(report.require_run(folder))
    problems = make_problems(config, trust=trust)
    report.require_same_inputs(folder / "environment.json", facts(config, problems))
    number = report.chosen([problem.name for problem in problems], problem_name, "problem", len(problems) - 1)
    problem = problems[number]
    with problem.precision():
        paths = read_shown(problem, folder, number).paths
    if not paths:
        raise Refusal(f"{folder}: every optimizer diverged, there is no solution to draw a line to")
    points = {name: last(path) for name, path in paths.items()}
    return _Ends(problem, problem.start, points, tuple(rival.name for rival in problem.rivals))


def _is_one(start: Any, end: Any) -> bool:
    pairs = zip(jax.tree.leaves(start), jax.tree.leaves(end), strict=False)
    return jax.tree.structure(start) == jax.tree.structure(end) and all(np.array_equal(*pair) for pair in pairs)


def _line(problem: Problem, ends: Mapping[str, Any]) -> figures.Line:
    """The losses of the samples that are cut and of those held out, in one pass."""
    batches = None if problem.held_out is None else {"train": problem.data, "test": [problem.held_out]}
    try:
        line = landscape.points_plane(*ends.values())
    except ValueError as error:
        raise Refusal(f"{' and '.join(ends)} are on no line: {error}; give runs of one model") from None
    made = landscape.evaluate(problem.judged or problem.loss, line, ALONG, batches=batches, effort=EFFORT)
    values = made.values if isinstance(made.values, Mapping) else {"loss": made.values}
    quantity = re.sub(r"^train |, [\d,]+ samples$", "", problem.quantity)
    return figures.Line(ALONG, values, dict(zip(ends, (0.0, 1.0), strict=True)), "share of the way", quantity)


def _said(found: _Ends, same: list[tuple[str, str]]) -> Iterator[str]:
    if found.problem.held_out is not None:
        train, test = (len(jax.tree.leaves(part)[0]) for part in (*found.problem.data, found.problem.held_out))
        yield f"Train loss of {train:,} samples, test loss of {test:,}."
    lost = [name for name in found.optimizers if name not in found.points]
    if lost:
        yield f"Diverged, and so without a line: {', '.join(lost)}."
    yield from (f"{one} and {other} are one point: no line." for one, other in same)
