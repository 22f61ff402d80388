"""What several processes do together in a run: train on their devices, and evaluate a slice on them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nagviz.experiment.config import dump
from nagviz.experiment.devices import mesh_of, require_shared
from nagviz.experiment.problems import Problem, cut, facts, make_problems
from nagviz.experiment.processes import END, Ended, alike, call, halted, heard, shared, together
from nagviz.experiment.report import Refusal, by_key
from nagviz.experiment.tables.runs import Config
from nagviz.experiment.trials import Crew, side_by_side, train_along
from nagviz.landscape import Plane, Slice
from nagviz.landscape.tiles import fingerprint, text_of

PREPARE = "prepare"


def prepared(config: Config, trust: bool, mesh: jax.sharding.Mesh | None = None) -> list[Problem]:
    """The problems of a run, as every process has them.

    Args:
        config: a checked config.
        trust: whether code of the user's own that it names may be imported.
        mesh: devices that are to share its batches.

    Raises:
        Refusal: one of the processes cannot have them, or has other data or code than the first one, or the devices
            cannot share a batch.
    """

    if jax.process_index() == 0:
        call(PREPARE)

    def work():
        problems = make_problems(config, trust=trust)
        require_shared(problems, mesh)
        return problems

    problems = together(work)
    if jax.process_count() > 1:
        told = [*_digests(facts(config, problems)), *(each for problem in problems for each in _traced(problem))]
        alike({f"{kind}: {name}": f"SHA-256 {digest:.12}..." for kind, name, digest in told})
    return problems


def _digests(told: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    return ((kind, name, digest) for kind in ("data", "code") for name, digest in told.get(kind, {}).items())


def _traced(problem: Problem) -> Iterator[tuple[str, str, str]]:
    """What a run's own functions came to, which may lean on more than the file of which the digest is taken."""
    text: Any = ()
    with problem.precision(), suppress(ValueError):  # of a loss that calls back into Python nothing is known
        batch = () if problem.batches is None else (problem.batches.samples,)
        text = text_of(jax.make_jaxpr(problem.loss)(problem.start, *batch))
    for name, digest in fingerprint(start=problem.starts, loss=[text]).items():
        yield problem.name, name, digest


def crew_of(mesh: jax.sharding.Mesh | None, problem: Problem, *place: int) -> Crew:
    """Whom a group of trials is trained with.

    Args:
        mesh: the devices; None is one, as it is for a loss without batches.
        problem: what is trained on.
        place: the numbers by which all processes find the group: of the problem, the rival, the group.
    """
    if mesh is None or problem.batches is None:
        return Crew()
    return Crew(mesh, partial(_begin, place), halted) if jax.process_count() > 1 else Crew(mesh)


def _begin(place: tuple[int, ...], done: int, carried: Any) -> None:
    call("train", place=place, done=done)
    if done:
        shared(carried)


def cut_together(problem: Problem, number: int, plane: Plane, ranges, grid: int, **options: Any) -> Slice:
    """As `cut`, by all processes; the other ones are called to it.

    Args:
        problem: what is evaluated.
        number: of it in the run.
        plane: where.
        ranges: the ends of x and y.
        grid: points on each side.
        options: as of `cut`; with a `mesh`.
    """
    if jax.process_count() > 1:
        arrays = plane.origin, plane.axes
        kinds = [str(leaf.dtype) for leaf in jax.tree.leaves(arrays)]
        store = options.get("store")
        call("cut", place=[number], ranges=ranges, grid=grid, kinds=kinds, store=store and str(store))
        shared(arrays)
    return cut(problem, plane, ranges, grid, **options)


def as_one(
    devices: int | str | None,
    config: Config,
    trust: bool,
    words: Mapping[str, Any],
    work: Callable[[jax.sharding.Mesh | None], None],
) -> int:
    """Have the first of all processes do something, and the others help; one alone does it.

    Args:
        devices: as of `mesh_of`.
        config: of the run that it is about.
        trust: as of `prepared`.
        words: what else the command line says of the work, by option.
        work: what is to be done on a mesh.

    Returns:
        The exit code.

    Raises:
        Refusal: there are not as many devices, the processes are not at one thing, or what `work` raises; to the
            first process alone.
    """
    if jax.process_index() == 0:
        work(_met(devices, config, words))
        return 0
    try:
        return help_out(config, trust, _met(devices, config, words))
    except Refusal:
        return heard()[1]["code"]


def withdraw(why: str) -> int:
    """Take part in what `as_one` does first, to tell the others why this process takes no part in the rest.

    Args:
        why: the words, which this process has told already.

    Returns:
        The exit code.
    """

    def refuse():
        raise Refusal(why)

    with suppress(Refusal):
        together(refuse)
    return 2 if jax.process_index() == 0 else heard()[1]["code"]


def _met(devices: int | str | None, config: Config, words: Mapping[str, Any]) -> jax.sharding.Mesh | None:
    """The devices of all, which are at one thing."""
    mesh = together(lambda: mesh_of(devices))
    keys = {key: text for key, text in by_key(tomllib.loads(dump(config))).items() if key not in _OWN_TO_EACH}
    given = {f"--{option}": str(value) for option, value in {**words, "devices": mesh and mesh.size}.items()}
    settings = {name.upper(): str(getattr(jax.config, name)) for name in _SETTINGS}
    alike(keys | given | settings | {"jax": jax.__version__})
    return mesh


_OWN_TO_EACH = ("data.path",)  # a host's; the data are compared
_SETTINGS = (  # of jax, that make other numbers, or programs that do not meet
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
)


def help_out(config: Config, trust: bool, mesh: jax.sharding.Mesh) -> int:
    """What each process but the first does: what it is called to, until there is no more.

    Returns:
        The exit code that it is told.
    """
    problems: Sequence[Problem] = ()
    while True:
        word, asked = heard()
        if word == END:
            return asked["code"]
        if word == PREPARE:
            problems = prepared(config, trust)
            continue
        number, *place = asked.pop("place")
        with problems[number].precision():
            try:
                _TASKS[word](problems[number], mesh, *place, **asked)
            except Ended as end:
                return end.code


def _train_along(problem: Problem, mesh, rival: int, group: int, *, done: int) -> None:
    course = problem.courses()[rival]
    trials = side_by_side(problem.trials(Path(), 0, problem.rivals[rival]))[group]
    train_along(course, trials, Crew(mesh, lambda *_: None, halted), done, shared)


def _cut_along(problem: Problem, mesh, *, ranges, grid: int, kinds, store: str | None) -> None:
    leaves, tree = jax.tree.flatten((problem.start, (problem.start,) * 2))
    empty = [np.zeros(leaf.shape, kind) for leaf, kind in zip(leaves, kinds, strict=True)]
    origin, axes = shared(jax.tree.unflatten(tree, empty))
    try:
        cut(problem, Plane(origin, axes), ranges, grid, mesh=mesh, store=store and Path(store))
    except ConnectionError:
        raise
    except (ValueError, OSError):
        pass  # all are told, and the first one says it


_TASKS = {"train": _train_along, "cut": _cut_along}
