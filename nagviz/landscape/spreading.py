"""Points over devices and processes: each device goes through its own share, and none waits for another.

A point needs nothing of any other, so a mesh is a set of workers. Along the mesh's one axis, or along that named "grid"
of several, points are spread; the devices along the other axes are one worker and hold one model together, split as the
parameters are. Every process spreads its share of the points over its own workers, and the processes meet once a
round, when the values are gathered. A worker may lie in several processes, which then go through the same points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nagviz.landscape.peers import ALONE, Team, everyone, meeting, of_all
from nagviz.landscape.shards import window_of


class Place(NamedTuple):
    """Devices that run one program."""

    mesh: Mesh
    together: bool  # they hold one model together; otherwise each has all of it and a share of the points

    @property
    def workers(self) -> int:
        """How many points are worked at, at a time."""
        return 1 if self.together else self.mesh.size

    @property
    def spans(self) -> bool:
        """Whether some of the devices are those of another process."""
        return any(device.process_index != jax.process_index() for device in self.mesh.devices.flat)

    def run(self, program: Callable[..., Any], *given: Any) -> Any:
        """Results of a program; over processes of CPUs, one is done before the next begins.

        Those of GPUs and TPUs run in the order in which they are given; those of CPUs run at once, and were seen to
        take what is said in one for what is said in the other.
        """
        if not self.spans:
            return program(*given)
        in_turn = self.mesh.devices.flat[0].platform == "cpu"
        with meeting():
            return jax.block_until_ready(program(*given)) if in_turn else program(*given)


def require_mesh(mesh: Any) -> None:
    """Refuse what points cannot be spread over.

    Raises:
        ValueError: no mesh; several axes of which none is the points'; one that leaves out a process; workers whose
            processes are partly those of other workers.
    """
    if mesh is None:
        return
    if not isinstance(mesh, Mesh):
        raise ValueError(f"mesh must be a jax.sharding.Mesh, as of jax.make_mesh, or None, got {type(mesh).__name__}")
    if not mesh.axis_names or (len(mesh.axis_names) > 1 and AxisType.Manual in mesh.axis_types):
        raise ValueError(
            f"mesh must have one axis, or several, auto or explicit, got {dict(mesh.shape)} of {mesh.axis_types}; "
            "give jax.make_mesh((jax.device_count(),), ('grid',))"
        )
    if len(mesh.axis_names) > 1 and "grid" not in mesh.axis_names:
        raise ValueError(
            f"mesh must have one axis, or name that over which points are spread 'grid', got axes {mesh.axis_names}; "
            "give jax.make_mesh(mesh.devices.shape, ('grid', 'model'), axis_types=mesh.axis_types)"
        )
    processes = {device.process_index for device in mesh.devices.flat}
    if processes != set(range(jax.process_count())):
        raise ValueError(
            f"mesh must hold a device of each of the {jax.process_count()} processes, got those of {sorted(processes)}"
        )
    crews = _crews(mesh)
    for members in _members(mesh):
        if len({crews[process] for process in members}) > 1:
            raise ValueError(
                f"mesh has a model in the processes {sorted(members)}, of which one has a part of another model as "
                "well; order its devices so that processes have all their models in common, or none"
            )


def _workers(mesh: Mesh) -> np.ndarray:
    """The devices as (workers, ...)."""
    return np.moveaxis(mesh.devices, _points_axis(mesh), 0)


def _points_axis(mesh: Mesh) -> int:
    return mesh.axis_names.index("grid") if len(mesh.axis_names) > 1 else 0


def _members(mesh: Mesh) -> list[frozenset[int]]:
    """The processes of each worker."""
    return [frozenset(device.process_index for device in np.ravel(worker)) for worker in _workers(mesh)]


def _crews(mesh: Mesh) -> dict[int, tuple[int, ...]]:
    """The workers of each process."""
    members = _members(mesh)
    return {p: tuple(n for n, some in enumerate(members) if p in some) for p in sorted(frozenset().union(*members))}


def team_of_mesh(mesh: Mesh | None) -> Team:
    """The processes that evaluate together."""
    return ALONE if mesh is None else everyone()


def workers_of(mesh: Mesh | None) -> int:
    """How many points all devices work at, at a time."""
    return 1 if mesh is None else len(_workers(mesh))


def places_of(mesh: Mesh | None) -> list[Place]:
    """Where this process evaluates."""
    if mesh is None:
        return []
    own = [worker for n, worker in enumerate(_workers(mesh)) if n in _crews(mesh)[jax.process_index()]]
    if len(mesh.axis_names) == 1:
        return [Place(Mesh(np.array(own), ("grid",)), together=False)]
    axis = _points_axis(mesh)
    meshes = [Mesh(np.expand_dims(part, axis), mesh.axis_names, axis_types=mesh.axis_types) for part in own]
    return [Place(part, together=True) for part in meshes]


def within(place: Place | None):
    """The context in which functions are traced: names of axes are those of the mesh."""
    return jax.set_mesh(place.mesh) if place and place.together else nullcontext()


@contextmanager
def apart() -> Iterator[None]:
    """On no mesh but what is named in here: where `jax.set_mesh` has set one, jax would use all of it for anything."""
    with jax.set_mesh(Mesh(np.empty((), object), ())):
        yield


def settled(tree: Any, place: Place | None, like: Any = None, name: str = "") -> Any:
    """The same arrays on the devices of a place, each split as it was, or as its like is, but for the points' axis.

    Raises:
        ValueError: an array is split over an axis that the mesh has not, or unevenly, or cannot be had from another
            process.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    likes = [leaf for _, leaf in leaves] if like is None else jax.tree.leaves(like)
    put = partial(_joint, place.mesh) if place and place.together else _single
    placed = [
        put(leaf, other, name + jax.tree_util.keystr(path)) for (path, leaf), other in zip(leaves, likes, strict=True)
    ]
    return jax.tree.unflatten(structure, placed)


def _single(leaf: Any, like: Any, name: str) -> jax.Array:
    """On one device, from which it is copied to the others."""
    del like
    if not isinstance(leaf, jax.Array) or len(leaf.sharding.device_set) == 1:
        return jax.device_put(leaf)
    if not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        raise ValueError(
            f"{name} is split over processes, so that no device has all of it: give a mesh with an axis 'grid' for the "
            "points and others for what is split, as jax.make_mesh((1, n), ('grid', 'model'), axis_types=...)"
        )
    return jnp.asarray(np.asarray(leaf))


def _joint(mesh: Mesh, leaf: Any, like: Any, name: str) -> jax.Array:
    """Over all devices."""
    if not isinstance(leaf, jax.Array):
        leaf = np.asarray(leaf)
        leaf = leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype), copy=False)
    sharding = NamedSharding(mesh, _kept(like, mesh, leaf.shape, name))
    wanted = sharding.addressable_devices_indices_map(leaf.shape)
    wanted = {device: window_of(index, leaf.shape) for device, index in wanted.items()}
    if isinstance(leaf, jax.Array):
        held = {shard.device: shard.data for shard in leaf.addressable_shards}
        there = {shard.device: window_of(shard.index, leaf.shape) for shard in leaf.addressable_shards}
        if all(there.get(device) == window for device, window in wanted.items()):
            parts = [held[device] for device in wanted]
            return jax.make_array_from_single_device_arrays(leaf.shape, sharding, parts)
        if leaf.is_fully_addressable and sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        if not leaf.is_fully_replicated:
            raise ValueError(
                f"{name} is not where mesh needs it, and parts of it are in other processes: put it there before, by "
                f"jax.device_put({name}, jax.sharding.NamedSharding(mesh, {sharding.spec}))"
            )
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _kept(like: Any, mesh: Mesh, shape: tuple[int, ...], name: str) -> PartitionSpec:
    """How an array is split, without the axis of the points."""
    given = getattr(like, "sharding", None)
    entries = given.spec if isinstance(given, NamedSharding) else ()
    own, kept = mesh.axis_names[_points_axis(mesh)], []
    for size, entry in zip(shape, entries, strict=False):
        names = [axis for axis in (entry if isinstance(entry, tuple) else (entry,)) if axis not in (None, own)]
        if odd := [axis for axis in names if axis not in mesh.axis_names]:
            raise ValueError(
                f"{name} is split over an axis {odd[0]!r}, which mesh with axes {mesh.axis_names} has not; give a mesh "
                f"with an axis of that name, or put the parameters on this one"
            )
        parts = int(np.prod([mesh.shape[axis] for axis in names]))
        if size % parts:
            raise ValueError(
                f"{name} of shape {shape} cannot be split evenly over {parts} devices along {names}; give a mesh whose "
                f"axes divide {size}"
            )
        kept.append(tuple(names) if len(names) > 1 else (names or [None])[0])
    return PartitionSpec(*kept)


def on_all(place: Place) -> NamedSharding:
    """The same on every device of a place."""
    return NamedSharding(place.mesh, PartitionSpec())


def spread(call, mesh: Mesh):
    """A function of (held, coordinates, fresh), over the devices by the points."""
    several, same = PartitionSpec("grid"), PartitionSpec()
    return jax.shard_map(call, mesh=mesh, in_specs=(same, several, several), out_specs=several, check_vma=False)


def gathered(make, mesh: Mesh, advance: Callable[[int], None], samples: int):
    """A function of coordinates, each process working out its workers' share and all having the whole.

    Args:
        make: of a function that is told of what is done, in points times samples, one of coordinates.
        mesh: over processes.
        advance: told of what all have done: until they meet, as if the others were as far as this process.
        samples: of each point.
    """
    team, crews = team_of_mesh(mesh), _crews(mesh)
    first = {crew: min(p for p, own in crews.items() if own == crew) for crew in crews.values()}  # who tells for all

    seen, told, every, mine = 0, 0, 1, 1  # of a round

    def own_advance(units: int) -> None:
        nonlocal seen, told
        seen += units
        advance(seen * every // mine - told)
        told = seen * every // mine

    tabulate = make(own_advance)

    def whole(coordinates):
        nonlocal seen, told, every, mine
        count = -(-len(coordinates) // workers_of(mesh))
        ends = np.cumsum([count * len(crew) for crew in first])
        shares = {crew: np.arange(end - count * len(crew), end) for crew, end in zip(first, ends, strict=True)}
        own = shares[crews[team.number]]
        seen, told, every, mine = 0, 0, len(coordinates), len(own)
        block = tabulate(coordinates[np.minimum(own, len(coordinates) - 1)])
        blocks = of_all(team, np.resize(block, (max(map(len, shares.values())), *block.shape[1:])))
        advance(len(coordinates) * samples - told)
        parts = [blocks[first[crew]][: len(share)] for crew, share in shares.items()]
        return np.concatenate(parts)[: len(coordinates)]

    return whole
