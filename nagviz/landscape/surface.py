"""A loss and whatever else is asked of it, at any points of a plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nagviz.landscape.batching import Split, forms_of, neighbours, pieces_of, size_of, splits_of
from nagviz.landscape.plane import Plane, gram
from nagviz.landscape.shards import is_split
from nagviz.landscape.spreading import Place, gathered, places_of, require_mesh, settled, within
from nagviz.landscape.sweep import (
    Compiled,
    Effort,
    Plan,
    Task,
    Trial,
    are_means,
    choose,
    compiler,
    joined,
    sweeper,
)


class Question(NamedTuple):
    """What is asked, as the caller put it."""

    functions: Mapping[str, Callable[..., Any]]  # by the names of their values
    batches: Any = None
    weights: Any = None
    statistics: str | Callable[[Any, Any], Any] = "kept"
    order: int = 0  # of derivatives, as in `Task`
    compute_dtype: Any = None


class Surface(NamedTuple):
    """What is evaluated at every point: checked, traced, and not yet compiled."""

    task: Task
    names: list[str]  # of the quantities, of one split
    several: bool  # whether one of the functions returned a dict
    splits: list[Split]
    mode: str  # "kept", "batch" or "recomputed"
    compiled: Callable[[Any, Plan], Compiled]
    statistics: Task | None  # what is recomputed at every point beforehand
    estimated: Callable[[Any, Plan], Compiled] | None  # that, compiled
    given: Plane  # as the caller gave it
    places: list[Place]  # of this process; the task is in the first, or on one device to be copied from

    @property
    def quantities(self) -> list[str]:
        """The names of the columns: of each split, all its quantities."""
        return [f"{split.name} {name}".strip() for split in self.splits for name in self.names]

    @property
    def samples(self) -> int:
        """Of all splits together: the work of a point."""
        return sum(size_of(batch) for split in self.splits for batch in split.batches)


def ask(question: Question, given: Plane, mesh: jax.sharding.Mesh | None = None) -> Surface:
    """Check and trace a question, over the devices of a mesh or on one.

    Raises:
        ValueError: axes unlike the origin; no batch, or batches that differ in more than their sizes; a
            function that does not return scalars; a mesh or parameters on it that do not go together.
    """
    require_mesh(mesh)
    gram(given)  # refuses axes that span no plane
    splits = splits_of(question.batches, question.weights)
    mode = _mode(question)
    places = places_of(mesh)
    place = next((place for place in places if place.together), None)
    plane = _plane_in(given, *(places[:1] or [None]))
    with within(place):
        return _asked(question, given, plane, splits, mode, place)._replace(places=places)


def _plane_in(plane: Plane, place: Place | None) -> Plane:
    """A plane on the devices of a place, its axes split as its origin is."""
    if place is None:
        _require_whole(plane)
    origin = settled(plane.origin, place, name="plane.origin")
    along = [settled(axis, place, plane.origin, f"plane.axes[{i}]") for i, axis in enumerate(plane.axes)]
    return replace(plane, origin=origin, axes=tuple(along))


def _require_whole(plane: Plane) -> None:
    leaves, _ = jax.tree_util.tree_flatten_with_path({"axes": plane.axes, "origin": plane.origin})
    for path, leaf in leaves:
        if is_split(leaf):
            raise ValueError(
                f"mesh must be given: plane{jax.tree_util.keystr(path)} is split over {len(leaf.sharding.device_set)} "
                "devices; give the mesh that it is split on, with an axis 'grid' for the points, or put all on one"
            )


def _asked(question: Question, given: Plane, plane: Plane, splits: list[Split], mode: str, place: Place | None):
    batch = splits[0].batches[0]
    call = _caller(question.compute_dtype, batch is not None)
    statistics, example, tree = None, (), None
    if mode == "recomputed":
        statistics, example, tree = _statistics(question.statistics, call, plane, batch)
        statistics = statistics._replace(place=place)
    names, several = [], []

    def outputs(params, batch, fresh):
        more = (jax.tree.unflatten(tree, fresh),) if statistics else ()
        found = {name: call(function, params, batch, more) for name, function in question.functions.items()}
        flat = _flat(found)
        names[:], several[:] = flat, [any(isinstance(value, Mapping) for value in found.values())]
        return tuple(flat.values())

    for name, value in zip(names, jax.eval_shape(outputs, plane.origin, batch, example), strict=True):
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise ValueError(f"{name} must be real, got {value.dtype}; take its real part or its modulus")
    if question.order:
        _require_forward(jax.make_jaxpr(outputs)(plane.origin, batch, example))
    task, estimated = Task(outputs, plane, example, question.order, place), statistics and compiler(statistics)
    return Surface(task, names, several[0], splits, mode, compiler(task), statistics, estimated, given, [])


def _require_forward(value: Any) -> None:
    """Refuse derivatives of what says only how to be differentiated backwards."""
    if isinstance(value, tuple | list):
        for part in value:
            _require_forward(part)
    elif hasattr(value, "eqns"):
        for equation in value.eqns:
            if equation.primitive.name.startswith("custom_vjp_call"):
                raise ValueError(
                    "gradient must be left out for a loss with a custom_vjp, since derivatives are taken forwards; "
                    "give it a custom_jvp"
                )
            _require_forward(list(equation.params.values()))


def _mode(question: Question) -> str:
    statistics = question.statistics
    if callable(statistics):
        if question.batches is None:
            raise ValueError("statistics that are recomputed need batches; give them, or leave statistics out")
        if question.order:
            raise ValueError(
                "gradient must be left out where statistics are recomputed at every point, for it would miss how they "
                "change; give statistics='batch', which are part of the loss"
            )
        return "recomputed"
    if statistics not in ("kept", "batch"):
        raise ValueError(f"statistics must be 'kept', 'batch' or a function of (params, batch), got {statistics!r}")
    return statistics


def _caller(dtype, batched: bool):
    """How a user's function is called: with or without a batch, in the dtype asked for."""

    def cast(leaf):
        floating = dtype is not None and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    def call(function, params, batch, more):
        params, batch = jax.tree.map(cast, (params, batch))
        return function(params, *((batch,) if batched else ()), *more)

    return call


def _statistics(function, call, plane: Plane, batch):
    """The task of recomputing them, an example of them, and their tree."""
    shapes, tree = jax.tree.flatten(jax.eval_shape(lambda *given: call(function, *given, ()), plane.origin, batch))
    example = tuple(np.ones(shape.shape, shape.dtype) for shape in shapes)

    def outputs(params, batch, fresh):
        return tuple(jax.tree.leaves(call(function, params, batch, fresh)))

    return Task(outputs, plane), example, tree


def _flat(found: dict[str, Any]) -> dict[str, jax.Array]:
    """Scalars by name: a function's own name, or the keys of the dict that it returned."""
    flat = {}
    for name, value in found.items():
        if isinstance(value, Mapping) and not value:
            raise ValueError(f"{name} must return a scalar, or a dict of scalars, got an empty dict")
        flat.update(value if isinstance(value, Mapping) else {name: value})
    for name, value in flat.items():
        if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex):
            raise ValueError(f"{name} must return a scalar, or a dict of scalars, got {type(value).__name__}")
        if jnp.shape(value) != ():
            raise ValueError(f"{name} must return a scalar, got shape {jnp.shape(value)}")
    return {name: jnp.asarray(v, jnp.promote_types(jnp.result_type(v), jnp.float32)) for name, v in flat.items()}


def arrange(asked: Surface, points: int, effort: Effort) -> Trial:
    """Choose how to go about so many points, by measuring."""
    if asked.mode == "batch" and effort.samples is not None:
        raise ValueError("effort.samples would cut batches, but the loss uses the statistics of each batch")
    effort, sizes = _affording_statistics(asked, effort)
    trial = partial(choose, asked.task, asked.compiled, asked.splits[0].batches[0], points, effort)
    chosen = trial(whole=asked.mode == "batch")
    if chosen.plan.samples and effort.samples is None and not _weigh_alike(asked, chosen.plan, effort):
        chosen = trial(whole=True)
    return chosen._replace(bytes=max(chosen.bytes, sizes[chosen.plan.linear]))


def _of_statistics(plan: Plan) -> Plan:
    """Point by point, on whole batches: those of a part would be others."""
    return plan._replace(samples=None, points=1, way="map")


def _affording_statistics(asked: Surface, effort: Effort) -> tuple[Effort, dict[bool, int]]:
    """The effort, kept to the ways in which the statistics fit the budget; and their bytes in each way."""
    ways = (True, False) if effort.linear is None else (effort.linear,)
    if asked.estimated is None:
        return effort, dict.fromkeys(ways, 0)
    forms = forms_of(asked.splits[:1], None)
    plans = {linear: Plan(None, 1, "map", linear) for linear in ways}
    sizes = {linear: max(asked.estimated(form, plan).bytes for form in forms) for linear, plan in plans.items()}
    fitting = {linear: size for linear, size in sizes.items() if size <= effort.budget}
    if not fitting:
        raise ValueError(
            f"effort.budget is {effort.budget:,} bytes, but the statistics of one point take "
            f"{min(sizes.values()):,} on a whole batch; give a larger budget or smaller batches"
        )
    return (effort if len(fitting) == len(ways) else effort._replace(linear=next(iter(fitting)))), fitting


def _weigh_alike(asked: Surface, plan: Plan, effort: Effort) -> bool:
    """Whether the outputs are means over the samples of every batch, so that pieces give them too.

    Tried on all pairs of neighbouring halves of pieces: where each pair has the mean of the two, they weigh the
    same. A mean over those that a mask leaves, or a weighted one, does not. A pair is no larger than a piece.
    """
    task = asked.task._replace(order=0)
    compiled = compiler(task) if asked.task.order else asked.compiled
    batches = (batch for split in asked.splits for batch in split.batches)
    pairs = (pair for batch in batches for pair in neighbours(batch, max(1, plan.samples // 2)))
    return are_means(task, compiled, plan._replace(points=1, way="map"), pairs, effort)


def _everywhere(asked: Surface, task: Task, compiled, rest, splits: list[Split], plan: Plan, hold: int = 0):
    """A sweep by all workers of this process, compiled beforehand for all shapes of data; the rest of them by place."""
    first = [compiled] if task.place or not asked.places else [compiler(task._replace(place=asked.places[0]))]
    compiled = joined([*first, *(compiler(task._replace(place=place, plane=plane)) for place, plane in rest)])
    for form in forms_of(splits, plan.samples):
        compiled(form, plan)
    return sweeper(compiled, plan, hold, sum(place.workers for place in asked.places) or 1)


def tabulator(
    asked: Surface,
    plan: Plan,
    hold: int,
    advance: Callable[[int], None] = lambda units: None,
    mesh: jax.sharding.Mesh | None = None,
):
    """A function of coordinates (points, axes), compiled beforehand for all shapes of data.

    Args:
        asked: what to evaluate.
        plan: how.
        hold: bytes that may be kept from one call to the next.
        advance: called with the points times samples that have been done.
        mesh: as it was asked on; its processes call what is returned together.

    Returns:
        `tabulate(coordinates)`: float64 of shape (points, quantities, 1 and as many as there are derivatives).
    """
    if mesh is not None and jax.process_count() > 1:  # what is done is known when it is gathered
        return gathered(partial(_tabulator, asked, plan, hold), mesh, advance, asked.samples)
    return _tabulator(asked, plan, hold, advance)


def _tabulator(asked: Surface, plan: Plan, hold: int, advance: Callable[[int], None] = lambda units: None):
    """The same, for the workers of this process."""
    rest = [(place, _plane_in(asked.given, place)) for place in asked.places[1:]]
    sweep = _everywhere(asked, asked.task, asked.compiled, rest, asked.splits, plan, hold)
    estimate, count = None, len(asked.names)
    if asked.statistics:
        whole = asked.splits[:1], _of_statistics(plan)
        estimate = _everywhere(asked, asked.statistics, asked.estimated, rest, *whole)

    def tabulate(coordinates):
        fresh = estimate(pieces_of(asked.splits[0], None), coordinates) if estimate else ()
        fresh = [f.astype(leaf.dtype) for f, leaf in zip(fresh, asked.task.fresh, strict=True)]
        columns = []
        for split in asked.splits:
            outputs = sweep(
                pieces_of(split, plan.samples), coordinates, fresh, lambda n, piece: advance(n * size_of(piece))
            )
            columns += [np.column_stack([v, *outputs[count + n :][:1]]) for n, v in enumerate(outputs[:count])]
        return np.stack(columns, axis=1)

    return tabulate
