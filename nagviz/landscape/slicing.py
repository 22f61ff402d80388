"""A loss on a line or a plane: f(a, b) = L(origin + a u + b v).

A grid is evaluated tile by tile, in each tile batch by batch of data, and on each batch point by point: what
`affine` takes out of a batch is worked out once for all points of the tile, and fits the caches while they
are gone through. How many samples and how many points go together is measured on the loss itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nagviz.landscape.plane import Plane, rows_like
from nagviz.landscape.sweep import Effort, Plan, Task, choose, compiler, cut_batch, shapes_in, sweeper
from nagviz.landscape.tiles import (
    Tiles,
    find_tiles,
    fingerprint,
    is_done,
    make_tiles,
    read_tile,
    text_of,
    windows,
    write_tile,
)

Values = np.ndarray | dict[str, np.ndarray]


class Work(NamedTuple):
    """How a slice was evaluated."""

    plan: Plan  # chosen by measuring, or as asked
    tile: tuple[int, int]  # rows and columns that were finished together
    bytes: int  # that it took at the most, besides the data and the plane, as the compiler counts them
    choosing: float = 0.0  # seconds, compiling included
    evaluating: float = 0.0  # seconds


class Slice(NamedTuple):
    """A loss on a grid over a plane, or along a line."""

    x: np.ndarray  # (columns,), increasing; coordinates along the first axis
    y: np.ndarray | None  # (rows,), likewise along the second; None on a line
    values: Values  # (rows, columns), float64; (columns,) on a line. NaN and infinity are data. A dict of several
    labels: tuple[str, ...] = ()  # what the axes are
    quantity: str = "loss"  # what the values are
    gradient: Values | None = None  # (rows, columns, axes), or (columns, axes): derivatives by the coordinates
    statistics: str = "kept"  # those of batch norm: kept, of each batch, or recomputed at each point
    work: Work | None = None


def evaluate(
    loss: Callable[..., Any],
    plane: Plane,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    batches: Iterable[Any] | Mapping[str, Iterable[Any]] | None = None,
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    weights: Any = None,
    statistics: str | Callable[[Any, Any], Any] = "kept",
    gradient: bool = False,
    compute_dtype: Any = None,
    effort: Effort = Effort(),  # noqa: B008
    quantity: str = "loss",
    store: Path | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Slice:
    """Evaluate a loss on a grid: values[i, j] = L(origin + x_j u + y_i v).

    Every point is computed afresh from the plane, in float32 or what the parameters are. What does not depend
    on the point is computed once, and so is what is linear in its coordinates (the first layer of most
    models); the values are the same to rounding. Batches are averaged in float64.

    Args:
        loss: `loss(params)`, or `loss(params, batch)` with batches, a mean over the batch; jit-able. It may
            return a dict of several.
        plane: a plane, or a line where `y` is left out.
        x: coordinates along the first axis, strictly increasing.
        y: coordinates along the second.
        batches: trees of arrays whose leading axis numbers the samples. All but the last should have one
            size: each size is compiled once. A dict of such (say of "train" and "test") is evaluated in one
            pass. A batch is gone through in smaller pieces where that is faster and was seen to give the
            same mean.
        metrics: further functions like the loss, by name. `values` is then a dict, and so it is where the
            loss returns one or the batches are one: {"train loss": ..., "train accuracy": ...}.
        weights: of the batches, in place of their sizes; a dict where `batches` is one.
        statistics: where batch norm's come from. "kept": the loss uses those that it holds. "batch": it uses
            those of each batch, and batches are therefore never cut. Or a function `statistics(params,
            batch)`: its mean over the batches (of the dict's first entry) is worked out at every point and
            given to `loss(params, batch, statistics)`, as Garipov et al. (2018) do.
        gradient: evaluate the derivatives by the coordinates too, by forward mode.
        compute_dtype: parameters at each point and data are rounded to this dtype, as `jax.numpy.bfloat16`.
        effort: memory, and how to go about it.
        quantity: the name of what is evaluated, for a colour bar.
        store: a folder where tiles of the grid are kept as they are finished, as a zarr v3 array. Called again
            with the same inputs, an evaluation that was killed carries on there, in the way that it had begun,
            and gives the same values.
        report: called with the number of rows done and their total, as the work goes on: the time left is
            that since the first call, times what remains over what was done since.

    Returns:
        A slice whose rows follow y and whose columns follow x.

    Raises:
        ValueError: a grid that is empty, not increasing or not finite, or that does not fit the plane; axes
            unlike the origin; no batch, or batches that differ in more than their sizes; a loss that is no
            scalar; a budget that one point exceeds; a store that is another slice's, or is damaged.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> plane = nv.Plane(jnp.zeros(2), (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])))
        >>> cut = nv.evaluate(lambda w: w[0] + 10 * w[1], plane, [0.0, 1.0, 2.0], [0.0, 1.0])
        >>> print(cut.values)
        [[ 0.  1.  2.]
         [10. 11. 12.]]

    Source: Li et al. (2018); Garipov et al. (2018), section A.1, for statistics recomputed.
    """
    x, y = _axis("x", x), None if y is None else _axis("y", y)
    _require_fit(plane, y)
    splits = _splits(batches, weights)
    mode = _mode(statistics, batches, gradient)
    functions = {quantity: loss, **(metrics or {})}
    tasks = _tasks(functions, plane, splits, statistics if callable(statistics) else None, gradient, compute_dtype)
    rows = _grid(x, y)
    started = time.perf_counter()
    compiled = compiler(tasks.main)
    identity = _identity(tasks, splits, x, y, mode) if store else {}
    tiles = find_tiles(store, identity) if store else None
    work = _resumed(tiles) if tiles else _arranged(tasks, compiled, splits, rows, effort, mode, bool(store))
    if store and not tiles:
        cell = len(splits) * len(tasks.names), 1 + len(plane.axes) * gradient
        tiles = make_tiles(store, (*rows.shape[:2], *cell), (*work.tile, *cell), identity, _kept(work))
    for form in _forms(splits, work.plan):
        compiled(form, work.plan)
    chosen = time.perf_counter()
    samples = sum(sum(_sizes(split)) for split in splits)
    advance = _progress(report, len(rows), rows[..., 0].size * samples)
    tabulate = _tabulator(tasks, compiled, splits, work, effort, advance)
    table = _by_tiles(tabulate, rows, work.tile, tiles, lambda points: advance(points * samples))
    work = work._replace(choosing=chosen - started, evaluating=time.perf_counter() - chosen)

    table = table if y is not None else table[0]
    several = isinstance(batches, Mapping) or tasks.several or bool(metrics)
    names = [f"{split.name} {name}".strip() for split in splits for name in tasks.names]
    values = {name: table[..., n, 0] for n, name in enumerate(names)}
    slopes = {name: table[..., n, 1:] for n, name in enumerate(names)} if gradient else None
    if not several:
        values, slopes = values[names[0]], slopes and slopes[names[0]]
    return Slice(x, y, values, plane.labels, quantity, slopes, mode, work)


def _axis(name: str, coordinates) -> np.ndarray:
    axis = np.asarray(coordinates, np.float64)
    if axis.ndim != 1 or not axis.size or not np.all(np.isfinite(axis)) or np.any(np.diff(axis) <= 0):
        raise ValueError(f"{name} must be a strictly increasing vector of finite numbers, got {coordinates}")
    return axis


def _grid(x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """Coordinates as (rows, columns, axes)."""
    if y is None:
        return x[None, :, None]
    return np.stack(np.meshgrid(x, y), axis=-1)


def _require_fit(plane: Plane, y) -> None:
    if len(plane.axes) != (1 if y is None else 2):
        raise ValueError(f"plane must have an axis for each of x and y, got {len(plane.axes)} axes")
    for n, axis in enumerate(plane.axes):
        try:
            stacked = rows_like(plane.origin, axis)[1]
        except ValueError as error:
            raise ValueError(str(error).replace("params", f"plane.axes[{n}]")) from None
        if stacked:
            raise ValueError(f"plane.axes[{n}] must have the shapes of the plane's origin, got one dimension more")


class _Split(NamedTuple):
    """Data that are averaged together."""

    name: str
    batches: list[Any]
    shares: np.ndarray  # of the batches, of sum 1


def _splits(batches, weights) -> list[_Split]:
    if batches is None:
        if weights is not None:
            raise ValueError("weights are those of batches; give batches, or leave weights out")
        return [_Split("", [None], np.ones(1))]
    named = batches if isinstance(batches, Mapping) else {"": batches}
    if not named:
        raise ValueError("batches must hold at least one entry, got an empty dict")
    given = weights if isinstance(batches, Mapping) else {"": weights}
    return [_split(name, list(held), (given or {}).get(name)) for name, held in named.items()]


def _split(name: str, batches: list[Any], weights) -> _Split:
    where = f"batches[{name!r}]" if name else "batches"
    if not batches:
        raise ValueError(f"{where} must hold at least one batch, got none; leave it out for loss(params)")
    first = _form(batches[0])
    for n, batch in enumerate(batches):
        if (form := _form(batch)) != first:
            raise ValueError(f"{where} must differ in their leading axes only: batch {n} is {form}, batch 0 {first}")
    weights = np.asarray([_size(batch) for batch in batches] if weights is None else weights, np.float64)
    if weights.shape != (len(batches),) or not np.all(np.isfinite(weights) & (weights >= 0)) or not weights.sum() > 0:
        raise ValueError(f"weights must be {len(batches)} numbers, not negative, one for each batch, got {weights}")
    return _Split(name, batches, weights / weights.sum())


def _size(batch) -> int:
    """How many samples: the leading axis of the first leaf."""
    leaves = jax.tree.leaves(batch)
    return np.shape(leaves[0])[0] if leaves and np.ndim(leaves[0]) else 1


def _sizes(split: _Split) -> list[int]:
    return [_size(batch) for batch in split.batches]


def _form(batch) -> str:
    """The tree, and the shapes and dtypes but for the leading axes."""

    def leaf_form(leaf):
        leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        return f"{leaf.dtype}{list(leaf.shape[1:])}"

    return str(jax.tree.map(leaf_form, batch))


def _mode(statistics, batches, gradient: bool) -> str:
    if callable(statistics):
        if gradient or batches is None:
            raise ValueError("statistics that are recomputed need batches, and give no gradient")
        return "recomputed"
    if statistics not in ("kept", "batch"):
        raise ValueError(f"statistics must be 'kept', 'batch' or a function of (params, batch), got {statistics!r}")
    return statistics


class _Tasks(NamedTuple):
    """What is evaluated at every point."""

    main: Task
    names: list[str]
    several: bool  # whether the loss itself returns several
    statistics: Task | None


def _tasks(functions, plane, splits, recompute, gradient, dtype) -> _Tasks:
    batch = splits[0].batches[0]
    plane, call = jax.device_put(plane), _caller(dtype, splits[0].batches[0] is not None)
    statistics, example, tree = None, (), None
    if recompute:
        shapes, tree = jax.tree.flatten(jax.eval_shape(lambda *a: call(recompute, *a, ()), plane.origin, batch))
        example = tuple(np.ones(shape.shape, shape.dtype) for shape in shapes)
        statistics = Task(
            lambda params, batch, fresh: tuple(jax.tree.leaves(call(recompute, params, batch, fresh))), plane
        )
    names, several = [], []

    def outputs(params, batch, fresh):
        more = (jax.tree.unflatten(tree, fresh),) if recompute else ()
        found = {name: call(function, params, batch, more) for name, function in functions.items()}
        several[:] = [any(isinstance(value, Mapping) for value in found.values())]
        flat = _flat(found)
        names[:] = flat
        return tuple(flat.values())

    jax.eval_shape(outputs, plane.origin, batch, example)
    return _Tasks(Task(outputs, plane, example, gradient), names, several[0], statistics)


def _caller(dtype, batched: bool):
    """How a user's function is called: with or without a batch, in the dtype asked for."""

    def cast(leaf):
        floating = dtype is not None and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    def call(function, params, batch, more):
        params, batch = jax.tree.map(cast, (params, batch))
        return function(params, *((batch,) if batched else ()), *more)

    return call


def _flat(found: dict[str, Any]) -> dict[str, jax.Array]:
    """Scalars by name: a function's own name, or the keys of the dict that it returned."""
    flat = {}
    for name, value in found.items():
        flat.update(value if isinstance(value, Mapping) else {name: value})
    for name, value in flat.items():
        if jnp.shape(value) != ():
            raise ValueError(f"{name} must return a scalar, got shape {jnp.shape(value)}")
    return {name: jnp.asarray(v, jnp.promote_types(jnp.result_type(v), jnp.float32)) for name, v in flat.items()}


def _arranged(tasks: _Tasks, compiled, splits, rows: np.ndarray, effort: Effort, mode: str, stored: bool) -> Work:
    """Measure, and say what is finished together."""
    count, columns = rows[..., 0].size, rows.shape[1]
    trial = choose(tasks.main, compiled, splits[0].batches[0], count, effort, whole=mode == "batch")
    points = effort.tile or count
    if stored and not effort.tile:  # some seconds, and little of it for what each tile prepares anew
        points = math.ceil(max(_TILE_SECONDS, 20 * trial.prepare) / trial.seconds)
    if size := sum(leaf.nbytes for leaf in tasks.main.fresh):
        points = max(1, min(points, effort.budget // 4 // size))
    tile = (min(len(rows), points // columns), columns) if points >= columns else (1, points)
    return Work(trial.plan, tile, trial.bytes)


_TILE_SECONDS = 10.0


def _kept(work: Work) -> dict[str, Any]:
    return {"plan": work.plan._asdict(), "bytes": work.bytes}


def _resumed(tiles: Tiles) -> Work:
    return Work(Plan(**tiles.plan["plan"]), tiles.tile[:2], tiles.plan["bytes"])


def _by_tiles(tabulate, rows: np.ndarray, tile, tiles: Tiles | None, advance) -> np.ndarray:
    """The table of the whole grid; what is on disk is read, all of it before anything is evaluated."""
    parts = windows(rows.shape, tile)
    done = {number: read_tile(tiles, number) for number in parts if tiles and is_done(tiles, number)}
    for block in done.values():
        advance(block[..., 0, 0].size)
    for number, window in parts.items():
        if number not in done:
            here = rows[window]
            block = tabulate(here.reshape(-1, here.shape[-1]))
            done[number] = block.reshape(*here.shape[:2], *block.shape[1:])
            if tiles:
                write_tile(tiles, number, done[number])
    table = np.empty((*rows.shape[:2], *next(iter(done.values())).shape[2:]))
    for number, window in parts.items():
        table[window] = done[number]
    return table


def _tabulator(tasks: _Tasks, compiled, splits, work: Work, effort: Effort, advance):
    """A function of coordinates (points, axes): (points, quantities, 1 + axes with a gradient, else 1)."""
    sweep = sweeper(compiled, work.plan, max(0, effort.budget - work.bytes))
    estimate = sweeper(compiler(tasks.statistics), work.plan) if tasks.statistics else None
    count = len(tasks.names)

    def tabulate(coordinates):
        fresh = estimate(_pieces(splits[0], None), coordinates) if estimate else ()
        fresh = [f.astype(leaf.dtype) for f, leaf in zip(fresh, tasks.main.fresh, strict=True)]
        columns = []
        for split in splits:
            outputs = sweep(
                _pieces(split, work.plan.samples), coordinates, fresh, lambda n, piece: advance(n * _size(piece))
            )
            columns += [np.column_stack([v, *outputs[count + n :][:1]]) for n, v in enumerate(outputs[:count])]
        return np.stack(columns, axis=1)

    return tabulate


def _pieces(split: _Split, samples: int | None):
    """What a split is cut into: a name for what is held, a share of the whole, data."""
    for n, (share, batch) in enumerate(zip(split.shares, split.batches, strict=True)):
        for m, (part, piece) in enumerate(cut_batch(batch, samples)):
            yield (split.name, n, m), share * part, piece


def _forms(splits: list[_Split], plan: Plan) -> list[Any]:
    """The different shapes of data that will be seen, so that all is compiled beforehand."""
    sizes = [{_size(batch): batch for batch in split.batches} for split in splits]
    return [shape for some in sizes for batch in some.values() for shape in shapes_in(batch, plan.samples)]


def _progress(report, rows: int, units: int):
    """Units of work, as they are done, into rows."""
    seen = [0, 0]

    def advance(done: int) -> None:
        seen[0] += done
        for row in range(seen[1] + 1, rows * seen[0] // units + 1):
            seen[1] = row
            report(row, rows)

    return advance


def _identity(tasks: _Tasks, splits, x, y, mode: str) -> dict[str, str]:
    """A digest of each thing that the values follow from."""
    plane, batch = tasks.main.plane, splits[0].batches[0]
    texts = [
        text_of(jax.make_jaxpr(task.function)(plane.origin, batch, task.fresh))
        for task in (tasks.main, tasks.statistics)
        if task
    ]
    return fingerprint(
        origin=plane.origin,
        axes=plane.axes,
        grid=[x, y],
        data=[(split.name, split.batches, split.shares) for split in splits],
        loss=[*texts, *tasks.names, mode, str(tasks.main.gradient)],
    )


def save_slice(file: Path, cut: Slice) -> None:
    """Write a slice as an `.npz`, whole or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as stream:
        np.savez(stream, **_fields(cut))
    partial.replace(file)


def _fields(cut: Slice) -> dict[str, Any]:
    """A slice as arrays; those of several quantities as `values/NAME`."""
    fields = {}
    for name, field in cut._asdict().items():
        if isinstance(field, dict):
            fields |= {f"{name}/{key}": array for key, array in field.items()}
        elif field is not None and name != "work":
            fields[name] = field
    return fields


def load_slice(file: Path) -> Slice:
    """Read a slice that `save_slice` wrote."""
    with np.load(file, allow_pickle=False) as held:
        y = held["y"] if "y" in held.files else None
        labels = tuple(held["labels"].tolist())
        statistics = held["statistics"].item() if "statistics" in held.files else "kept"
        values, gradient = _values(held, "values"), _values(held, "gradient")
        return Slice(held["x"], y, values, labels, held["quantity"].item(), gradient, statistics)


def _values(held, name: str) -> Values | None:
    if name in held.files:
        return held[name]
    return {key.removeprefix(f"{name}/"): held[key] for key in held.files if key.startswith(f"{name}/")} or None
