"""What is seen: landscapes, paths and curves, for print.

Numbers come first and ink last: `loss_levels` and `looks` return numbers, `draw_*` draw on axes and
return artists, and functions named after what is seen (`landscape`, `curves`, `step`, `field`, `surface`) make a
`Figure`. Slices and paths are plain records; this room knows no model and no optimizer.

>>> import io
>>> from typing import NamedTuple
>>> import numpy as np
>>> from nagviz import figures
>>> class Cut(NamedTuple):
...     x: np.ndarray  # (columns,)
...     y: np.ndarray  # (rows,)
...     values: np.ndarray  # (rows, columns)
...     labels: tuple = ("PC 1 (94.1% of path variance)", "PC 2 (4.2% of path variance)")
...     quantity: str = "train cross entropy, 1,437 samples"
>>> x = y = np.linspace(-1, 1, 21)
>>> cut = Cut(x, y, x**2 + 4 * y[:, None] ** 2)
>>> path = np.array([[0.8, 0.6], [0.4, -0.1], [0.0, 0.0]])
>>> figure = figures.landscape(cut, {"NAG": path})
>>> figure.savefig(io.BytesIO(), format="pdf")
"""

from nagviz.figures.anatomy import Anatomy, DrawnStep, Rival, draw_step, step
from nagviz.figures.animation import Animation, animate
from nagviz.figures.arrows import draw_field, draw_streams, field
from nagviz.figures.contour import Contours, draw_bar, draw_contours, draw_values
from nagviz.figures.eigenvalues import Spectrum, draw_spectrum, spectrum
from nagviz.figures.hypertext import About
from nagviz.figures.interactive import surface_html
from nagviz.figures.key import draw_key
from nagviz.figures.levels import loss_levels, round_ticks
from nagviz.figures.lines import curves, draw_band, draw_curve
from nagviz.figures.map import draw_ground, draw_method, family
from nagviz.figures.multiples import compare, one_each
from nagviz.figures.panels import landscape, landscapes, walked
from nagviz.figures.path import DrawnPath, draw_hidden, draw_lookahead, draw_path
from nagviz.figures.relief import Camera, DrawnSurface, draw_surface, surface
from nagviz.figures.sections import Line, cuts, draw_cut, draw_marks
from nagviz.figures.style import COLUMN, LANDSCAPE, PAGE, Figure, Look, about, context, looks
from nagviz.figures.webpage import Page, Scene, page, pages

__all__ = [
    "COLUMN",
    "LANDSCAPE",
    "PAGE",
    "About",
    "Anatomy",
    "Animation",
    "Camera",
    "Contours",
    "DrawnPath",
    "DrawnStep",
    "DrawnSurface",
    "Figure",
    "Line",
    "Look",
    "Page",
    "Rival",
    "Scene",
    "Spectrum",
    "about",
    "animate",
    "compare",
    "context",
    "curves",
    "cuts",
    "draw_band",
    "draw_bar",
    "draw_contours",
    "draw_curve",
    "draw_cut",
    "draw_field",
    "draw_ground",
    "draw_hidden",
    "draw_key",
    "draw_lookahead",
    "draw_marks",
    "draw_method",
    "draw_path",
    "draw_spectrum",
    "draw_step",
    "draw_streams",
    "draw_surface",
    "draw_values",
    "family",
    "field",
    "landscape",
    "landscapes",
    "looks",
    "loss_levels",
    "one_each",
    "page",
    "pages",
    "round_ticks",
    "spectrum",
    "step",
    "surface",
    "surface_html",
    "walked",
]
