"""The path that an optimizer took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from nagviz.landscape.parameters import Params, leaves_like


class Trajectory(NamedTuple):
    """Snapshots of the parameters along a path."""

    steps: np.ndarray  # (snapshots,), increasing
    params: Params  # each leaf (snapshots, *its shape)


def last(trajectory: Trajectory) -> Params:
    """The parameters at the end of the path."""
    end = len(trajectory.steps) - 1  # not -1, which an array on disk may not take
    return jax.tree.map(lambda leaf: np.asarray(leaf[end]), trajectory.params)


def stack_snapshots(snapshots: Iterable[Params], steps: Sequence[int] | None = None) -> Trajectory:
    """A path from the parameters that a training loop kept, one tree a snapshot.

    Args:
        snapshots: trees of one structure: a list, or a generator that loads checkpoints one after another.
        steps: the step of each, increasing; by default 0, 1, 2, ...

    Returns:
        The path, in host memory.

    Raises:
        ValueError: no snapshot; one unlike the first (its first differing path is named); steps that are not
            one increasing number for each.

    Example:
        >>> import nagviz as nv
        >>> path = nv.stack_snapshots([{"w": [2.0, 1.0][i] * np.ones(3)} for i in range(2)], steps=[0, 100])
        >>> print(path.steps, path.params["w"].shape)
        [  0 100] (2, 3)
    """
    # A leaf is copied, for a training step may have been given the array to reuse.
    kept = [jax.tree.map(lambda leaf: np.array(leaf), snapshot) for snapshot in snapshots]
    if not kept:
        raise ValueError("snapshots must hold at least one tree of parameters, got none")
    for i, snapshot in enumerate(kept):
        _, stacked = leaves_like(kept[0], snapshot, f"snapshots[{i}]")
        if stacked is not None:
            raise ValueError(f"snapshots[{i}] must have the shapes of snapshots[0], got one axis more")
    steps = np.arange(len(kept)) if steps is None else np.asarray(steps)
    if steps.shape != (len(kept),) or np.any(np.diff(steps) <= 0):
        raise ValueError(f"steps must be {len(kept)} increasing numbers, one for each snapshot, got {steps.tolist()}")
    return Trajectory(steps, jax.tree.map(lambda *leaves: np.stack(leaves), *kept))
