"""A function carried over many points of a plane: compiled in two phases, arranged by measurement.

    prepare   once for a piece of data: what does not depend on the point, and the parts of what is affine
    call      for some points at a time: the rest

How many samples make a piece, how many points a call, and in which way a call goes through its points (one
after another or side by side) is chosen by timing the user's own function, within a budget of memory.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nagviz.landscape import affine
from nagviz.landscape.batching import cut_batch, samples_in, shapes_in
from nagviz.landscape.plane import Plane
from nagviz.landscape.shards import is_split
from nagviz.landscape.spreading import Place, on_all, settled, spread, within


class Effort(NamedTuple):
    """How to evaluate; what is None is chosen by measuring, and what is given is kept to.

    Example:
        >>> import nagviz as nv
        >>> nv.Effort(samples=250).budget == 2**30
        True
    """

    # Bytes of arrays at work on each device, besides the data, the plane and the results; compiling is extra.
    budget: int = 1 << 30
    samples: int | None = None  # of a batch that are gone through together
    points: int | None = None  # of a grid for one call of the compiled function
    way: str | None = None  # "map": a call's points one after another; "vmap": side by side, 32 at a time
    linear: bool | None = None  # whether to work out once what is linear in the coordinates, as far as that has room
    tile: int | None = None  # points that are finished, and put in the store, together


def require_effort(effort: Effort) -> Effort:
    """The same in plain numbers; what is no arrangement is refused.

    Raises:
        ValueError: a number below 1, or an unknown way.
    """
    for name in ("budget", "samples", "points", "tile"):
        value = getattr(effort, name)
        if value is not None and not (value == int(value) and value >= 1):
            raise ValueError(f"effort.{name} must be a whole number, at least 1, or None, got {value}")
        effort = effort._replace(**{name: None if value is None else int(value)})
    if effort.way not in (None, "map", "vmap"):
        raise ValueError(f"effort.way must be 'map', 'vmap' or None, got {effort.way!r}")
    return effort


class Plan(NamedTuple):
    """An arrangement."""

    samples: int | None  # None: batches stay as they are given
    points: int
    way: str
    linear: bool


class Task(NamedTuple):
    """What is evaluated, before it is known how."""

    function: Callable[..., tuple[jax.Array, ...]]  # (params, batch, fresh) -> arrays, means over the batch
    plane: Plane  # on the devices
    fresh: Any = ()  # an example of the tree of arrays that every point is given besides its coordinates
    order: int = 0  # 1: derivatives by the coordinates follow each array; 2: and, on a plane, the mixed one
    place: Place | None = None  # where; one device if left out


class Programs(NamedTuple):
    """A task for data of one shape, on any platform: neither compiled nor run, for what only asks about it."""

    prepare: Any  # jitted, as in `Compiled`, but of the arguments below
    arguments: tuple[Any, ...]  # of it: constants, origin, axes, data
    call: Any  # jitted, as in `Compiled`
    shapes: tuple[Any, ...]  # of its arguments
    own: list[Any]  # of what the second is handed: the plane's leaves, and None for what the first makes, in its order
    held_bytes: int  # of what the first makes
    moved: bool  # whether anything was taken out because it is linear


class Compiled(NamedTuple):
    """A task for data of one shape."""

    prepare: Callable[[Any], tuple[list, jax.Array]]  # piece -> held, whether its parts are finite
    call: Callable[..., tuple[jax.Array, ...]]  # (held, coordinates (points, axes), fresh) -> (points, ...) each
    bytes: int  # at the most at one time
    held: int  # bytes of what is held for a piece on each device, besides the plane
    linear: bool  # whether anything was taken out because it is linear


_SIDE_BY_SIDE = 32  # points whose intermediate values fit a cache together, where they are small


def _one_by_one(point, *arguments):
    return jax.lax.map(lambda each: point(*each), arguments)


def _side_by_side(point, *arguments):
    if len(arguments[0]) <= _SIDE_BY_SIDE:
        return jax.vmap(point)(*arguments)
    return jax.lax.map(lambda each: point(*each), arguments, batch_size=_SIDE_BY_SIDE)


_WAYS = {"map": _one_by_one, "vmap": _side_by_side}


def real_dtype() -> np.dtype:
    """Of coordinates: float32, or float64 where jax is set to it."""
    return jax.dtypes.canonicalize_dtype(np.float64)


def compiler(task: Task) -> Callable[[Any, Plan], Compiled]:
    """A function that compiles a task for data shaped like a piece, each shape and arrangement once.

    Each worker of its place takes as many points of a call as a plan says.
    """
    known, copies = {}, {}

    def everywhere(leaf):
        if id(leaf) not in copies:
            copies[id(leaf)] = jax.device_put(leaf, on_all(task.place))
        return copies[id(leaf)]

    def compiled(piece, plan):
        leaves, tree = jax.tree.flatten(piece)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        key = tree, shapes, plan._replace(samples=plan.samples and 1)
        if key not in known:
            known[key] = _compile(task, piece, plan, everywhere)
        return known[key]

    return compiled


def joined(compilers: list[Callable[[Any, Plan], Compiled]]) -> Callable[[Any, Plan], Compiled]:
    """One for several places, which share the points of a call."""
    return lambda piece, plan: _as_one([compiled(piece, plan) for compiled in compilers])


def _as_one(parts: list[Compiled]) -> Compiled:
    if len(parts) == 1:
        return parts[0]

    def prepare(piece):
        held, finite = zip(*(part.prepare(piece) for part in parts), strict=True)
        return list(held), all(map(bool, finite))

    def call(held, coordinates, fresh):
        shares = zip(*(np.split(leaf, len(parts)) for leaf in (coordinates, *fresh)), strict=True)
        outputs = [part.call(own, c, f) for part, own, (c, *f) in zip(parts, held, shares, strict=True)]
        return tuple(zip(*outputs, strict=True))

    return parts[0]._replace(prepare=prepare, call=call)


def programs(task: Task, piece: Any, plan: Plan) -> Programs:
    """Both phases of a task for data shaped like a piece, as `compiler` compiles them."""
    with within(task.place):
        return _programs(task, piece, plan)


def _programs(task: Task, piece: Any, plan: Plan) -> Programs:
    leaves, tree = jax.tree.flatten(piece)
    fresh, fresh_tree = jax.tree.flatten(task.fresh)
    origin, structure = jax.tree.flatten(task.plane.origin)
    along = [jax.tree.leaves(axis) for axis in task.plane.axes]
    ends = len(origin), len(origin) + len(leaves)

    def flat(*arguments):
        params = jax.tree.unflatten(structure, arguments[: ends[0]])
        data = jax.tree.unflatten(tree, arguments[slice(*ends)])
        return task.function(params, data, jax.tree.unflatten(fresh_tree, arguments[ends[1] :]))

    still = _still(along)
    phases = affine.split(
        jax.make_jaxpr(flat)(*origin, *leaves, *fresh),
        len(origin),
        len(along),
        still=still,
        extra=len(fresh),
        linear=plan.linear,
        differentiate=task.order > 0,
    )

    def prepare(constants, origin, along, data):
        held = phases.prepare(constants, origin, along, data)
        made = [value for n, value in zip(phases.leaves, held, strict=True) if n is None]
        return made, affine.all_finite(held)

    def call(held, coordinates, fresh):
        point = _DERIVED[task.order](phases.point)
        if len(coordinates) == 1:
            first = point(held, coordinates[0], [leaf[0] for leaf in fresh])
            return tuple(jnp.asarray(output)[None] for output in first)
        return tuple(_WAYS[plan.way](lambda c, f: point(held, c, f), coordinates, fresh))

    place, count = task.place, plan.points * (task.place.workers if task.place else 1)
    together = place is not None and place.together
    shaped = partial(jax.ShapeDtypeStruct, sharding=on_all(place) if together else None)
    constants = settled(phases.constants, place, name="what the loss closes over")
    arguments = constants, origin, along, [shaped(leaf.shape, leaf.dtype) for leaf in leaves]
    several = [shaped((count, *leaf.shape), leaf.dtype) for leaf in fresh]
    plane = affine.leaves_of(origin, along, still)
    own = [None if n is None else plane[n] for n in phases.leaves]
    held = _filled(jax.tree.map(_shape, own), jax.eval_shape(prepare, *arguments)[0])
    shapes = held, shaped((count, len(along)), real_dtype()), several
    if together:
        second = jax.jit(call, out_shardings=on_all(place))
    else:
        second = jax.jit(spread(call, place.mesh) if place else call)
    return Programs(jax.jit(prepare), arguments, second, shapes, own, phases.held_bytes, phases.moved)


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _filled(own: list[Any], made: list[Any]) -> list[Any]:
    """What is held: the plane's leaves are not made anew, for a program's outputs are copies of its inputs."""
    rest = iter(made)
    return [next(rest) if leaf is None else leaf for leaf in own]


def _compile(task: Task, piece: Any, plan: Plan, everywhere: Callable[[Any], Any]) -> Compiled:
    """Both phases, compiled ahead of time; the plane's leaves are put on all devices by a function that knows them."""
    made, place = programs(task, piece, plan), task.place
    together = place is not None and place.together
    spread_over = place is not None and not together  # each device has the plane for itself
    with within(place):
        first = made.prepare.lower(*made.arguments).compile()
        if together:
            made = _as_split(made, first.output_shardings[0])
        second = made.call.lower(*made.shapes).compile()
    own = jax.tree.map(everywhere, made.own) if spread_over else made.own

    def prepared(piece):
        data = jax.tree.leaves(piece)
        if together:
            fresh, finite = place.run(first, *made.arguments[:3], settled(data, place))
        else:
            fresh, finite = first(*made.arguments[:3], data)
        return _filled(own, jax.device_put(fresh, on_all(place)) if spread_over else fresh), finite

    copied = jax.tree.leaves(piece) if plan.samples else []
    most = _at_most(copied, _bytes(first), made.held_bytes, _bytes(second))
    call = partial(place.run, second) if place and place.spans else second
    return Compiled(prepared, call, most, made.held_bytes, made.moved)


def _as_split(made: Programs, layouts: Any) -> Programs:
    """The same, what is handed over being split as the first one leaves it."""
    layouts = _filled(jax.tree.map(lambda leaf: leaf.sharding, made.own), layouts)
    held = jax.tree.map(lambda leaf, layout: leaf.update(sharding=layout), made.shapes[0], layouts)
    fresh = [value for own, value in zip(made.own, held, strict=True) if own is None]
    parts = [(leaf.sharding.shard_shape(leaf.shape), leaf.dtype) for leaf in jax.tree.leaves(fresh)]
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in parts)
    return made._replace(shapes=(held, *made.shapes[1:]), held_bytes=size)


def _at_most(piece, first: int, held: int, second: int) -> int:
    """Bytes of both phases: the runtime gives back what has been used a moment after the next is begun."""
    copied = sum(leaf.size * leaf.dtype.itemsize for leaf in piece)  # of a piece of a batch
    return 2 * copied + held + second + max(first, second)


def _still(along) -> frozenset[int]:
    """The leaves that no axis moves, as biases are by default: all that follows from them is data."""
    return frozenset(n for n, parts in enumerate(zip(*along, strict=True)) if not any(map(_moves, parts)))


def _moves(leaf: jax.Array) -> bool:
    return bool(jax.block_until_ready(jnp.any(leaf)) if is_split(leaf) else np.any(leaf))


def _with_gradient(point):
    """A point's outputs, then their derivatives by the coordinates, by forward mode."""

    def both(held, coordinates, fresh):
        values, push = jax.linearize(lambda c: point(held, c, fresh), coordinates)
        columns = [push(direction) for direction in jnp.eye(len(coordinates), dtype=coordinates.dtype)]
        return [*values, *(jnp.stack(parts, axis=-1) for parts in zip(*columns, strict=True))]

    return both


def _with_mixed(point):
    """The derivatives f_x, f_y and f_xy: forward mode along one axis of forward mode along the other."""

    def all_three(held, coordinates, fresh):
        first, second = jnp.eye(2, dtype=coordinates.dtype)

        def along_first(c):
            return jax.jvp(lambda at: point(held, at, fresh), (c,), (first,))

        (values, by_x), (by_y, by_both) = jax.jvp(along_first, (coordinates,), (second,))
        return [*values, *(jnp.stack(parts, axis=-1) for parts in zip(by_x, by_y, by_both, strict=True))]

    return all_three


_DERIVED = (lambda point: point, _with_gradient, _with_mixed)


def _bytes(compiled) -> int:
    memory = compiled.memory_analysis()
    return memory.temp_size_in_bytes + memory.output_size_in_bytes if memory else 0


def sweeper(
    compiled: Callable[[Any, Plan], Compiled], plan: Plan, hold: int = 0, workers: int = 1
) -> Callable[..., list[np.ndarray]]:
    """A function that takes a task over points and data, by a plan.

    Args:
        compiled: what to evaluate, from `compiler`.
        plan: how.
        hold: bytes that prepared pieces may take from one call to the next, so that a later tile finds them.
        workers: how many a call is spread over.

    Returns:
        `sweep(pieces, coordinates, fresh, advance)`: the sums of share * output over the pieces, in float64,
        each (points, ...). A piece is (name, share, data), and its name stands for its data from call to call.
        `advance(points, piece)` is called as they are done.
    """
    kept, room = {}, [hold]

    def prepared(name, piece):
        if name in kept:
            return kept[name]
        chosen = compiled(piece, plan)
        held, finite = chosen.prepare(piece)
        if not finite:
            del held
            chosen = compiled(piece, plan._replace(linear=False))
            held, finite = chosen.prepare(piece)
        if chosen.held <= room[0]:
            room[0] -= chosen.held
            kept[name] = chosen, held
        return chosen, held

    def sweep(pieces, coordinates, fresh=(), advance=lambda points, piece: None):
        totals = None
        for name, share, piece in pieces:
            chosen, held = prepared(name, piece)
            points = plan.points * workers
            outputs = _through(chosen.call, held, coordinates, fresh, points, lambda n, p=piece: advance(n, p))
            del held
            weighted = [share * output.astype(np.result_type(output, np.float64)) for output in outputs]
            totals = weighted if totals is None else [t + w for t, w in zip(totals, weighted, strict=True)]
        return totals

    return sweep


def _through(call, held, coordinates, fresh, points: int, advance) -> list[np.ndarray]:
    """All points, some at a time; the next call is under way while the last one's results are fetched."""
    coordinates = np.asarray(coordinates, real_dtype())
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(fresh)]
    results, pending = [], deque()

    def fetch():
        results.append([_fetched(output) for output in pending.popleft()])
        advance(min(points, len(coordinates) - points * (len(results) - 1)))

    for start in range(0, len(coordinates), points):
        # The last call is filled up with its last point: one shape, one compiled function.
        here = np.minimum(np.arange(start, start + points), len(coordinates) - 1)
        pending.append(call(held, coordinates[here], [leaf[here] for leaf in leaves]))
        if len(pending) > 1:
            fetch()
    while pending:
        fetch()
    return [np.concatenate(parts)[: len(coordinates)] for parts in zip(*results, strict=True)]


def _fetched(output: Any) -> np.ndarray:
    """An output as one array, be it in the parts of several places."""
    parts = [np.asarray(part) for part in (output if isinstance(output, tuple) else (output,))]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Trial(NamedTuple):
    """What a plan was seen to cost."""

    plan: Plan
    bytes: int
    seconds: float  # for a point on the whole batch, its share of the preparation in it
    prepare: float  # seconds, for all pieces of the batch
    spent: float  # seconds that the trial took, most of it for compiling


def choose(
    task: Task, compiled: Callable[[Any, Plan], Compiled], batch: Any, points: int, effort: Effort, whole=False
) -> Trial:
    """Find a good plan by timing some, as long as that takes little of what is to come.

    Where a program runs in several processes at once nothing is timed, for all of them must find the same.

    Args:
        task: what to evaluate.
        compiled: the same from `compiler`, which keeps what is compiled here.
        batch: data of the most common shape.
        points: how many the grid has.
        effort: what is fixed, and the budget.
        whole: never cut a batch.

    Raises:
        ValueError: the smallest piece, one point at a time, takes more than the budget.
    """
    total = None if whole else samples_in(batch)
    guess, convolves = _guess_seconds(task, batch)
    free = total is not None and effort.samples is None and guess > _LONG and _cuts(task, batch, effort)
    # Kernels that differ from point to point make one grouped convolution side by side, which is slow.
    way = effort.way or ("vmap" if guess < _SHORT and not convolves else "map")
    plan = Plan(
        effort.samples or (max(32, round(total * _LONG / guess)) if free else None),
        effort.points or (even(points, min(1024, _LONG / max(guess, 1e-9))) if guess < _SHORT else 1),
        way,
        effort.linear is not False,
    )
    best = _within_budget(task, compiled, batch, plan, points, effort, total)
    tried = {best.plan: best}
    for change in () if task.place and task.place.spans else _changes(effort, free):
        changed = change(best.plan, total, points)
        if best.seconds * points < 5 * best.spent:
            break
        if changed not in tried:
            tried[changed] = _try(task, compiled, batch, changed, points, effort.budget)
            best = min(best, tried[changed], key=_seconds_seen)
    return _rematch(list(tried.values()), lambda plan: _try(task, compiled, batch, plan, points, effort.budget))


def _seconds_seen(trial: Trial) -> float:
    return trial.seconds


def _rematch(trials: list[Trial], again: Callable[[Plan], Trial]) -> Trial:
    """The best of the three best, which are timed in turn twice more: one busy moment is not to decide."""
    finalists = sorted(trials, key=_seconds_seen)[:3]
    for _ in range(2 if len(finalists) > 1 else 0):
        finalists = [min(seen, again(seen.plan), key=_seconds_seen) for seen in finalists]
    return min(finalists, key=_seconds_seen)


_SHORT, _LONG = 1e-3, 1e-2  # seconds of a call that is mostly overhead, and of one that surely is not


def even(points: int, most: float) -> int:
    """About so many at the most, such that all calls are nearly full."""
    return math.ceil(points / math.ceil(points / max(1, most)))


def _guess_seconds(task: Task, batch: Any) -> tuple[float, bool]:
    """For one point on the whole batch, at a speed that any machine has; and whether it holds convolutions."""
    (piece,) = shapes_in(batch, None)
    with within(task.place):
        lowered = jax.jit(task.function).lower(task.plane.origin, piece, task.fresh)
    work = max((lowered.cost_analysis() or {}).get("flops", 0.0), 0.0)
    return work / 3e10, "convolution" in lowered.as_text()


def _changes(effort: Effort, free: bool) -> Iterator[Callable[[Plan, int, int], Plan]]:
    """What to try on the best plan so far, likeliest first."""
    if free:
        for factor in (4, 4, 1 / 4, 1 / 4, 2, 1 / 2):
            yield partial(_rescaled, factor, effort)
    if effort.points is None:
        for count, way in ((8, "vmap"), (16, "map"), (32, "vmap")):
            if effort.way in (None, way):
                yield lambda plan, total, points, c=count, w=way: plan._replace(points=even(points, c), way=w)
    if effort.linear is None:
        yield lambda plan, total, points: plan._replace(linear=False)


def _rescaled(factor: float, effort: Effort, plan: Plan, total: int, points: int) -> Plan:
    """More samples and fewer points for a call, or the other way round: it lasts as long as before."""
    samples = min(total, max(16, round(plan.samples * factor)))
    count = effort.points or min(points, max(1, round(plan.points / factor)))
    return plan._replace(samples=samples, points=count)


def _cuts(task: Task, batch: Any, effort: Effort) -> bool:
    """Whether the outputs are means over the samples, so that a batch may be cut: tried on its first ones."""
    half = min(samples_in(batch) // 2, 32)
    if half < 8:
        return False
    plan = Plan(2 * half, 1, "map", effort.linear is not False)
    compiled = compiler(task._replace(order=0))
    while (size := _lean(compiled, _part(batch, slice(2 * half)), plan, effort)[1]) > effort.budget:
        if half == 1:
            raise ValueError(
                f"effort.budget is {effort.budget:,} bytes, but one point takes {size:,} on two samples, which is the "
                "least on which it can be seen whether a batch may be cut; give a larger budget, or effort.samples"
            )
        half = max(1, half // 4)
    parts = (_part(batch, window) for window in (slice(half), slice(half, 2 * half), slice(2 * half)))
    return are_means(task, compiled, plan, [(*parts, 0.5)], effort)


def _part(batch: Any, window: slice) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[window]), batch)


def _lean(compiled, piece: Any, plan: Plan, effort: Effort) -> tuple[Plan, int]:
    """The plan, or the same without the parts of what is affine where these are too large; and its bytes."""
    sizes = {plan: compiled(piece, plan).bytes}
    if sizes[plan] > effort.budget and plan.linear and effort.linear is None:
        plain = plan._replace(linear=False)
        sizes[plain] = compiled(piece, plain).bytes
    return min(sizes.items(), key=lambda item: item[1])


def are_means(task: Task, compiled: Callable[[Any, Plan], Compiled], plan: Plan, pairs, effort: Effort) -> bool:
    """Whether what two pieces give averages to what both give as one, at two points and for every pair.

    Args:
        task: what to evaluate, without derivatives.
        compiled: the same from `compiler`.
        plan: how, one point at a time.
        pairs: (first, second, both, the first's share) each.
        effort: what is fixed, and the budget.
    """
    axes = len(task.plane.axes)
    coordinates = np.stack([np.zeros(axes), np.ones(axes)])
    fresh = [np.stack([leaf, leaf]) for leaf in jax.tree.leaves(task.fresh)]
    means, wholes = [], []
    for first, second, both, share in pairs:
        sweep = sweeper(compiled, _lean(compiled, both, plan, effort)[0])
        means.append(sweep([("first", share, first), ("second", 1 - share, second)], coordinates, fresh))
        wholes.append(sweep([("both", 1.0, both)], coordinates, fresh))
    # A loss is rounded by the size of what it sums: on few samples by more than a share of what they have left.
    return all(
        np.allclose(mean, whole, rtol=1e-5, atol=1e-7 + 1e-5 * _typical(np.stack(whole)), equal_nan=True)
        for mean, whole in zip(zip(*means, strict=True), zip(*wholes, strict=True), strict=True)
    )


def _typical(values: np.ndarray) -> np.ndarray:
    """The size of what is finite, at each point: (pairs, points, ...) to (points, ...)."""
    return np.where(np.isfinite(values), np.abs(values), 0.0).mean(0)


def _within_budget(task, compiled, batch, plan: Plan, points: int, effort: Effort, total: int | None) -> Trial:
    """The plan, or one with fewer points or smaller pieces where it takes more than the budget."""
    least = math.inf
    while True:
        trial = _try(task, compiled, batch, plan, points, effort.budget)
        least = min(least, trial.bytes)
        if trial.bytes <= effort.budget:
            return trial
        less = effort.budget / trial.bytes / 1.2
        samples = plan.samples or total or 1
        if plan.points > 1 and effort.points is None:
            plan = plan._replace(points=max(1, int(plan.points * less)))
        elif samples > 1 and effort.samples is None and (plan.samples or _cuts(task, batch, effort)):
            plan = plan._replace(samples=max(1, int(samples * less)))
        elif plan.linear and effort.linear is None:
            plan = plan._replace(linear=False)
        else:
            raise ValueError(
                f"effort.budget is {effort.budget:,} bytes, but {plan.points} point(s) at a time take "
                f"{least:,} on {plan.samples or 'a whole batch of'} samples; give a larger budget or "
                "smaller batches"
            )


def _try(task: Task, compiled, batch: Any, plan: Plan, points: int, budget: float = np.inf) -> Trial:
    """Compile a plan and time it on the batch's first piece; only compile it where it exceeds the budget."""
    started = time.perf_counter()
    share, piece = next(cut_batch(batch, plan.samples))
    program = compiled(piece, plan)
    if program.bytes > budget:
        return Trial(plan, program.bytes, np.inf, np.inf, time.perf_counter() - started)
    if task.place and task.place.spans:
        return Trial(plan, program.bytes, max(_guess_seconds(task, batch)[0], 1e-9), 0.0, 0.0)
    coordinates = np.zeros((plan.points, len(task.plane.axes)), real_dtype())
    several = [np.repeat(leaf[None], plan.points, 0) for leaf in jax.tree.leaves(task.fresh)]
    prepare = _seconds(lambda: program.prepare(piece), 1)
    held, _ = program.prepare(piece)
    call = _seconds(lambda: program.call(held, coordinates, several), 3)
    seconds = (call / plan.points + prepare / points) / share
    return Trial(plan, program.bytes, seconds, prepare / share, time.perf_counter() - started)


def _seconds(function, least: int) -> float:
    """The least of some runs after a first one: at most a quarter of a second for all where one is short."""
    jax.block_until_ready(function())
    taken, started = [], time.perf_counter()
    while len(taken) < least or (len(taken) < 20 and time.perf_counter() - started < 0.05):
        start = time.perf_counter()
        jax.block_until_ready(function())
        taken.append(time.perf_counter() - start)
    return min(taken)
