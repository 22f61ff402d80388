"""Small multiples: landscapes under one scale, in which the same loss has the same colour.

>>> from typing import NamedTuple
>>> class Cut(NamedTuple):
...     x: np.ndarray
...     y: np.ndarray
...     values: np.ndarray
...     labels: tuple = ("PC 1", "PC 2")
...     quantity: str = "loss"
>>> x = y = np.linspace(-1, 1, 21)
>>> cut = Cut(x, y, x**2 + 4 * y[:, None] ** 2)
>>> figure = compare(one_each(cut, {"NAG": [[0.8, 0.6], [0.0, 0.0]], "SGD": [[0.8, 0.6], [0.4, 0.1]]}))
>>> [ax.get_title() for ax in figure.axes]
['NAG', 'SGD']
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar

from nagviz.figures import style
from nagviz.figures.contour import beyond
from nagviz.figures.levels import loss_levels
from nagviz.figures.lines import scale_steps
from nagviz.figures.panels import Laid, Panel, Paths, Sheet, draw_scale, highest_start, is_squarish, lay_out
from nagviz.figures.style import Figure, Look

BEYOND = 1.08  # of the last step: where a strip ends


def one_each(cut: Any, paths: Paths) -> dict[str, tuple[Any, Paths]]:
    """Panels for `compare`: one path in each, all on one slice."""
    return {name: (cut, {name: path}) for name, path in paths.items()}


def compare(
    panels: Mapping[str, tuple[Any, Paths]],
    *,
    width: float = style.PAGE,
    levels: Sequence[float] | np.ndarray | None = None,
    note: str | None = None,
    looks: Mapping[str, Look] | None = None,
) -> Figure:
    """Small multiples under one scale: the same loss has the same colour in all of them.

    One optimizer a panel (`one_each`), or before and after: with skip connections and without, two widths, two data
    sets. Panels of one range share their axes; others have each its own, under its own labels. Where they show
    different quantities, each is named above its panel.

    Args:
        panels: by title: a slice and its paths, as for `landscape`.
        width: inches.
        levels: edges of the bands; by default those of `loss_levels` of all slices together, clipped by the starts.
        note: a line of small text under the key.
        looks: `looks(names)` of the whole run.

    Raises:
        ValueError: no panels, or levels that do not increase.
    """
    if not panels:
        raise ValueError("panels is empty: give at least one {title: (slice, paths)}")
    quantities = list(dict.fromkeys(cut.quantity for cut, _ in panels.values()))
    made = _scaled([Panel(_title(t, p[0], quantities), *p, None, is_squarish(p[0])) for t, p in panels.items()], levels)
    named = not all(list(paths) == [title] for title, (_, paths) in panels.items())
    narrowest = style.NARROWEST if _is_one_range(made) else style.ALONE
    sheet = Sheet(style.columns_of(len(made), width, narrowest), width, note, looks, bars=False, named=named)
    bars: list[Colorbar | None] = []
    laid = lay_out(made, sheet, partial(_frame, made, quantities, bars))
    if bars[0] is not None:
        _stretch(bars[0], laid)
    return laid.figure


def _title(title: str, cut: Any, quantities: Sequence[str]) -> str:
    return title if len(quantities) == 1 else f"{title}\n{cut.quantity}"


def _scaled(panels: list[Panel], levels: Sequence[float] | np.ndarray | None) -> list[Panel]:
    """The panels with levels, and what lies beyond them, in common."""
    values = np.concatenate([np.asarray(panel.cut.values, np.float64).ravel() for panel in panels])
    if not np.isfinite(values).any():
        return panels
    starts = [start for panel in panels if (start := highest_start(panel)) is not None]
    edges = loss_levels(values, start=max(starts, default=None)) if levels is None else np.asarray(levels, np.float64)
    return [panel._replace(levels=edges, extend=beyond(values, edges)) for panel in panels]


def _frame(panels: list[Panel], quantities: Sequence[str], bars: list[Colorbar | None], laid: Laid) -> None:
    """One colour bar, right of the first row; labels at the outer axes alone where all show one range."""
    _share_strips([strip for row in laid.rows for _, strip in row if strip is not None and strip.get_visible()])
    if _is_one_range(panels):
        _share(laid)
    ground = next((contours for contours in laid.grounds if contours.norm is not None), laid.grounds[0])
    quantity = quantities[0] if len(quantities) == 1 else "loss as named above"
    whole = sum(len(row) == len(laid.rows[0]) for row in laid.rows)
    up = (
        whole
        * min(np.ptp(p.cut.y) / np.ptp(p.cut.x) for p in panels)
        * (laid.figure.get_figwidth() / len(laid.rows[0]) - 0.7)
    )
    bars.append(draw_scale(laid.rows[0][-1][0], ground, quantity, up))


def _is_one_range(panels: Sequence[Panel]) -> bool:
    return all(_is_alike(panels[0].cut, panel.cut) for panel in panels[1:])


def _is_alike(one: Any, other: Any) -> bool:
    return (
        np.array_equal([one.x[0], one.x[-1], one.y[0], one.y[-1]], [other.x[0], other.x[-1], other.y[0], other.y[-1]])
        and one.labels == other.labels
    )


def _share_strips(strips: Sequence[Axes]) -> None:
    """One range for all strips, with room for the last number beside the colour bar."""
    lengths = [line.get_xdata()[-1] for strip in strips for line in strip.lines]
    for strip in strips:
        scale_steps(strip, lengths)
        strip.set(ylim=(0, max(s.get_ylim()[1] for s in strips)), xlim=(None, BEYOND * max(lengths)))


def _share(laid: Laid) -> None:
    """Labels at the outer axes alone; the numbers stay where another axis stands between."""
    for ax in _axes(pair for row in laid.rows for pair in row[1:]):
        ax.set_ylabel("")
        ax.tick_params(labelleft=False)
    for above, below in pairwise(laid.rows):
        for ax in _axes(above[: len(below)]):
            ax.set_xlabel("")
        for ground, strip in above[: len(below)]:
            ground.tick_params(labelbottom=strip is not None)


def _axes(pairs: Iterable[tuple[Axes, Axes | None]]) -> list[Axes]:
    return [ax for pair in pairs for ax in pair if ax is not None]


def _stretch(bar: Colorbar, laid: Laid) -> None:
    """Make the colour bar as high as all rows that it stands beside, now that they are laid out."""
    whole = [row[-1][0].get_position() for row in laid.rows if len(row) == len(laid.rows[0])]
    place, side = whole[0], style.BAR
    bottom = min(box.y0 for box in whole)
    bar.ax.set_axes_locator(None)
    bar.ax.set_position(
        [place.x0 + side[0] * place.width, bottom, side[2] * place.width, max(box.y1 for box in whole) - bottom]
    )
