"""Points over devices and processes: each device goes through its own share, and none waits for another.

A point needs nothing of any other, so a mesh is a set of workers: every process spreads its share of the points over
its own devices, and the processes meet once a tile, when the values are gathered.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def require_mesh(mesh: Any, store: Any) -> None:
    """Refuse what points cannot be spread over.

    Raises:
        ValueError: no mesh, one of several axes, one that leaves out a process, or a store with several processes.
    """
    if mesh is None:
        return
    if not isinstance(mesh, Mesh):
        raise ValueError(f"mesh must be a jax.sharding.Mesh, as of jax.make_mesh, or None, got {type(mesh).__name__}")
    if len(mesh.axis_names) != 1:
        raise ValueError(f"mesh must have one axis, over which points are spread, got axes {mesh.axis_names}")
    processes = {device.process_index for device in mesh.devices.flat}
    if processes != set(range(jax.process_count())):
        raise ValueError(
            f"mesh must hold a device of each of the {jax.process_count()} processes, got those of {sorted(processes)}"
        )
    if store is not None and len(processes) > 1:
        raise ValueError("store must be left out where a mesh spans several processes")


def own_mesh(mesh: Mesh | None) -> Mesh | None:
    """The devices of this process, as a mesh of its own."""
    if mesh is None:
        return None
    own = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    return Mesh(np.array(own), ("grid",))


def spread(call, mesh: Mesh):
    """A function of (held, coordinates, fresh), over the devices by the points."""
    several, same = PartitionSpec("grid"), PartitionSpec()
    return jax.shard_map(call, mesh=mesh, in_specs=(same, several, several), out_specs=several, check_vma=False)


def replicated(held: Any, mesh: Mesh) -> Any:
    """The same arrays on every device."""
    return jax.device_put(held, NamedSharding(mesh, PartitionSpec()))


def gathered(tabulate, advance):
    """The same function of coordinates, each process working out its share and all having the whole."""
    from jax.experimental import multihost_utils  # of no use to one process

    def whole(coordinates):
        count = -(-len(coordinates) // jax.process_count())
        own = np.arange(count) + count * jax.process_index()
        block = tabulate(coordinates[np.minimum(own, len(coordinates) - 1)])
        # As bytes: float64 would be rounded to float32 where jax is not set to it.
        parts = np.asarray(multihost_utils.process_allgather(np.ascontiguousarray(block).view(np.uint8)))
        advance(len(coordinates))
        return parts.view(np.float64).reshape(-1, *block.shape[1:])[: len(coordinates)]

    return whole
