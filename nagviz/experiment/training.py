"""Training in compiled chunks: a scan over snapshots around a scan over steps, nothing read in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import optax


class Batches(NamedTuple):
    """Samples on the device, and the order in which they are drawn."""

    samples: Any  # a tree of arrays, one leading axis for the samples
    size: int  # of a batch
    seed: int

    def indices(self, start: int, stop: int) -> np.ndarray:
        """The samples of steps start to stop, (steps, size): each epoch a new order, its rest left out."""
        count = len(jax.tree.leaves(self.samples)[0])
        per_epoch = count // self.size
        orders = {
            epoch: np.random.default_rng((self.seed, epoch)).permutation(count)
            for epoch in range(start // per_epoch, -(-stop // per_epoch))
        }
        rows = (orders[step // per_epoch][step % per_epoch * self.size :][: self.size] for step in range(start, stop))
        return np.stack(list(rows)).astype(np.int32)


class Chunk(NamedTuple):
    """What a chunk of training left behind."""

    steps: np.ndarray  # (snapshots,): steps done at each snapshot
    params: Any  # what was observed there, each leaf (snapshots, *its shape)
    losses: np.ndarray  # (steps of the chunk,): the loss of each step's batch at the look-ahead point
    seconds: float  # without compilation


def train(
    loss: Callable[..., jax.Array],
    params: Any,
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    every: int,
    batches: Batches | None = None,
    observe: Callable[[optax.OptState, Any], Any] = lambda state, params: params,
) -> Iterator[Chunk]:
    """Train, and yield snapshots of what is observed, a tenth of the run at a time.

    Args:
        loss: `loss(params)`, or `loss(params, batch)` with batches.
        params: the start; kept, not donated.
        optimizer: any Optax optimizer.
        steps: how many.
        every: steps between snapshots; divides `steps`.
        batches: the samples; the same steps draw the same ones for every optimizer.
        observe: what to keep of a state and parameters, such as `nagviz.iterate`.

    Yields:
        Chunks whose snapshots follow on one another; the start itself is not among them.

    Raises:
        ValueError: `every` does not divide `steps`.
    """
    if steps % every:
        raise ValueError(f"every must divide steps = {steps}, got {every}")
    snapshots = _chunk_length(steps // every)
    run = _chunk_function(loss, optax.with_extra_args_support(optimizer), observe)
    # A copy, since the buffers are donated and the start is the caller's.
    carry = jax.jit(lambda p: (p, optimizer.init(p)))(params)
    compiled = run.lower(carry, *_drawn(batches, 0, snapshots, every)).compile()
    for start in range(0, steps, snapshots * every):
        clock = time.perf_counter()
        drawn = _drawn(batches, start, snapshots, every)
        carry, (observed, losses) = compiled(carry, *drawn)
        observed, losses = jax.device_get((observed, losses))
        seconds = time.perf_counter() - clock
        done = start + every * np.arange(1, snapshots + 1)
        yield Chunk(done, observed, losses.ravel(), seconds)


def _chunk_length(snapshots: int) -> int:
    """The largest divisor that makes ten chunks or more, so that one compiled chunk serves the run."""
    return max(n for n in range(1, -(-snapshots // 10) + 1) if snapshots % n == 0)


def _drawn(batches, start, snapshots, every):
    """The samples, and which of them each step of a chunk draws; without batches, only the count."""
    if batches is None:
        return None, np.zeros((snapshots, every, 0), np.int32)
    indices = batches.indices(start, start + snapshots * every)
    return batches.samples, indices.reshape(snapshots, every, -1)


def _chunk_function(loss, optimizer, observe):
    def step(carry, samples, drawn):
        params, state = carry
        batch = jax.tree.map(lambda leaf: leaf[drawn], samples)
        of = (lambda p: loss(p)) if samples is None else (lambda p: loss(p, batch))
        value, gradient = jax.value_and_grad(of)(params)
        updates, state = optimizer.update(gradient, state, params, value=value)
        return (optax.apply_updates(params, updates), state), value

    def chunk(carry, samples, drawn):
        def to_snapshot(carry, rows):
            carry, losses = jax.lax.scan(lambda c, row: step(c, samples, row), carry, rows)
            return carry, (observe(carry[1], carry[0]), losses)

        return jax.lax.scan(to_snapshot, carry, drawn)

    return jax.jit(chunk, donate_argnums=0)
