"""Eigenvalues of the Hessian along training, under the curvature that each method can bear.

>>> import numpy as np
>>> steps = np.arange(50)
>>> record = Spectrum(steps, np.stack([40 - 20 * 0.9**steps, 10 + 0 * steps], axis=1), 40.0 + 0 * steps)
>>> figure = spectrum({"SGD": record})
>>> figure.axes[0].get_ylabel()
'Hessian eigenvalue'
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nagviz.figures import style
from nagviz.figures.key import draw_key, wrapped
from nagviz.figures.lines import draw_curve, settle_values
from nagviz.figures.style import Figure, Look

SHAPE = 0.85  # height to width of a panel's axes
LIMIT = {"color": style.INK, "linewidth": 1.5 * style.FRAME_WIDTH, "linestyle": "-", "zorder": 200}
FAINT, THIN = 0.55, 0.6  # of the eigenvalues below the largest: opacity, and width
QUANTITY = "Hessian eigenvalue"
BELOW = "the eigenvalues below the largest"


class Spectrum(NamedTuple):
    """What one optimizer met on its way."""

    steps: np.ndarray  # (T,) increasing
    values: np.ndarray  # (T, count), the largest first
    limit: np.ndarray | None = None  # (T,) the eigenvalue above which the method is unstable; None where none is known


def draw_spectrum(ax: Axes, record: Spectrum, look: Look, label: str | None = None) -> list[Line2D]:
    """The eigenvalues as curves, the largest in full, and the limit as a line whose last number is the title.

    Args:
        ax: the axes.
        record: numbers.
        look: colour, dash, marker.
        label: name of the largest.

    Raises:
        ValueError: shapes that do not go together.
    """
    steps, values = np.asarray(record.steps), np.asarray(record.values, np.float64)
    if (
        values.ndim != 2
        or values.shape[0] != len(steps)
        or (record.limit is not None and np.shape(record.limit) != steps.shape)
    ):
        raise ValueError(
            f"steps has shape {steps.shape}, values {values.shape} and limit {np.shape(record.limit)}: "
            "give (T,), (T, count) and (T,) or None"
        )
    below = look._replace(marker="", width=look.width * THIN)
    lines = [draw_curve(ax, steps, values[:, 0], look, label)]
    lines += [draw_curve(ax, steps, column, below) for column in values[:, 1:].T]
    for line in lines[1:]:
        line.set_alpha(FAINT)
    if record.limit is not None:
        lines += _draw_limit(ax, steps, np.asarray(record.limit, np.float64))
    return lines


def _draw_limit(ax: Axes, steps: np.ndarray, limit: np.ndarray) -> list[Line2D]:
    known = np.where(np.isfinite(limit), limit, np.nan)
    if np.isfinite(known[-1]):  # over the panel, since around the line there are curves
        ax.set_title(f"unstable above {known[-1]:.3g}", fontsize=style.SMALL)
    return ax.plot(steps, known, **LIMIT)


def spectrum(
    records: Mapping[str, Spectrum],
    *,
    width: float = style.PAGE,
    note: str | None = None,
    looks: Mapping[str, Look] | None = None,
) -> Figure:
    """A panel for each optimizer, three in a row, on one scale of eigenvalues.

    Args:
        records: by name.
        width: inches.
        note: a line of small text under the key.
        looks: `looks(names)` of the whole run.

    Raises:
        ValueError: no record.
    """
    if not records:
        raise ValueError("records is empty: give at least one {name: Spectrum(steps, values, limit)}")
    table = style.resolve(records, looks)
    columns = style.columns_of(len(records), width)
    rows = -(-len(records) // columns)
    with style.context():
        figure = Figure(figsize=(width, rows * (SHAPE * (width / columns - 0.3) + 0.4)))
        grid = figure.add_gridspec(rows, columns)
        axes: list[Axes] = []
        for cell, (name, record) in zip(grid, records.items(), strict=False):
            axes.append(figure.add_subplot(cell, sharey=axes[0] if axes else None))
            _draw_panel(axes[-1], record, table[name], name, width / columns - 0.3)
        for i, ax in enumerate(axes):
            ax.set(xlabel="" if i + columns < len(axes) else "step", ylabel="" if i % columns else QUANTITY)
            ax.tick_params(labelleft=i % columns == 0)
        entries = {name: Line2D([], [], **style.curve(look)) for name, look in table.items()}
        hints = {}
        if any(np.shape(record.values)[1] > 1 for record in records.values()):
            faint = style.NEUTRAL._replace(marker="", width=THIN * style.NEUTRAL.width)
            hints[BELOW] = Line2D([], [], alpha=FAINT, **style.curve(faint))
        if any(record.limit is not None for record in records.values()):
            hints["stability limit"] = Line2D([], [], **LIMIT)
        draw_key(figure, entries, hints=hints, note=note)
    return figure


def _draw_panel(ax: Axes, record: Spectrum, look: Look, name: str, across: float) -> None:
    draw_spectrum(ax, record, look, name)
    said = ": ".join(filter(None, (name, ax.get_title())))
    ax.set_title(wrapped(said, across, style.SMALL), fontsize=style.SMALL, parse_math=False)
    settle_values(ax, [record.values, () if record.limit is None else record.limit])
    ax.margins(x=0.02)
    ax.grid(axis="y", **style.GRID)
    ax.spines[["top", "right"]].set_visible(False)
