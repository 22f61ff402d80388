"""What lies on the straight lines between the solutions of a run, and between its start and them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
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
from nagviz.experiment.tables.runs import Config
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
    start: str  # what the start is called


class _Ends(NamedTuple):
    """The solutions of a run."""

    problem: Problem
    start: Any
    points: dict[str, Any]  # by optimizer: its last iterate
    optimizers: tuple[str, ...]  # those that diverged among them
    made_of: dict[str, Any]  # by key of the config, what its loss is, but for the samples


def between(folder: Path, asked: Choice = Choice(), *, trust: bool = False) -> Between:  # noqa: B008
    """The train and the test loss from the start of a run to one solution, and from there to each of the others.

    Args:
        folder: of the run.
        asked: which lines.
        trust: import the code of the user's own that the run's config names.

    Raises:
        ConfigError: the folder's config is none.
        Refusal: the folder holds no finished run, or the other one of another model, or not the problem that is asked
            for; the optimizer diverged, or there is none such; the config names code that is not trusted.

    Source: Goodfellow, Vinyals, Saxe (2015).
    """
    found = _ends(folder, asked.problem, trust)
    if asked.optimizer in {*found.optimizers} - {*found.points}:
        raise Refusal(f"--optimizer: {asked.optimizer} diverged and has no solution; {', '.join(found.points)} have")
    at = report.chosen(list(found.points), asked.optimizer, "optimizer", 0)
    name = list(found.points)[at]
    others, more = {key: point for key, point in found.points.items() if key != name}, []
    if asked.other is not None:
        title = asked.other.resolve().name
        there = _ends(asked.other, asked.problem, trust, f"{title}'s")
        _require_one_loss(found, there, asked.other)
        others = {_unlike(f"{key} of {title}", [name]): point for key, point in there.points.items()}
        more = [*_said_of_other(found, there, title)]
        if found.problem.digest != there.problem.digest:
            found = found._replace(problem=found.problem._replace(held_out=None))
    start = _unlike(START, [*found.optimizers, *others])
    with found.problem.precision():
        ways = [((start, name), (found.start, found.points[name]))]
        ways += [((name, other), (found.points[name], point)) for other, point in others.items()]
        apart = {pair: ends for pair, ends in ways if not _is_one(*ends)}
        lines = {" to ".join(pair): _line(found.problem, pair, ends) for pair, ends in apart.items()}
    looks = figures.looks([*found.optimizers, *others]) | {start: figures.style.NEUTRAL}
    said = [*_said(found, [pair for pair, _ in ways if pair not in apart]), *more]
    return Between(lines, looks, "\n".join(said), start)


def _unlike(name: str, taken: Iterable[str]) -> str:
    """The name, or one like it that is not taken."""
    return _unlike(f"the {name}", taken) if name in taken else name


def _ends(folder: Path, problem_name: str | None, trust: bool, whose: str = report.OWN) -> _Ends:
    config = load(report.require_run(folder))
    problems = make_problems(config, trust=trust)
    report.require_same_inputs(folder / "environment.json", facts(config, problems))
    number = report.chosen([problem.name for problem in problems], problem_name, "problem", len(problems) - 1, whose)
    problem = problems[number]
    with problem.precision():
        paths = read_shown(problem, folder, number).paths
    if not paths:
        raise Refusal(f"{folder}: every optimizer diverged, there is no solution to draw a line to")
    points = {name: last(path) for name, path in paths.items()}
    names = tuple(rival.name for rival in problem.rivals)
    return _Ends(problem, problem.start, points, names, _made_of(config, problem))


def _made_of(config: Config, problem: Problem) -> dict[str, Any]:
    if problem.batches is None:
        (table,) = (function for function in config.functions if function.name == problem.name)
        return table.model_dump(exclude=_NO_LOSS)
    tables = {"data.kind": config.data.kind, "loss.function": config.loss and config.loss.function}
    return tables | {f"model.{key}": value for key, value in config.model}


# In what functions of one loss may differ.
_NO_LOSS = {"name", "steps", "learning_rates", "start", "x", "y", "tolerance", "margin"}


def _require_one_loss(found: _Ends, there: _Ends, other: Path) -> None:
    here, theirs = found.made_of, there.made_of
    keys = [key for key in {**here, **theirs} if here.get(key) != theirs.get(key)]
    if keys:
        said = "; ".join(f"{key}, there {theirs.get(key, 'not set')}, here {here.get(key, 'not set')}" for key in keys)
        raise Refusal(f"--with {other}: has solutions of another loss ({said}); give runs of one model and loss")


def _is_one(start: Any, end: Any) -> bool:
    pairs = zip(jax.tree.leaves(start), jax.tree.leaves(end), strict=False)
    return jax.tree.structure(start) == jax.tree.structure(end) and all(np.array_equal(*pair) for pair in pairs)


def _line(problem: Problem, names: tuple[str, str], ends: tuple[Any, Any]) -> figures.Line:
    """The losses of the samples that are cut and of those held out, in one pass."""
    batches = problem.data and {"train": problem.data}
    if problem.held_out is not None:
        batches["test"] = [problem.held_out]
    try:
        line = landscape.points_plane(*ends)
    except ValueError as error:
        raise Refusal(f"{' and '.join(names)} are on no line: {error}; give runs of one model") from None
    made = landscape.evaluate(problem.judged or problem.loss, line, ALONG, batches=batches, effort=EFFORT)
    values = made.values if isinstance(made.values, Mapping) else {"loss": made.values}
    quantity = re.sub(r"^train |, [\d,]+ samples$", "", problem.quantity)
    return figures.Line(ALONG, values, dict(zip(names, (0.0, 1.0), strict=True)), "share of the way", quantity)


def _said(found: _Ends, same: list[tuple[str, str]]) -> Iterator[str]:
    parts = {"train": found.problem.data, "test": found.problem.held_out}
    counts = {name: len(jax.tree.leaves(part)[0]) for name, part in parts.items() if part is not None}
    if counts:
        test = f", test loss of {counts['test']:,}" if "test" in counts else ""
        yield f"Train loss of {counts['train']:,} samples{test}."
    if len(found.problem.seeds) > 1:
        yield f"The solutions are those of the first of {len(found.problem.seeds)} seeds."
    lost = [name for name in found.optimizers if name not in found.points]
    if lost:
        yield f"Diverged, and so without a line: {', '.join(lost)}."
    yield from (f"{one} and {other} are one point: no line." for one, other in same)


def _said_of_other(found: _Ends, there: _Ends, title: str) -> Iterator[str]:
    if found.problem.digest != there.problem.digest:
        yield f"No test loss: {title} has other data, or another split of them, and may have trained on test samples."
    if len(there.problem.seeds) > 1:
        yield f"Those of {title} are of the first of {len(there.problem.seeds)} seeds."
