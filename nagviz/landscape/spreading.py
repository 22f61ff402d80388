"""Points over devices and processes: each device goes through its own share, and none waits for another.

A point needs nothing of any other, so a mesh is a set of workers: every process spreads its share of the points over
its own devices, and the processes meet once a tile, when the values are gathered.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from nagviz.landscape.peers import ALONE, Team, everyone, of_all


def require_mesh(mesh: Any) -> None:
    """Refuse what points cannot be spread over.

    Raises:
        ValueError: no mesh, one of several axes, or one that leaves out a process.
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


def team_of(mesh: Mesh | None) -> Team:
    """The processes that evaluate together."""
    return ALONE if mesh is None else everyone()


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


def gathered(tabulate, mesh: Mesh, advance):
    """The same function of coordinates, each process working out its devices' share and all having the whole."""
    team = team_of(mesh)
    devices = np.bincount([device.process_index for device in mesh.devices.flat], minlength=team.count)

    def whole(coordinates):
        sizes = devices * -(-len(coordinates) // mesh.size)
        starts = np.cumsum(sizes) - sizes
        own = starts[team.number] + np.arange(sizes.max())
        block = tabulate(coordinates[np.minimum(own, len(coordinates) - 1)[: sizes[team.number]]])
        blocks = of_all(team, np.resize(block, (sizes.max(), *block.shape[1:])))
        advance(len(coordinates))
        parts = [part[:size] for part, size in zip(blocks, sizes, strict=True)]
        return np.concatenate(parts)[: len(coordinates)]

    return whole
