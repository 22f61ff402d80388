"""A loss on a line or a plane: f(a, b) = L(origin + a u + b v).

A grid is evaluated tile by tile, in each tile batch by batch of data, and on each batch point by point: what
`affine` takes out of a batch is worked out once for all points of the tile, and fits the caches while they
are gone through. How many samples and how many points go together is measured on the loss itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nagviz.landscape.peers import Team, agreed, of_all, of_first
from nagviz.landscape.plane import Plane
from nagviz.landscape.spreading import apart, team_of_mesh, within, workers_of
from nagviz.landscape.surface import Question, Surface, arrange, ask, tabulator
from nagviz.landscape.sweep import Effort, Plan, even, real_dtype, require_effort
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
    bytes: int  # of a call at the most, besides the data and the plane, as the compiler counts them; with tiles,
    # prepared pieces are kept from one to the next as far as the rest of the budget goes
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


@apart()
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
    mesh: jax.sharding.Mesh | None = None,
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
        mesh: devices to spread the points over, in one axis, as `jax.make_mesh((n,), ("grid",), axis_types=...)`.
            It may span processes, which then all call this, with the same inputs, and all get the whole slice. Every
            device holds the plane and a batch, and has the budget of `effort` for itself. A model that is too large
            for one device takes a mesh of more axes, ("grid", "model"): points are spread along "grid" alone, and the
            origin stays split along the other axes as its arrays are (their axes are auto or explicit, as the mesh
            says, and the plane's axes are split alike). Inside the loss, the mesh in context is one with a "grid" of 1:
            name axes by `PartitionSpec`s, and close over no array that is split along explicit axes. One that
            `jax.set_mesh` has set is left aside: give it here.
        store: a folder where tiles of the grid are kept as they are finished, as a zarr v3 array. Called again
            with the same inputs, an evaluation that was killed carries on there, in the way that it had begun,
            and gives the same values, be it on more or fewer devices. Of several processes the first one writes and
            reads, and the others need not see the folder.
        report: called with the number of rows done and their total: first, before anything is evaluated, with
            those that the store holds already (0 without one), then whenever more rows are done. The time left is
            that since the first call, times what remains over what was done since.

    Returns:
        A slice whose rows follow y and whose columns follow x.

    Raises:
        ValueError: a grid that is empty, not increasing or not finite, or that does not fit the plane; axes
            unlike the origin; statistics that are a function together with gradient; no batch, or batches
            that differ in more than their sizes; a loss that is no scalar; a budget that one point exceeds; a
            store that is another slice's, or is damaged; a mesh that points cannot be spread over; processes that
            were given different inputs.
        ConnectionError: another process of the mesh has ended. End this one too, and start all of them again: what
            the store holds is gone on from.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> plane = nv.Plane(jnp.zeros(2), (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])))
        >>> cut = nv.evaluate(lambda w: w[0] + 10 * w[1], plane, [0.0, 1.0, 2.0], [0.0, 1.0])
        >>> print(cut.values)
        [[ 0.  1.  2.]
         [10. 11. 12.]]

    Source: Li et al. (2018); Garipov et al. (2018), section A.1, for statistics recomputed.
    """
    x, y = axis_of("x", x), None if y is None else axis_of("y", y)
    for name, axis in {"x": x, "y": y}.items():
        _require_distinct(name, axis)
    if len(plane.axes) != (1 if y is None else 2):
        raise ValueError(f"plane must have an axis for each of x and y, got {len(plane.axes)} axes")
    if quantity in (metrics or {}):
        raise ValueError(
            f"metrics must not have an entry {quantity!r}, which is the loss; name it, or give another quantity"
        )
    effort = require_effort(effort)
    functions = {quantity: loss, **(metrics or {})}
    asked = ask(Question(functions, batches, weights, statistics, int(gradient), compute_dtype), plane, mesh)
    rows = _grid(x, y)
    workers, team = workers_of(mesh), team_of_mesh(mesh)
    started = time.perf_counter()
    work, tiles = _begun(asked, rows, [x, y], effort, store, workers, team)
    done = _stored(rows, _cell(asked), work.tile, tiles, team)
    advance = _progress(report, len(rows), rows[..., 0].size * asked.samples)
    later = work.tile != rows.shape[:2]  # tiles that would find again what this one prepared
    hold = max(0, effort.budget - work.bytes) if later else 0
    tabulate = tabulator(asked, work.plan, hold, advance, mesh)
    chosen = time.perf_counter()
    write = (lambda blocks: None) if store is None else partial(_write, tiles, team)
    advance(sum(block[..., 0, 0].size for block in done.values()) * asked.samples)
    done |= _by_tiles(tabulate, rows, work.tile, set(done), workers, write)
    table = _assembled(rows, work.tile, done)
    work = work._replace(choosing=chosen - started, evaluating=time.perf_counter() - chosen)

    table = table if y is not None else table[0]
    values = {name: table[..., n, 0] for n, name in enumerate(asked.quantities)}
    slopes = {name: table[..., n, 1:] for n, name in enumerate(asked.quantities)} if gradient else None
    if not (isinstance(batches, Mapping) or metrics or asked.several):
        (values,), slopes = values.values(), slopes and slopes.popitem()[1]
    return Slice(x, y, values, plane.labels, quantity, slopes, asked.mode, work)


def axis_of(name: str, coordinates) -> np.ndarray:
    """Coordinates as float64, if they are strictly increasing and finite."""
    given = np.asarray(coordinates)
    if not any(jax.dtypes.issubdtype(given.dtype, kind) for kind in (np.integer, np.floating)):
        raise ValueError(f"{name} must be a strictly increasing vector of real numbers, got {coordinates}")
    axis = given.astype(np.float64)
    if axis.ndim != 1 or not axis.size or not np.all(np.isfinite(axis)) or np.any(np.diff(axis) <= 0):
        raise ValueError(f"{name} must be a strictly increasing vector of finite numbers, got {coordinates}")
    return axis


def _require_distinct(name: str, axis: np.ndarray | None) -> None:
    """Refuse neighbours that are one number in the dtype in which they are used."""
    if axis is None:
        return
    used = axis.astype(real_dtype())
    if (same := np.flatnonzero(np.diff(used) <= 0)).size:
        a, b = axis[same[0] : same[0] + 2].tolist()
        raise ValueError(
            f"{name} must hold numbers that differ in {used.dtype}, got {a!r} and {b!r}; set jax_enable_x64"
        )


def _grid(x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """Coordinates as (rows, columns, axes)."""
    if y is None:
        return x[None, :, None]
    return np.stack(np.meshgrid(x, y), axis=-1)


_TILE_SECONDS = 10.0


def _begun(asked: Surface, rows: np.ndarray, grid, effort: Effort, store, workers: int, team: Team):
    """How the work is gone about, as measured now or as it was begun in the store; and the first one's tiles."""
    arranged = cache(partial(_arranged, asked, rows, effort, workers, whole=store is None))
    identity, held = {}, []
    if store is not None or team.count > 1:
        identity = identity_of(asked, grid, for_store=store is not None)
        require_alike(identity, team)
    if asked.task.place and asked.task.place.spans:
        arranged()  # by all, since the programs are
    if store is None:
        return _work(agreed(team, lambda: _plain(arranged()))), None

    def begun():
        tiles = find_tiles(store, identity)
        if tiles is None:
            work, cell = arranged(), _cell(asked)
            plan = {"plan": work.plan._asdict(), "bytes": work.bytes}
            tiles = make_tiles(store, (*rows.shape[:2], *cell), (*work.tile, *cell), identity, plan)
        held.append(tiles)
        return {**tiles.plan, "tile": tiles.tile[:2]}

    work = _work(agreed(team, begun))
    if work.bytes > effort.budget:
        raise ValueError(
            f"effort.budget is {effort.budget:,} bytes, but store {store} was begun in a way that takes "
            f"{work.bytes:,}; give as much, or another path"
        )
    return work, held[0] if held else None


def _plain(work: Work) -> dict[str, Any]:
    return {"plan": work.plan._asdict(), "bytes": work.bytes, "tile": work.tile}


def _work(plain: Mapping[str, Any]) -> Work:
    return Work(Plan(**plain["plan"]), tuple(plain["tile"]), plain["bytes"])


def _cell(asked: Surface) -> tuple[int, int]:
    """The shape of a point's values."""
    return len(asked.quantities), 1 + len(asked.task.plane.axes) * asked.task.order


def _arranged(asked: Surface, rows: np.ndarray, effort: Effort, workers: int, *, whole: bool) -> Work:
    """Measure, and say how many points a worker finishes at a time: by the time that they take, if not all."""
    total, columns = rows[..., 0].size, rows.shape[1]
    share = -(-total // workers)
    trial = arrange(asked, share, effort)
    points = effort.tile or (total if whole else math.ceil(max(_TILE_SECONDS, 20 * trial.prepare) / trial.seconds))
    if size := sum(leaf.nbytes for leaf in asked.task.fresh):
        most = max(1, effort.budget // 4 // size)
        points = points if points <= most or (whole and share <= most) else most
    tile = (min(len(rows), points // columns), columns) if points >= columns else (1, points)
    if effort.points is None:
        trial = trial._replace(plan=trial.plan._replace(points=even(min(math.prod(tile), share), trial.plan.points)))
    return Work(trial.plan, tile, trial.bytes)


def identity_of(asked: Surface, grid, *, for_store: bool) -> dict[str, str]:
    """A digest of each thing that the values follow from.

    Raises:
        ValueError: nothing is known of the loss, and it is for a store.
    """
    plane, batch = asked.task.plane, asked.splits[0].batches[0]
    tasks = [task for task in (asked.task, asked.statistics) if task]
    try:
        with within(asked.task.place):
            texts = [text_of(jax.make_jaxpr(task.function)(plane.origin, batch, task.fresh)) for task in tasks]
    except ValueError:
        if for_store:
            raise
        texts = []
    plane = asked.given if asked.task.place and asked.task.place.spans else asked.task.plane
    data = [(split.name, split.batches, split.shares) for split in asked.splits]
    loss = [*texts, *asked.names, asked.mode, str(asked.task.order)]
    return fingerprint(origin=plane.origin, axes=plane.axes, grid=grid, data=data, loss=loss)


def require_alike(identity: Mapping[str, str], team: Team) -> None:
    """Refuse processes that would fill one grid with the values of several."""
    digests = np.array([int(digest[:15], 16) for digest in identity.values()])
    odd = np.any(of_all(team, digests) != of_first(team, digests), axis=0)
    if names := [name for name, differs in zip(identity, odd, strict=True) if differs]:
        raise ValueError(f"the processes of a mesh must be given the same inputs, but {', '.join(names)} differ")


def _stored(rows: np.ndarray, cell, tile, tiles: Tiles | None, team: Team) -> dict[tuple[int, int], np.ndarray]:
    """The tiles that are on disk, read before anything is compiled: one that is damaged is told at once."""
    parts, found = windows(rows.shape, tile), {}

    def read():
        if tiles:
            found.update({number: read_tile(tiles, number) for number in parts if is_done(tiles, number)})
        return list(found)

    numbers = [tuple(number) for number in agreed(team, read)]
    if not numbers or team.count == 1:
        return found
    shapes = [(*rows[parts[number]].shape[:2], *cell) for number in numbers]
    flat = [found.get(number, np.empty(shape)).ravel() for number, shape in zip(numbers, shapes, strict=True)]
    ends = np.cumsum([len(block) for block in flat])[:-1]
    blocks = np.split(of_first(team, np.concatenate(flat)), ends)
    return {number: block.reshape(shape) for number, block, shape in zip(numbers, blocks, shapes, strict=True)}


def _write(tiles: Tiles | None, team: Team, blocks: Mapping[tuple[int, int], np.ndarray]) -> None:
    """Put finished tiles into the store; that the first process cannot is told to all."""
    agreed(team, lambda: [write_tile(tiles, number, block) for number, block in blocks.items()])


def _by_tiles(tabulate, rows: np.ndarray, tile, done, workers: int, write) -> dict[tuple[int, int], np.ndarray]:
    """The tiles that are not done, as many at a time as there are workers: these share all points evenly."""
    parts = {number: window for number, window in windows(rows.shape, tile).items() if number not in done}
    numbers, made = list(parts), {}
    for start in range(0, len(numbers), workers):
        some = {number: rows[parts[number]] for number in numbers[start : start + workers]}
        points = [here.reshape(-1, here.shape[-1]) for here in some.values()]
        blocks = np.split(tabulate(np.concatenate(points)), np.cumsum([len(part) for part in points])[:-1])
        fresh = {
            number: block.reshape(*here.shape[:2], *block.shape[1:])
            for (number, here), block in zip(some.items(), blocks, strict=True)
        }
        write(fresh)
        made |= fresh
    return made


def _assembled(rows: np.ndarray, tile, done: Mapping[tuple[int, int], np.ndarray]) -> np.ndarray:
    """The table of the whole grid."""
    table = np.empty((*rows.shape[:2], *next(iter(done.values())).shape[2:]))
    for number, window in windows(rows.shape, tile).items():
        table[window] = done[number]
    return table


def _progress(report, rows: int, units: int):
    """Units of work, as they are done, into rows; the first ones, which were done before, are told at once."""
    done, told = 0, None

    def advance(more: int) -> None:
        nonlocal done, told
        done += more
        now = rows * done // units
        if now != told:
            report(now, rows)
        told = now

    return advance
