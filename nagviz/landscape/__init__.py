"""Where it moves: planes and lines in parameter space, and a loss on them.

From the checkpoints of a training loop of one's own, trees of parameters of any kind, three lines lead to a slice:

    path = nv.stack_snapshots(checkpoints)  # a list, or a generator that loads them one after another
    plane = nv.pca_plane(path)  # or random_plane(checkpoints[-1], 0), hessian_plane, points_plane, step_plane
    cut = nv.evaluate(loss, plane, x, y, batches=batches)  # loss(params, batch), or loss(params) without batches

and one more tells whether it may be believed:

    print(nv.diagnose(cut, nv.project(plane, path), losses=losses))
"""

from nagviz.landscape.diagnosis import Diagnosis, Finding, diagnose, random_walk
from nagviz.landscape.directions import pca_plane, points_plane, step_plane
from nagviz.landscape.filters import filter_normalised, layer_normalised, random_line, random_plane
from nagviz.landscape.plane import Plane, Projection, embed, gram, project
from nagviz.landscape.projections import RecordedProjection, load_projection, open_projection
from nagviz.landscape.recorder import (
    Recorder,
    append_rows,
    bytes_in_words,
    commit_rows,
    expected_bytes,
    finish_recorder,
    open_recorder,
)
from nagviz.landscape.refinement import Refined, interpolate, refine
from nagviz.landscape.slicing import Slice, evaluate
from nagviz.landscape.spectrum import Curvatures, curvatures, hessian_plane
from nagviz.landscape.storage import (
    from_numpy,
    load_plane,
    load_slice,
    load_trajectory,
    open_trajectory,
    save_plane,
    save_slice,
    save_trajectory,
    to_numpy,
)
from nagviz.landscape.sweep import Effort
from nagviz.landscape.trajectory import Trajectory, snapshot_steps, stack_snapshots
from nagviz.landscape.vtk import save_vts

__all__ = [
    "Curvatures",
    "Diagnosis",
    "Effort",
    "Finding",
    "Plane",
    "Projection",
    "RecordedProjection",
    "Recorder",
    "Refined",
    "Slice",
    "Trajectory",
    "append_rows",
    "bytes_in_words",
    "commit_rows",
    "curvatures",
    "diagnose",
    "embed",
    "evaluate",
    "expected_bytes",
    "filter_normalised",
    "finish_recorder",
    "from_numpy",
    "gram",
    "hessian_plane",
    "interpolate",
    "layer_normalised",
    "load_plane",
    "load_projection",
    "load_slice",
    "load_trajectory",
    "open_projection",
    "open_recorder",
    "open_trajectory",
    "pca_plane",
    "points_plane",
    "project",
    "random_line",
    "random_plane",
    "random_walk",
    "refine",
    "save_plane",
    "save_slice",
    "save_trajectory",
    "save_vts",
    "snapshot_steps",
    "stack_snapshots",
    "step_plane",
    "to_numpy",
]
