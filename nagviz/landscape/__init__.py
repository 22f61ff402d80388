"""Where it moves: planes and lines in parameter space, and a loss on them."""

from nagviz.landscape.directions import pca_plane
from nagviz.landscape.plane import Plane, Projection, embed, gram, project
from nagviz.landscape.slicing import Slice, evaluate
from nagviz.landscape.storage import load_slice, load_trajectory, save_slice, save_trajectory
from nagviz.landscape.trajectory import Trajectory, stack_snapshots

__all__ = [
    "Plane",
    "Projection",
    "Slice",
    "Trajectory",
    "embed",
    "evaluate",
    "gram",
    "load_slice",
    "load_trajectory",
    "pca_plane",
    "project",
    "save_slice",
    "save_trajectory",
    "stack_snapshots",
]
