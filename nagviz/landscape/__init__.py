"""Where it moves: planes and lines in parameter space, and a loss on them."""

from nagviz.landscape.directions import pca_plane
from nagviz.landscape.plane import Plane, Projection, embed, project
from nagviz.landscape.refinement import Refined, interpolate, refine
from nagviz.landscape.slicing import Slice, evaluate, load_slice, save_slice
from nagviz.landscape.sweep import Effort
from nagviz.landscape.trajectory import Trajectory, load_trajectory, save_trajectory

__all__ = [
    "Effort",
    "Plane",
    "Projection",
    "Refined",
    "Slice",
    "Trajectory",
    "embed",
    "evaluate",
    "interpolate",
    "load_slice",
    "load_trajectory",
    "pca_plane",
    "project",
    "refine",
    "save_slice",
    "save_trajectory",
]
