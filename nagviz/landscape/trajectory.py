"""The path that an optimizer took."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

Params = Any  # a pytree of arrays


class Trajectory(NamedTuple):
    """Snapshots of the parameters along a path."""

    steps: np.ndarray  # (snapshots,), increasing
    params: Params  # each leaf (snapshots, *its shape)


def last(trajectory: Trajectory) -> Params:
    """The parameters at the end of the path."""
    return jax.tree.map(lambda leaf: leaf[-1], trajectory.params)
