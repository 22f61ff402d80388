"""A table of what a run has found, by two keys of its optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nagviz.experiment.outcomes import Standing
from nagviz.experiment.problems import Problem
from nagviz.experiment.report import Refusal, Row
from nagviz.experiment.results import means, named
from nagviz.experiment.tables.runs import Config


class Layout(NamedTuple):
    """Where every optimizer stands in the table."""

    rows: str  # the key that tells the rows apart
    columns: str
    measure: str  # what is in the cells
    places: Mapping[str, tuple[str, str]]  # by the optimizer's name: its row and column


def make_layout(config: Config, problems: Sequence[Problem]) -> Layout | None:
    """The layout that a config asks for, if it does.

    Raises:
        Refusal: an optimizer has no such key, or shares its place with another, or a problem has no such measure.
    """
    if config.table is None:
        return None
    keys, places = (config.table.rows, config.table.columns), {}
    for i, optimizer in enumerate(config.optimizers):
        place = tuple(_value(optimizer.model_dump(), key, i) for key in keys)
        if place in places.values():
            other = next(name for name, taken in places.items() if taken == place)
            raise Refusal(f"table: {optimizer.name} and {other} would share {' and '.join(map(_spelt, keys, place))}")
        places[optimizer.name] = place
    measure = config.table.measure or list(problems[-1].measures)[-1]
    for problem in problems:
        if measure not in problem.measures:
            known = ", ".join(problem.measures)
            raise Refusal(f"table.measure: {measure!r} is not measured on {problem.name}; there are {known}")
    return Layout(*keys, measure, places)


def _value(table: Any, key: str, number: int) -> str:
    for word in key.split("."):
        if not isinstance(table, dict) or table.get(word) is None:
            raise Refusal(f"table: optimizers.{number} has no {key}; name keys that all optimizers have")
        table = table[word]
    return _number(table) if isinstance(table, float) else str(table)


def _number(value: float) -> str:
    """As short as may be, where no other number is told by the same digits.

    Example:
        >>> [_number(value) for value in (0.0, 0.999, 1e-3, 0.1234567)]
        ['0', '0.999', '0.001', '0.1234567']
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _spelt(key: str, value: str) -> str:
    return f"{key} = {value}"


def pivot_rows(layout: Layout, problems: Sequence[Problem], standings: Sequence[Sequence[Standing]]) -> list[Row]:
    """A row for every value of one key, a column for every value of the other: means, and spreads over the seeds."""
    rows = {}
    columns = dict.fromkeys(column for _, column in layout.places.values())
    for problem, race in zip(problems, standings, strict=True):
        for standing in race:
            value, column = layout.places[standing.rival]
            row = rows.setdefault((problem.name, value), {**named(problems, problem), layout.rows: value})
            found = means(standing.chosen, [layout.measure])
            row |= {f"{column}{name.removeprefix(layout.measure)}": number for name, number in found.items()}
    heads = {head: None for row in rows.values() for head in row if head.removesuffix(" \u00b1") not in columns}
    ordered = [
        *heads,
        *(c + end for c in columns for end in ("", " \u00b1") if any(c + end in r for r in rows.values())),
    ]
    return [{head: row.get(head) for head in ordered} for row in rows.values()]
