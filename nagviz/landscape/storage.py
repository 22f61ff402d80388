"""What is kept: slices, paths and planes, as open files and as NumPy arrays.

Each is a folder in zarr v3 that xarray opens, `xarray.open_zarr("slice.zarr")`, with named dimensions, coordinates and
attributes; see `arrays.py` for what it looks like inside. A leaf of parameters is an array of its own, whose attribute
`path` holds the keys that lead to it. Nothing is pickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nagviz.landscape import arrays as disk
from nagviz.landscape.arrays import Group, Named, named
from nagviz.landscape.parameters import Params, leaf_keys, require_here
from nagviz.landscape.peers import ALONE, Team
from nagviz.landscape.plane import Plane
from nagviz.landscape.shards import sharers, to_write
from nagviz.landscape.slicing import Slice
from nagviz.landscape.trajectory import Trajectory

Record = Slice | Trajectory | Plane


def save_slice(file: Path, cut: Slice) -> None:
    """Write a slice as a zarr v3 group, whole or not at all.

    Args:
        file: a folder to be made; a slice, path or plane that stands there is replaced.
        cut: the slice.

    Raises:
        FileExistsError: something else stands there.

    Example:
        >>> import tempfile, nagviz as nv
        >>> file = Path(tempfile.mkdtemp()) / "slice.zarr"
        >>> nv.save_slice(file, nv.Slice(np.arange(3.0), None, np.array([1.0, 0.0, np.inf])))
        >>> nv.load_slice(file).values
        array([ 1.,  0., inf])
    """
    require_here("cut", cut, "give jax.device_put(it, NamedSharding(mesh, PartitionSpec()))")
    disk.write(file, _pack_slice(cut))


def load_slice(file: Path) -> Slice:
    """Read a slice that `save_slice` wrote.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: what is there is no slice, or is damaged.
    """
    with telling(file):
        return _unpack_slice(disk.read(file, "slice"))


def save_trajectory(file: Path, trajectory: Trajectory, **facts: float) -> None:
    """Write a path and facts about it as a zarr v3 group, whole or not at all; see `save_slice` and `save_plane`."""
    team = sharers(jax.tree.leaves(trajectory.params))
    disk.write(file, _pack_trajectory(trajectory, facts, team), team)


def load_trajectory(
    file: Path, like: Params | None = None, *, point: str = "params"
) -> tuple[Trajectory, dict[str, Any] | None]:
    """Read a path and the facts that were saved with it.

    Args:
        file: what `save_trajectory` wrote, or what a recorder writes or has written; it need not be finished.
        like: parameters whose structure the path takes; nested dicts if left out.
        point: what was recorded beside the parameters, by its name: "lookahead", say.

    Returns:
        The path, and the facts: None as long as it is being recorded, or where that was broken off.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: what is there is no path, is damaged, or is not over such parameters (the first differing
            leaf is named).
    """
    with telling(file):
        group = disk.read(file, "trajectory", part=point)
        return _unpack_trajectory(group, like, point), group.attributes["facts"]


def open_trajectory(file: Path, like: Params | None = None, *, point: str = "params") -> Trajectory:
    """A path whose leaves stay on disk, for `project` and `pca_plane`.

    These read as many columns at a time as a chunk has; of split parameters each process reads its part alone.

    Args and errors are those of `load_trajectory`.
    """
    with telling(file):
        group = disk.read(file, "trajectory", part=point, lazy=True)
        return _unpack_trajectory(group, like, point)


def save_plane(file: Path, plane: Plane) -> None:
    """Write a plane as a zarr v3 group, whole or not at all; see `save_slice`.

    One that is split over several processes all of these write together, each the parts that it has, to one folder.
    """
    team = sharers(jax.tree.leaves(plane))
    disk.write(file, _pack_plane(plane, team), team)


def load_plane(file: Path, like: Params | None = None) -> Plane:
    """Read a plane that `save_plane` wrote, whole; arguments and errors are those of `load_trajectory`."""
    with telling(file):
        return _unpack_plane(disk.read(file, "plane"), like)


@contextmanager
def telling(file: Path) -> Iterator[None]:
    """A group that lacks what it should have, or has more, says which file it is."""
    try:
        yield
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged, or was written by another nagviz: {error!r}") from error


def to_numpy(record: Record) -> dict[str, np.ndarray]:
    """A slice, a path or a plane as named NumPy arrays, such as `numpy.savez` takes.

    What is no array stands as JSON in a string, under "attributes".

    Example:
        >>> import nagviz as nv
        >>> line = nv.Plane({"w": np.zeros(2)}, ({"w": np.array([1.0, 2.0])},), ("direction",))
        >>> held = nv.to_numpy(line)
        >>> sorted(held), held["axes.w"]
        (['attributes', 'axes.w', 'origin.w'], array([[1., 2.]]))
        >>> nv.from_numpy(held).labels
        ('direction',)
    """
    require_here(
        "record", record, "save it by save_plane or save_trajectory, and give what load_plane or load_trajectory reads"
    )
    group = _PACK[type(record)](record if isinstance(record, Slice) else jax.tree.map(np.asarray, record))
    about = {name: [array.dimensions, array.attributes] for name, array in group.arrays.items()}
    text = json.dumps(disk.plain({"kind": group.kind, "attributes": group.attributes, "arrays": about}))
    return {name: array.data for name, array in group.arrays.items()} | {"attributes": np.array(text)}


def from_numpy(held: Mapping[str, np.ndarray], like: Params | None = None) -> Record:
    """The record that `to_numpy` took apart, from its arrays or from the `.npz` that holds them.

    Args:
        held: the arrays by name.
        like: parameters whose structure a path or a plane takes; nested dicts if left out.

    Raises:
        ValueError: arrays that are not such a record's.
    """
    try:
        about = disk.restored(json.loads(str(held["attributes"])))
        arrays = {
            name: Named(_typed(held[name], facts), dims, facts) for name, (dims, facts) in about["arrays"].items()
        }
        group = Group(about["kind"], arrays, about["attributes"])
        unpack = _UNPACK[group.kind]
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"held must be the arrays of a record by name, as to_numpy gives them; {error!r}") from error
    return unpack(group, like)


def _typed(array: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    return array.astype(jax.numpy.dtype(facts["dtype"])) if "dtype" in facts else array


def _pack_slice(cut: Slice) -> Group:
    """Fields that are arrays, or dicts of arrays, by name; all others as attributes."""
    packed, attributes = {}, {}
    names = dict(zip(("x", "y"), cut.labels, strict=False))
    grid = ("x",) if cut.y is None else ("y", "x")
    for name, field in cut._asdict().items():
        if name in ("x", "y") and field is not None:
            packed[name] = named(field, (name,), long_name=names.get(name, name))
        elif isinstance(field, np.ndarray | jax.Array):
            packed[name] = _on_grid(grid, field, cut.quantity if name == "values" else name)
        elif isinstance(field, Mapping) and any(isinstance(item, np.ndarray | jax.Array) for item in field.values()):
            packed |= {f"{name}.{_node(key)}": _on_grid(grid, item, key, key=key) for key, item in field.items()}
        elif field is not None and not hasattr(field, "_asdict"):  # a record of how it was made is not what it is
            attributes[name] = field
    return Group("slice", packed, attributes)


def _on_grid(grid: tuple[str, ...], field: Any, about: str, **attributes: Any) -> Named:
    more = tuple(f"component_{i}" for i in range(np.ndim(field) - len(grid)))
    return named(field, (*grid, *more), long_name=about, **attributes)


def _unpack_slice(group: Group, like: None = None) -> Slice:
    del like
    found: dict[str, Any] = dict(group.attributes)
    for name, array in group.arrays.items():
        if "key" in array.attributes:
            found.setdefault(name.split(".")[0], {})[array.attributes["key"]] = array.data
        else:
            found[name] = array.data
    return Slice(**{"y": None} | found)


def _pack_trajectory(trajectory: Trajectory, facts: Mapping[str, float] | None = None, team: Team = ALONE) -> Group:
    steps = named(trajectory.steps, ("step",), long_name="step")
    leaves = leaf_arrays("params", jax.tree.map(partial(_as_it_is, team), trajectory.params), "step")
    return Group("trajectory", {"step": steps, **leaves}, {"facts": facts or {}})


def _unpack_trajectory(group: Group, like: Params | None = None, point: str = "params") -> Trajectory:
    return Trajectory(np.asarray(group.arrays["step"].data), tree_of(point, group, like, stacked=True))


_PLANE_FACTS = tuple(field.name for field in fields(Plane) if field.name not in ("origin", "axes"))


def _pack_plane(plane: Plane, team: Team = ALONE) -> Group:
    stacked = jax.tree.map(
        lambda *leaves: to_write(team, leaves, np.shape(leaves[0]), lambda *parts: np.stack(parts)), *plane.axes
    )
    origin = jax.tree.map(partial(_as_it_is, team), plane.origin)
    packed = leaf_arrays("origin", origin) | leaf_arrays("axes", stacked, "axis")
    return Group("plane", packed, {name: getattr(plane, name) for name in _PLANE_FACTS})


def _unpack_plane(group: Group, like: Params | None = None) -> Plane:
    stacked, structure = jax.tree.flatten(tree_of("axes", group, like, stacked=True))
    axes = tuple(jax.tree.unflatten(structure, leaves) for leaves in zip(*stacked, strict=True))
    return Plane(tree_of("origin", group, like), axes, **group.attributes)


def _as_it_is(team: Team, leaf: Any) -> Any:
    return to_write(team, [leaf], np.shape(leaf), np.asarray)


_PACK = {Slice: _pack_slice, Trajectory: _pack_trajectory, Plane: _pack_plane}
_UNPACK = {"slice": _unpack_slice, "trajectory": _unpack_trajectory, "plane": _unpack_plane}


def _node(key: Any) -> str:
    """A key as a part of a file's name."""
    return re.sub(r"[^\w-]", "_", str(key))


def leaf_arrays(prefix: str, tree: Params, *lead: str) -> dict[str, Named]:
    """Each leaf as an array named by its keys, which may be changed for a file's name; its path is exact."""
    packed: dict[str, Named] = {}
    for keys, leaf in zip(leaf_keys(tree), jax.tree.leaves(tree), strict=True):
        name = ".".join(map(_node, (prefix, *keys)))
        while name in packed:
            name += "_"
        inner = tuple(f"{name.removeprefix(f'{prefix}.')}_{i}" for i in range(np.ndim(leaf) - len(lead)))
        packed[name] = named(leaf, (*lead, *inner), path=list(keys))
    return packed


def tree_of(prefix: str, group: Group, like: Params | None, *, stacked: bool = False) -> Params:
    """The tree whose leaves `leaf_arrays` named, like another or as nested dicts; stacked ones have an axis more."""
    held = {
        tuple(array.attributes["path"]): array.data
        for name, array in group.arrays.items()
        if name.split(".")[0] == prefix
    }
    if like is None:
        return _nested(held)
    wanted = leaf_keys(like)
    for keys, leaf in zip(wanted, jax.tree.leaves(like), strict=True):
        shape = held[keys].shape[stacked:] if keys in held else None
        if shape != np.shape(leaf):
            found = "nothing" if shape is None else f"the shape {shape}"
            raise ValueError(
                f"like{list(keys)} has the shape {np.shape(leaf)}, but {found} was saved; give its own tree"
            )
    if odd := [keys for keys in held if keys not in wanted]:
        raise ValueError(f"like must be a tree like the one that was saved, which has {list(odd[0])} too")
    return jax.tree.unflatten(jax.tree.structure(like), [held[keys] for keys in wanted])


def _nested(held: dict[tuple, Any]) -> Params:
    tree: dict[Any, Any] = {}
    for keys, leaf in held.items():
        if not keys:
            return leaf
        branch = tree
        for key in keys[:-1]:
            branch = branch.setdefault(key, {})
        branch[keys[-1]] = leaf
    return tree
