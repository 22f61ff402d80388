"""Training in compiled chunks: a loop over snapshots around a loop over steps, nothing read in between.

While the device works on a chunk the host has the one before it fetched, and draws the batches of the one after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, reshard

OBSERVED_BYTES = 1 << 28  # of what is observed in a chunk; it is held twice, while a chunk is fetched


class Batches(NamedTuple):
    """Samples on the device, and the order in which they are drawn."""

    samples: Any  # a tree of arrays, one leading axis for the samples
    size: int  # of a batch
    seed: int

    def indices(self, start: int, stop: int) -> np.ndarray:
        """The samples of steps start to stop, (steps, size): each epoch a new order, its rest left out.

        They depend on seed and step alone: all optimizers see the same batches, and a resumed run those it had left.
        """
        count = len(jax.tree.leaves(self.samples)[0])
        per_epoch = count // self.size
        used = per_epoch * self.size
        first = start // per_epoch
        orders = [
            np.random.default_rng((self.seed, epoch)).permutation(count)[:used].astype(np.int32)
            for epoch in range(first, -(-stop // per_epoch))
        ]
        rows = np.concatenate(orders).reshape(-1, self.size)
        return rows[start - first * per_epoch : stop - first * per_epoch]


class Chunk(NamedTuple):
    """What a chunk of training left behind; side by side, each array has the trials as its first axis but `steps`."""

    steps: np.ndarray  # (snapshots,): steps done at each snapshot; there may be none
    observed: Any  # what was observed there, each leaf (snapshots, *its shape)
    losses: np.ndarray  # (steps of the chunk,): the loss of each step's batch at the look-ahead point
    done: int  # steps done at its end
    carried: Any  # (parameters, optimizer state) at its end, on the device: a copy, which training goes on without
    seconds: float  # without compilation


class Plan(NamedTuple):
    """How far, and when something is seen."""

    steps: int
    snapshots: np.ndarray  # (n,), increasing, within 1 .. steps
    chunk: int  # steps; chunks end at its multiples, and at the last step
    pieces: int = 0  # that snapshots cut the chunk into that has most

    def chunks(self, start: int) -> Iterator[tuple[int, int]]:
        """First and last step of each chunk from a step on."""
        ends = range((start // self.chunk + 1) * self.chunk, self.steps, self.chunk)
        return pairwise([start, *ends, self.steps] if start < self.steps else [])

    def within(self, start: int, stop: int) -> np.ndarray:
        """The snapshots after one step, up to another."""
        first, last = np.searchsorted(self.snapshots, [start, stop], side="right")
        return self.snapshots[first:last]

    def cuts(self, start: int, stop: int) -> np.ndarray:
        """Where a chunk is cut: its ends, and its snapshots."""
        return np.unique([start, *self.within(start, stop), stop])


class Source(NamedTuple):
    """What the steps of a chunk are given; twice None where the loss needs no data."""

    samples: Any
    drawn: Callable[[int, int], np.ndarray] | None  # first and last step -> (steps, ..., size): which of the samples
    parts: NamedSharding | None = None  # how devices share them


def train(
    loss: Callable[..., jax.Array],
    params: Any,
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    snapshots: Sequence[int] | np.ndarray,
    batches: Batches | None = None,
    observe: Callable[[optax.OptState, Any], Any] = lambda state, params: params,
    chunk: int | None = None,
    carried: tuple[int, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    mesh: jax.sharding.Mesh | None = None,
) -> Iterator[Chunk]:
    """Train, and yield what is observed, chunk by chunk.

    Args:
        loss: `loss(params)`, or `loss(params, batch)` with batches.
        params: the start; kept, not donated.
        optimizer: any Optax optimizer.
        steps: how many.
        snapshots: the steps after which to observe, increasing, evenly spaced or not.
        batches: the samples; the same steps draw the same ones for every optimizer.
        observe: what to keep of a state and parameters, such as `nagviz.iterate`.
        chunk: steps of a chunk; by default a tenth of the run. It is less where more than 256 MB would be observed
            in one, and more than once. What is computed does not depend on it.
        carried: `(done, carried)` of an earlier chunk, to go on from there.
        stop: asked before a chunk is begun; those that are on their way are still yielded.
        mesh: devices that share each batch evenly along the mesh's first axis, every one with all samples and, unless
            they came with a sharding of their own on that mesh, all parameters; the numbers agree to rounding. By
            default one device. Its axes may be auto or explicit.

    Yields:
        Chunks that follow on one another; the start itself is not observed.

    Raises:
        ValueError: snapshots that do not increase, or lie outside 1 to `steps`; batches that the devices cannot share
            evenly.

    Example:
        >>> chunks = train(lambda w: w**2, jnp.array(1.0), optax.sgd(0.25), steps=8, snapshots=[1, 2, 8], chunk=4)
        >>> [(c.steps.tolist(), c.observed.tolist()) for c in chunks]
        [([1, 2], [0.5, 0.25]), ([8], [0.00390625])]
    """
    step = _step(loss, optax.with_extra_args_support(optimizer), batches is not None, mesh)
    start = (0, begun(params, optimizer)) if carried is None else carried
    see = _seeing(observe)
    plan = _planned(steps, snapshots, chunk, jax.eval_shape(see, start[1]))
    source = Source(None, None) if batches is None else Source(batches.samples, batches.indices)
    if mesh is not None:
        start, source = (start[0], _spread(start[1], mesh)), _shared(source, batches and batches.size, mesh)
    yield from _run(step, see, start, plan, source, stop, mesh)


def train_together(
    loss: Callable[..., jax.Array],
    starts: Sequence[Any],
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation],
    learning_rates: Sequence[float],
    *,
    steps: int,
    snapshots: Sequence[int] | np.ndarray,
    batches: Sequence[Batches] | None = None,
    observe: Callable[[optax.OptState, Any], Any] = lambda state, params: params,
    chunk: int | None = None,
    carried: tuple[int, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    mesh: jax.sharding.Mesh | None = None,
) -> Iterator[Chunk]:
    """Train several trials of one optimizer side by side, as `train` does one; their numbers agree to rounding.

    Args:
        loss: as in `train`.
        starts: of each trial.
        optimizer: of a learning rate that is a schedule, `nagviz.nag` or `lambda rate: optax.adam(rate, b1=0.8)`.
        learning_rates: of each trial.
        steps: how many.
        snapshots: as in `train`.
        batches: of each trial, over the same samples.
        observe: what to keep of one trial's state and parameters.
        chunk: as in `train`.
        carried: as in `train`.
        stop: as in `train`.
        mesh: as in `train`, of auto axes.

    Yields:
        Chunks whose arrays have the trials as first axis.

    Raises:
        ValueError: as in `train`.

    Example:
        >>> ones = [jnp.array(1.0)] * 2
        >>> chunks = train_together(lambda w: w**2, ones, optax.sgd, [0.25, 0.5], steps=2, snapshots=[1, 2], chunk=2)
        >>> next(chunks).observed.tolist()
        [[0.5, 0.25], [0.0, 0.0]]
    """
    rates = jnp.asarray(learning_rates, jnp.result_type(float))

    def step(carry, samples, drawn):
        def one(rate, carry, drawn):
            made = optax.with_extra_args_support(optimizer(lambda count: rate))
            return _step(loss, made, batches is not None, mesh)(carry, samples, drawn)

        return jax.vmap(one)(rates, carry, drawn)

    start = (0, begun_together(starts, optimizer, learning_rates)) if carried is None else carried
    see = jax.vmap(_seeing(observe))
    plan = _planned(steps, snapshots, chunk, jax.eval_shape(see, start[1]))
    samples = None if batches is None else batches[0].samples
    drawn = None if batches is None else lambda *ends: np.stack([b.indices(*ends) for b in batches], axis=1)
    source = Source(samples, drawn)
    if mesh is not None:
        start, source = (
            (start[0], _spread(start[1], mesh)),
            _shared(source, batches and batches[0].size, mesh, trials=1),
        )
    for made in _run(step, see, start, plan, source, stop, mesh):
        turned = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), (made.observed, made.losses))
        yield made._replace(observed=turned[0], losses=turned[1])


def begun(params: Any, optimizer: optax.GradientTransformation) -> Any:
    """What `train` carries before the first step: the parameters and the optimizer's state."""
    return params, optimizer.init(params)


def begun_together(
    starts: Sequence[Any],
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation],
    learning_rates: Sequence[float],
) -> Any:
    """What `train_together` carries before the first step, the trials first in each array."""

    def one(rate, params):
        return optimizer(lambda count: rate).init(params)

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    return stacked, jax.vmap(one)(jnp.asarray(learning_rates, jnp.result_type(float)), stacked)


def _spread(carry, mesh):
    """On all devices alike, but for what has a sharding on them already: the state has that of the parameters."""
    whole = NamedSharding(mesh, PartitionSpec())

    def put(leaf):
        placed = isinstance(leaf, jax.Array) and isinstance(leaf.sharding, NamedSharding) and leaf.sharding.mesh == mesh
        return leaf if placed else _laid(leaf, whole)

    return jax.tree.map(put, carry)


def _laid(array: np.ndarray | jax.Array, sharding: NamedSharding) -> jax.Array:
    """An array over devices; where these are those of several processes, each of them has the same array.

    (`jax.device_put` would have the processes compare it, for which each must have as many devices as any other.)
    """
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    places = sharding.addressable_devices_indices_map(array.shape)
    parts = [jax.device_put(array[index], device) for device, index in places.items()]
    return jax.make_array_from_single_device_arrays(array.shape, sharding, parts)


def _shared(source: Source, size: int | None, mesh, trials: int = 0) -> Source:
    """The samples on every device, and of each batch its part."""
    if size is None:
        return source
    axis = mesh.axis_names[0]
    if size % mesh.shape[axis]:
        raise ValueError(
            f"batches of {size} cannot be shared evenly by the {mesh.shape[axis]} devices of the mesh's axis "
            f"{axis!r}: take a batch size that is a multiple of {mesh.shape[axis]}, or fewer devices"
        )
    parts = NamedSharding(mesh, PartitionSpec(None, *[None] * trials, axis))
    return Source(_spread(source.samples, mesh), source.drawn, parts)


def _seeing(observe):
    return lambda carry: observe(carry[1], carry[0])


def _planned(steps, snapshots, chunk, observed) -> Plan:
    snapshots = np.asarray(snapshots, int)
    if np.any(np.diff(snapshots, prepend=0) <= 0) or np.any(snapshots > steps):
        raise ValueError(f"snapshots must increase within 1 to steps = {steps}, got {snapshots.tolist()}")
    plan = _counted(Plan(steps, snapshots, chunk or -(-steps // 10)))
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(observed))
    while plan.pieces > 1 and plan.pieces * each > OBSERVED_BYTES:
        plan = _counted(plan._replace(chunk=plan.chunk // 2))
    return plan


def _counted(plan: Plan) -> Plan:
    return plan._replace(pieces=max(len(plan.cuts(*ends)) - 1 for ends in plan.chunks(0)))


def _step(loss, optimizer, on_batches: bool, mesh=None):
    parts = None
    if mesh is not None and mesh.axis_types[0] is AxisType.Explicit:  # to be told what an auto one finds out
        parts = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))

    def step(carry, samples, drawn):
        params, state = carry
        batch = [jax.tree.map(lambda leaf: leaf.at[drawn].get(out_sharding=parts), samples)] if on_batches else []
        value, gradient = jax.value_and_grad(loss)(params, *batch)
        updates, state = optimizer.update(gradient, state, params, value=value)
        return (optax.apply_updates(params, updates), state), value

    return step


class _Ahead(NamedTuple):
    """A chunk on its way."""

    ends: tuple[int, int]
    out: Future  # of what it observed and its losses, and when they were there
    carried: Any
    began: float  # when it was dispatched


def _run(step, see, start, plan: Plan, source: Source, stop, mesh) -> Iterator[Chunk]:
    """Dispatch each chunk before the last one is handed out."""
    done, carry = start[0], _copied(start[1])  # its buffers will be donated, and what was given is the caller's
    compiled, ended, ahead = None, 0.0, None
    with ThreadPoolExecutor(1) as fetcher:  # a main thread that waits for another one hears Ctrl-C at once
        for ends in plan.chunks(done):
            if stop():
                break
            given = source.samples, *_orders(plan, ends, source)
            if compiled is None:
                with nullcontext() if mesh is None else jax.set_mesh(mesh):  # whose axes a loss may name
                    compiled = _chunk_function(step, see, plan).lower(carry, *given).compile()
            began = time.perf_counter()
            carry, out = compiled(carry, *given)
            kept = _copied(carry)
            behind, ahead = ahead, _Ahead(ends, fetcher.submit(_fetch, out), kept, began)
            if behind is not None:
                chunk, ended = _handed(behind, plan, ended)
                yield chunk
        if ahead is not None:
            yield _handed(ahead, plan, ended)[0]


@jax.jit
def _copied(carry):
    # Of its own dtype outright: what is read back from a checkpoint has no weak types, and must compute the same.
    return jax.tree.map(lambda leaf: jnp.array(leaf, leaf.dtype, copy=True), carry)


def _fetch(out):
    return jax.device_get(out), time.perf_counter()


def _handed(ahead: _Ahead, plan: Plan, before: float) -> tuple[Chunk, float]:
    """A chunk, and when it ended; it began when it was dispatched, or when the one before it ended."""
    (observed, losses), ended = ahead.out.result()
    first, last = ahead.ends
    steps = plan.within(first, last)
    observed = jax.tree.map(lambda leaf: leaf[: len(steps)], observed)
    seconds = ended - max(ahead.began, before)
    return Chunk(steps, observed, losses[: last - first], last, ahead.carried, seconds), ended


def _orders(plan: Plan, ends: tuple[int, int], source: Source):
    """What a chunk is to do: the samples of each step, where it is cut, and into how many pieces."""
    cuts = plan.cuts(*ends) - ends[0]
    padded = np.pad(cuts, (0, plan.pieces + 1 - len(cuts))).astype(np.int32)
    if source.drawn is None:
        return None, padded, np.int32(len(cuts) - 1)
    rows = source.drawn(*ends)
    rows = np.pad(rows, ((0, plan.chunk - len(rows)), *((0, 0) for _ in rows.shape[1:])))
    rows = rows if source.parts is None else _laid(rows, source.parts)
    return rows, padded, np.int32(len(cuts) - 1)


def _chunk_function(step, see, plan: Plan):
    """One program for chunks of any number of steps and snapshots: how many there are, it is told."""

    def chunk(carry, samples, rows, cuts, pieces):
        def one(t, kept):
            carry, loss = step(kept[0], samples, None if rows is None else rows[t])
            return carry, kept[1].at[t].set(loss)

        def piece(i, kept):
            carry, losses = jax.lax.fori_loop(cuts[i], cuts[i + 1], one, kept[:2])
            put = partial(jax.lax.dynamic_update_index_in_dim, index=i, axis=0)
            return carry, losses, jax.tree.map(put, kept[2], see(carry))

        row = None if rows is None else rows[0]
        losses = _room(plan.chunk, jax.eval_shape(lambda: step(carry, samples, row)[1]))
        seen = _room(plan.pieces, jax.eval_shape(see, carry))
        carry, losses, seen = jax.lax.fori_loop(0, pieces, piece, (carry, losses, seen))
        return carry, (seen, losses)

    return jax.jit(chunk, donate_argnums=0)


def _room(many: int, each):
    def empty(one):
        zeros = jnp.zeros((many, *one.shape), one.dtype)
        if one.sharding is None:
            return zeros
        return reshard(zeros, one.sharding.update(spec=PartitionSpec(None, *one.sharding.spec)))  # of explicit axes

    return jax.tree.map(empty, each)
