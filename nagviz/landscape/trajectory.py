"""The path that an optimizer took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from nagviz.landscape.parameters import Params, leaves_like, require_here
from nagviz.landscape.shards import is_split, joined, own_shards


class Trajectory(NamedTuple):
    """Snapshots of the parameters along a path."""

    steps: np.ndarray  # (snapshots,), increasing
    params: Params  # each leaf (snapshots, *its shape)


def last(trajectory: Trajectory) -> Params:
    """The parameters at the end of the path."""
    end = len(trajectory.steps) - 1  # not -1, which an array on disk may not take
    return jax.tree.map(lambda leaf: _row(leaf, end), trajectory.params)


def _row(leaf, number: int):
    """One point of a stacked leaf, split as that is."""
    if not is_split(leaf):
        return np.asarray(leaf[number])
    mesh, spec = leaf.sharding.mesh, leaf.sharding.spec
    parts = {window[1:]: np.asarray(shard.data[number]) for window, shard in own_shards(leaf).items()}
    return joined(leaf.shape[1:], NamedSharding(mesh, PartitionSpec(*spec[1:])), parts)


def stack_snapshots(snapshots: Iterable[Params], steps: Sequence[int] | None = None) -> Trajectory:
    """A path from the parameters that a training loop kept, one tree a snapshot.

    Args:
        snapshots: trees of one structure: a list, or a generator that loads checkpoints one after another.
        steps: the step of each, increasing; by default 0, 1, 2, ...

    Returns:
        The path, in host memory.

    Raises:
        ValueError: no snapshot; one unlike the first (its first differing path is named), or split over processes;
            steps that are not one increasing number for each.

    Example:
        >>> import nagviz as nv
        >>> path = nv.stack_snapshots([{"w": [2.0, 1.0][i] * np.ones(3)} for i in range(2)], steps=[0, 100])
        >>> print(path.steps, path.params["w"].shape)
        [  0 100] (2, 3)
    """
    # A leaf is copied, for a training step may have been given the array to reuse.
    kept = [_copy(f"snapshots[{i}]", snapshot) for i, snapshot in enumerate(snapshots)]
    if not kept:
        raise ValueError("snapshots must hold at least one tree of parameters, got none")
    for i, snapshot in enumerate(kept):
        _, stacked = leaves_like(kept[0], snapshot, f"snapshots[{i}]", "snapshots[0]")
        if stacked is not None:
            raise ValueError(f"snapshots[{i}] must have the shapes of snapshots[0], got one axis more")
    steps = np.arange(len(kept)) if steps is None else np.asarray(steps)
    if steps.shape != (len(kept),) or np.any(np.diff(steps) <= 0):
        raise ValueError(f"steps must be {len(kept)} increasing numbers, one for each snapshot, got {steps.tolist()}")
    return Trajectory(steps, jax.tree.map(lambda *leaves: np.stack(leaves), *kept))


def _copy(name: str, snapshot: Params) -> Params:
    require_here(
        name,
        snapshot,
        "give nv.Trajectory(steps, jax.tree.map(lambda *leaves: jnp.stack(leaves), *snapshots)), which leaves each "
        "process its parts, or record the path by open_recorder",
    )
    return jax.tree.map(lambda leaf: np.array(leaf), snapshot)


def snapshot_steps(steps: int, *, every: int | None = None, count: int | None = None) -> np.ndarray:
    """The steps at which a path is to be kept: 0, the last one, and some between.

    Args:
        steps: of the training.
        every: one in so many; the last one is kept even where it is none of them.
        count: so many in all, at most `steps` + 1, as evenly spaced in their logarithm as whole numbers can be. The
            steps that move most are the first ones.

    Returns:
        Increasing, int64, from 0 to `steps`.

    Raises:
        ValueError: not one of `every` and `count`; numbers that leave no path.

    Example:
        >>> import nagviz as nv
        >>> print(nv.snapshot_steps(100, every=40), nv.snapshot_steps(1000, count=8))
        [  0  40  80 100] [   0    1    3   10   32  100  316 1000]
    """
    if steps < 1 or (every is None) == (count is None):
        raise ValueError(f"give steps >= 1 and one of every and count, got {steps=}, {every=}, {count=}")
    if every is not None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        return np.append(np.arange(0, steps, every), steps)
    if not 2 <= count <= steps + 1:
        raise ValueError(
            f"count must be at least 2, for the start and the end, and at most {steps + 1}, for the start and each of "
            f"the {steps} steps, got {count}"
        )
    rest = count - 1
    if rest == 1:
        return np.array([0, steps])
    if rest == steps:
        return np.arange(count)
    # 1, 2, 3, ... as long as the even spacing would fall between them.
    first = next(k for k in range(1, rest) if k * ((steps / k) ** (1 / (rest - k)) - 1) >= 1)
    spaced = np.floor(np.geomspace(first, steps, rest - first + 1) + 0.5).astype(np.int64)
    return np.concatenate([np.arange(first), spaced])
