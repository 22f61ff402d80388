"""A path recorded by where it lies in a plane, for parameters that are too big to keep at every snapshot.

    path.zarr/params.coordinates/...   (step, axis), with `residual` and `share`, each (step,): see `Projection`
    path.zarr/last.dense.kernel/...    the last parameters, whole, once the recording is finished

The plane must be known before training: random directions through the start (`random_plane`), the plane of an earlier
run, or a `Plane` of as many directions as one likes, of which figures draw the first two. It is not kept here, but told
apart from others by its digest; `save_plane` keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nagviz.landscape import arrays as disk
from nagviz.landscape.arrays import Group
from nagviz.landscape.parameters import Params
from nagviz.landscape.plane import Plane, Projection, explained_by, gram, project
from nagviz.landscape.recorder import LAST, Recorder, begin
from nagviz.landscape.shards import sharers
from nagviz.landscape.storage import telling, tree_of
from nagviz.landscape.tiles import fingerprint

_SEEN = ("coordinates", "residual", "share")


class RecordedProjection(NamedTuple):
    """What was kept of a path."""

    points: dict[str, Projection]  # of "params" and whatever other points were recorded
    rows: dict[str, np.ndarray]  # what else was, by name: (rows, ...)
    last: Params | None  # parameters at the end; None of a path that is not finished
    facts: dict[str, Any] | None  # likewise


def open_projection(
    file: Path, plane: Plane, *, points: Sequence[str] = (), rows: int | None = None, resume: bool = False, **more: Any
) -> Recorder:
    """Begin to record where a path lies in a plane, or go on with it: `open_recorder` for big models.

    `append_rows` takes the same parameters as there, projects them, and keeps of the last ones a copy in memory, which
    `finish_recorder` writes.

    Args:
        file: a folder to be made.
        plane: where the path is looked at. Where it is split over several processes, all of these call this function
            and those that take the recorder in the same way, with rows that are split alike, and see one folder.
        points: names of trees like the parameters that are projected beside them, such as "lookahead".
        rows: how many are expected, if that is known.
        resume: go on where a recording stands there, which must be in that plane.
        **more: what each row holds beside, by name, and is kept as it is: `loss=0.0`.

    Raises:
        FileExistsError: something stands there, and it is not to be gone on with.
        ValueError: no plane (see `gram`), or what stands there is no recording in it of such rows.
        OSError: the folder cannot be written.

    Example:
        >>> import tempfile, nagviz as nv
        >>> file = Path(tempfile.mkdtemp()) / "path.zarr"
        >>> line = nv.Plane(np.zeros(2), (np.array([2.0, 0.0]),))
        >>> recorder = nv.open_projection(file, line, loss=0.0)
        >>> nv.append_rows(recorder, [0, 10], np.array([[4.0, 3.0], [1.0, 0.0]]), loss=[5.0, 1.0])
        2
        >>> nv.finish_recorder(recorder)
        >>> kept = nv.load_projection(file)
        >>> print(kept.points["params"].coordinates[:, 0], kept.points["params"].residual, kept.last)
        [2. 0.5] [3. 0.] [1. 0.]
    """
    metric, team = gram(plane), sharers(jax.tree.leaves(plane))
    seen = {"coordinates": np.zeros(len(plane.axes)), "residual": 0.0, "share": 0.0}
    row = {**dict.fromkeys(("params", *points), seen), **more}
    attributes = {"labels": plane.labels, "plane": fingerprint(origin=plane.origin, axes=plane.axes)}
    attributes["gram"] = metric.tolist()
    recorder = begin(Path(file), "projection", attributes, row, rows=rows, resume=resume, team=team)
    recorder.view = partial(_seen, plane, ("params", *points))
    return recorder


def _seen(plane: Plane, points: Sequence[str], row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with points as they lie in the plane."""
    return {name: _projected(plane, tree) if name in points else tree for name, tree in row.items()}


def _projected(plane: Plane, tree: Params) -> dict[str, np.ndarray]:
    if sharers(jax.tree.leaves(tree)).count > sharers(jax.tree.leaves(plane)).count:
        raise ValueError(
            "plane must be split over processes as the points are that are recorded in it, got one that is whole; give "
            "its origin and its axes their sharding by jax.device_put"
        )
    projection = project(plane, tree)
    return {name: getattr(projection, name) for name in _SEEN}


def load_projection(file: Path, like: Params | None = None) -> RecordedProjection:
    """Read what `open_projection` recorded; it need not be finished.

    Args:
        file: its folder.
        like: parameters whose structure the last ones take; nested dicts if left out.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: what is there is no such recording, is damaged, or is not of such parameters.
    """
    with telling(file):
        group = disk.read(file, "projection")
        names = list(dict.fromkeys(name.split(".")[0] for name in group.arrays if name != "step"))
        steps = group.arrays["step"].data
        trees = {name: tree_of(name, group, None, stacked=True) for name in names if name != LAST}
        points = {name: tree for name, tree in trees.items() if isinstance(tree, dict) and set(tree) == set(_SEEN)}
        return RecordedProjection(
            {name: Projection(**tree, steps=steps, explained=_explained(group, tree)) for name, tree in points.items()},
            {name: tree for name, tree in trees.items() if name not in points},
            tree_of(LAST, group, like) if LAST in names else None,
            group.attributes["facts"],
        )


def _explained(group: Group, seen: Mapping[str, np.ndarray]) -> tuple[float, ...]:
    return explained_by(np.array(group.attributes["gram"]), seen["coordinates"], seen["residual"])
