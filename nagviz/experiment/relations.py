"""What the keys of a config promise one another, as far as what is right of them tells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from nagviz.experiment.keys import Key, at
from nagviz.experiment.sentences import choice, shown
from nagviz.experiment.tables.functions import TestFunction
from nagviz.experiment.tables.optimizers import (
    Exponential,
    Member,
    Method,
    Optimizer,
    Outer,
    Solo,
    SpeedRestart,
    Sutskever,
)
from nagviz.experiment.tables.runs import ON_DATA


def contradictions(document: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """Mistakes between keys, as far as what is right of them tells."""
    names = _names(document, "optimizers", Optimizer)
    yield from _divisions(document)
    yield from _repetitions("optimizers", names)
    functions = _names(document, "functions", TestFunction)
    yield from _repetitions("functions", functions)
    data = document.get("data")
    for i, name in enumerate(functions if isinstance(data, dict) else ()):
        if name is not None and name == data.get("kind"):
            yield ("functions", i, "name"), f"is that of the data, too, got {shown(name)}; give it a name of its own"
    yield from _unknown_to_a_problem(document, names)
    yield from _grids(document, names)
    yield from _seeds(document)
    yield from _standpoint(document, names)
    yield from _projection(document)
    for i, table in enumerate(_tables(document, "optimizers")):
        for key, reason in _parts(document, table):
            yield ("optimizers", i, *key), reason
        for key, reason in _beyond_the_run(document, table):
            yield ("optimizers", i, *key), reason
    for i, table in enumerate(_tables(document, "optimizers")):
        if "schedule" in table and "momentum" in table:
            yield ("optimizers", i, "schedule"), "stands in the place of momentum; leave one of them out"
    for i, table in enumerate(_tables(document, "functions")):
        rates = table.get("learning_rates")
        told = isinstance(rates, dict) and names and None not in names
        for name in rates.keys() - names if told else ():
            reason = f"is the name of no optimizer{choice(name, names)}"
            yield ("functions", i, "learning_rates", name), reason


_KNOWN = ("quadratic", "logistic")  # functions whose curvatures are known
_OF_CURVATURE = ("triple_momentum", "robust_momentum", "item", "condition_number", "nesterov_2004")


def _unknown_to_a_problem(document: dict[str, Any], names: Sequence[str | None]) -> Iterator[tuple[Key, str]]:
    """Learning rates and condition numbers that are left to a problem that does not know them."""
    unknowing = ["data"] if ON_DATA & document.keys() or "functions" not in document else []
    rates = []
    for i, table in enumerate(_tables(document, "functions")):
        if table.get("kind") not in _KNOWN:
            unknowing.append(f"functions.{i}")
            rates.append(table["learning_rates"] if isinstance(table.get("learning_rates"), dict) else {})
    if "data" in unknowing:
        rates.append({})
    for i, (table, name) in enumerate(zip(_tables(document, "optimizers"), names, strict=True)):
        if table and "learning_rate" not in table and not all(name in given for given in rates):
            yield (
                ("optimizers", i, "learning_rate"),
                f"is missing, and {unknowing[0]} does not know a largest curvature",
            )
        schedule = table.get("schedule") if isinstance(table.get("schedule"), dict) else {}
        for key, part in ((("optimizers", i), table), (("optimizers", i, "schedule"), schedule)):
            if unknowing and part.get("kind") in _OF_CURVATURE and "condition_number" not in part:
                yield (*key, "condition_number"), f"is missing, and {unknowing[0]} does not know one"


_OPTIMIZERS = {get_args(table.model_fields["kind"].annotation)[0]: table for table in get_args(Optimizer)}


def _optimizer(table: dict[str, Any]) -> type[Method]:
    """Which optimizer a table describes; any, where its kind is wrong."""
    kind = table.get("kind")
    return _OPTIMIZERS.get(kind, Method) if isinstance(kind, str) else Method


def _parts(document: dict[str, Any], table: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """Parts of an optimizer's table that need one another."""
    looks_ahead = "lookahead" in table
    for key in ("evaluate", "decay_at", "restart"):
        if issubclass(_optimizer(table), Solo) and key in table and not looks_ahead:
            yield (key,), "is of a look-ahead, and there is none; give lookahead, as 0.9, or leave it out"
    if looks_ahead and "outer" in table:
        yield ("outer",), "goes around an optimizer that has no look-ahead of its own; leave one of them out"
    if "decay_at" in table and not table.get("weight_decay", _optimizer(table).model_fields["weight_decay"].default):
        yield ("decay_at",), "says where weight_decay is taken, and there is none; give it, or leave this out"
    schedule = table.get("learning_rate_schedule")
    if isinstance(schedule, dict) and schedule.get("kind") == "warmup_cosine":
        steps, warmup = [schedule["steps"]] if "steps" in schedule else _lengths(document), schedule.get("warmup")
        if type(warmup) is int and all(type(n) is int for n in steps) and warmup >= min(steps, default=math.inf):
            yield ("learning_rate_schedule", "warmup"), f"must be less than the {min(steps)} steps of all, got {warmup}"


_TO_THE_END = ("cosine", "linear", "warmup_cosine")


def _default(table: type[BaseModel], key: str) -> Any:
    return table.model_fields[key].default


_OUTER_STEPS = _default(Outer, "steps")
_REACHES = (  # a part of the table, its kinds, a count of steps in it, by default, and what would never happen
    (("learning_rate_schedule",), _TO_THE_END, "steps", None, "the learning rate never comes to its end"),
    (("learning_rate_schedule",), ("step",), "at", None, "the learning rate never changes there"),
    (("learning_rate_schedule",), ("exponential",), "steps", _default(Exponential, "steps"), "it never falls so far"),
    (("schedule",), ("sutskever",), "period", _default(Sutskever, "period"), "the momentum never rises"),
    (("schedule",), ("sutskever",), "final_steps", None, "there are not so many to be the last"),
    (("restart",), ("periodic",), "period", None, "there is no restart"),
    (("restart",), ("speed",), "min_age", _default(SpeedRestart, "min_age"), "there is no restart"),
    ((), ("ogm",), "horizon", None, "its last coefficients are never used"),
    (("outer",), (None,), "steps", _OUTER_STEPS, "there is no outer step"),
    ((), ("outer_nesterov",), "steps", _OUTER_STEPS, "there is no outer step"),
)


def _beyond_the_run(document: dict[str, Any], table: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """Periods and lengths that no problem of the run is long enough for: they would do nothing, and nobody be told."""
    lengths = [n for n in _lengths(document) if type(n) is int]
    for place, kinds, key, default, idle in _REACHES:
        part = at(table, place)
        if not isinstance(part, dict) or part.get("kind") not in kinds or not lengths:
            continue
        asked = part.get(key, default)
        last = max((n for n in asked if type(n) is int), default=0) + 1 if isinstance(asked, list) else asked
        if type(last) in (int, float) and last > max(lengths):
            told = (
                f"must be {'less than' if isinstance(asked, list) else 'at most'} the {max(lengths)} steps of the run"
            )
            yield (*place, key), f"{told}, or {idle}, got {shown(asked)}{'' if key in part else ', the default'}"


def _lengths(document: dict[str, Any]) -> list[Any]:
    """The numbers of steps that the problems of a run give an optimizer."""
    own = [table.get("steps", document.get("steps")) for table in _tables(document, "functions")]
    return [*own, document.get("steps")] if ON_DATA & document.keys() or not own else own


def _grids(document: dict[str, Any], names: Sequence[str | None]) -> Iterator[tuple[Key, str]]:
    """Grids of learning rates, where nothing can choose of them."""
    data = document.get("data")
    training = document.get("training")
    validated = isinstance(data, dict) and data.get("validation_fraction", 0)
    chosen = validated or (isinstance(training, dict) and "target" in training)
    functions = _tables(document, "functions")
    for i, (table, name) in enumerate(zip(_tables(document, "optimizers"), names, strict=True)):
        if not isinstance(table.get("learning_rate"), list):
            continue
        key: Key = ("optimizers", i, "learning_rate")
        without = [
            f"functions.{j}"
            for j, function in enumerate(functions)
            if not isinstance(function.get("learning_rates"), dict) or name not in function["learning_rates"]
        ]
        if without:
            yield (
                key,
                f"is a grid, of which validation data choose, and {without[0]} has none; give one number, "
                "or the function's own under its learning_rates",
            )
        elif ON_DATA & document.keys() and not chosen:
            yield (
                key,
                "is a grid, of which validation data choose, or the steps to training.target; "
                "give data.validation_fraction, or one number",
            )
        elif "family" in document and issubclass(_optimizer(table), Member):
            yield key, "is a grid, which has no one place on the map of [family]; give one number"


def _seeds(document: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    seed, seeds = document.get("seed", 0), document.get("seeds", 1)
    if type(seed) is not int or type(seeds) is not int:
        return
    if seeds > 1 and "functions" in document and not ON_DATA & document.keys():
        yield ("seeds",), f"must be 1 where a run has functions alone: nothing is random there, got {seeds}"
    if seed < 2**32 <= seed + seeds - 1:
        yield ("seeds",), f"must leave the last seed, seed + seeds - 1, less than {2**32}, got {seeds}"


def _standpoint(document: dict[str, Any], names: Sequence[str | None]) -> Iterator[tuple[Key, str]]:
    plane = document.get("plane")
    if not isinstance(plane, dict) or not names or None in names:
        return
    around = plane.get("around")
    if isinstance(around, str) and around not in names:
        yield ("plane", "around"), f"is the name of no optimizer{choice(around, names)}"
    if plane.get("kind") == "points" and len(names) < 3:
        yield ("plane", "kind"), f"goes through the ends of three paths, and there are {len(names)}; take another plane"


_OF_POINTS = {  # what cannot be had of paths whose points are not kept
    "plane": "goes through points of the paths",
    "sharpness": "is measured at points of the paths",
}


def _projection(document: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    for key, reason in _OF_POINTS.items():
        if "projection" in document and key in document:
            yield (key,), f"{reason}, and with [projection] these are not kept; leave one of the two out"


def _divisions(document: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    def counts(value: Any) -> bool:
        return type(value) is int and 1 <= value <= 10**9

    if "snapshots" in document:
        yield from _spaced(document)
        return
    every, steps = document.get("every", 1), document.get("steps")
    if counts(every) and counts(steps) and steps % every:
        yield ("every",), f"must divide steps = {steps}, got {every}"
    sharpness = document.get("sharpness")
    seen = sharpness.get("every") if isinstance(sharpness, dict) else None
    if counts(every) and counts(seen) and seen % every:
        yield ("sharpness", "every"), f"must be a multiple of every = {every}, got {seen}"
    for i, table in enumerate(_tables(document, "functions")):
        own = table.get("steps")
        if counts(every) and counts(own) and own % every:
            yield ("functions", i, "steps"), f"must be a multiple of every = {every}, got {own}"


def _spaced(document: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """What does not go with snapshots that are spaced in the logarithm of the step."""
    lengths, count = [n for n in _lengths(document) if type(n) is int], document["snapshots"]
    if type(count) is int and lengths and count > min(lengths) + 1:
        yield (
            ("snapshots",),
            f"must be at most {min(lengths) + 1}, the start and each of the {min(lengths)} steps, got {count}",
        )
    if document.get("every", 1) != 1:  # as a config with all defaults has it
        yield ("snapshots",), "stands in the place of every; leave one of them out"
    if isinstance(document.get("sharpness"), dict):
        yield ("snapshots",), "leaves sharpness no evenly spaced points; give every instead"


def _repetitions(array: str, names: Sequence[str | None]) -> Iterator[tuple[Key, str]]:
    for i, name in enumerate(names):
        if name is not None and name in names[:i]:
            other = f"{array}.{names.index(name)}"
            yield (
                (array, i, "name"),
                f"is that of {other}, too, got {shown(name)}; give it a name of its own",
            )


def _names(document: dict[str, Any], array: str, union: Any) -> list[str | None]:
    """The names in an array of tables, given or by kind; None where one cannot be told."""
    fields = [model.model_fields for model in get_args(union)]
    defaults = {get_args(f["kind"].annotation)[0]: f["name"].default for f in fields}
    tables = _tables(document, array)
    kinds = [table.get("kind") if isinstance(table.get("kind"), str) else None for table in tables]
    names = [table.get("name", defaults.get(kind)) for table, kind in zip(tables, kinds, strict=True)]
    return [name if isinstance(name, str) else None for name in names]


def _tables(document: dict[str, Any], array: str) -> list[dict[str, Any]]:
    items = document.get(array)
    return [t if isinstance(t, dict) else {} for t in items] if isinstance(items, list) else []
