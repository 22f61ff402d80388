"""Where it moves: planes and lines in parameter space, and a loss on them."""

from nagviz.landscape.directions import pca_plane, points_plane, step_plane
from nagviz.landscape.filters import filter_normalised, layer_normalised, random_line, random_plane
from nagviz.landscape.plane import Plane, Projection, embed, gram, project
from nagviz.landscape.slicing import Slice, evaluate
from nagviz.landscape.spectrum import hessian_plane
from nagviz.landscape.storage import load_slice, load_trajectory, save_slice, save_trajectory
from nagviz.landscape.trajectory import Trajectory, stack_snapshots

__all__ = [
    "Plane",
    "Projection",
    "Slice",
    "Trajectory",
    "embed",
    "evaluate",
    "filter_normalised",
    "gram",
    "hessian_plane",
    "layer_normalised",
    "load_slice",
    "load_trajectory",
    "pca_plane",
    "points_plane",
    "project",
    "random_line",
    "random_plane",
    "save_slice",
    "save_trajectory",
    "stack_snapshots",
    "step_plane",
]
