"""The devices that a command computes on, and what they can share."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from nagviz.experiment.problems import Problem
from nagviz.experiment.report import Refusal

ALL = "all"


def mesh_of(asked: int | str | None) -> Mesh | None:
    """The devices to compute on, as a mesh of one axis; None is one device, which needs none.

    Args:
        asked: how many of each process, or "all"; if left out one, or all where there are several processes.

    Raises:
        Refusal: there are not as many.

    Example:
        >>> mesh_of(None) is mesh_of(1) is None
        True
    """
    processes = jax.process_count()
    own = [[d for d in jax.devices() if d.process_index == number] for number in range(processes)]
    fewest = min(map(len, own))
    count = fewest if asked == ALL or (asked is None and processes > 1) else asked or 1
    if count > fewest:
        raise Refusal(
            f"--devices: must be at most the {fewest} {jax.default_backend()} device(s) that each process has, got "
            f"{count}; XLA_FLAGS=--xla_force_host_platform_device_count={count} makes as many of one CPU"
        )
    if count * processes == 1:
        return None
    return Mesh(np.array([device for some in own for device in some[:count]]), ("grid",), axis_types=(AxisType.Auto,))


def require_shared(problems: Sequence[Problem], mesh: Mesh | None) -> None:
    """Refuse batches that the devices of a mesh cannot share evenly.

    Raises:
        Refusal: it names the size, and those beside it that they can share.
    """
    for problem in problems:
        if mesh is None or problem.batches is None or problem.batches.size % mesh.size == 0:
            continue
        size, count = problem.batches.size, mesh.size
        below = size // count * count
        sizes = " or ".join(str(n) for n in (below, below + count) if n)
        raise Refusal(
            f"training.batch_size: must be a multiple of the {count} devices that share a batch, got {size}; give "
            f"{sizes}, or another number by --devices"
        )
