"""Training curves: a quantity against the step, one line per optimizer.

>>> import numpy as np
>>> steps = np.arange(100)
>>> figure = curves({"train loss": {"SGD": (steps, 2 * 0.9**steps), "NAG": (steps, 0.8**steps)}})
>>> figure.axes[0].get_yscale(), figure.axes[0].get_ylabel()
('log', 'train loss')
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from nagviz.figures import style
from nagviz.figures.key import draw_key, wrapped
from nagviz.figures.levels import PLAIN, power_text, tick_text
from nagviz.figures.style import Figure, Look

# Steps and values, both (T,); the steps among them at which the method restarted; (T,) the spread around the values.
Series = tuple[Any, ...]

SHAPE = 0.68  # height to width of a panel's axes
MARKS = 8  # markers along a curve
DEEP = 1e4  # ratio of the largest to the smallest value, above which zeros do not keep an axis linear
UNEQUAL = 4  # ratio of the longest to the shortest curve, above which steps are on a logarithmic axis


def draw_curve(ax: Axes, steps: Any, values: Any, look: Look, label: str | None = None) -> Line2D:
    """One curve, as it is: nothing is smoothed, and NaN or infinity leave a gap.

    Args:
        ax: the axes.
        steps: (T,) increasing.
        values: (T,).
        look: colour, dash, marker.
        label: its name in a legend.
    """
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"steps has shape {x.shape} and values {y.shape}: give both as (T,)")
    shown = np.where(np.isfinite(y), y, np.nan)
    (line,) = ax.plot(x, shown, label=label, **style.curve(look))
    line.set(markevery=max(1, -(-x.size // MARKS)), linewidth=look.width * style.CURVE_SCALE)
    return line


def draw_band(ax: Axes, steps: Any, values: Any, spread: Any, look: Look) -> FillBetweenPolyCollection:
    """A band from a spread below a curve to one above it; where it is not finite there is none.

    On a logarithmic axis a band that reaches down to zero goes to the lower edge.

    Args:
        ax: the axes.
        steps: (T,) increasing.
        values: (T,).
        spread: (T,), such as the standard deviation over seeds.
        look: of the curve.
    """
    x, y, off = (np.asarray(column, np.float64) for column in (steps, values, spread))
    if not x.shape == y.shape == off.shape:
        raise ValueError(f"steps has shape {x.shape}, values {y.shape} and spread {off.shape}: give all as (T,)")
    return ax.fill_between(x, y - off, y + off, where=np.isfinite(y) & np.isfinite(off), **style.band(look))


def draw_restarts(ax: Axes, steps: Any, values: Any, restarts: Any, look: Look) -> Line2D:
    """Ticks across a curve where its method forgot the velocity.

    Args:
        ax: the axes.
        steps: (T,) increasing.
        values: (T,).
        restarts: some of the steps.
        look: of the curve.
    """
    at = np.isin(steps, restarts)
    (ticks,) = ax.plot(np.asarray(steps)[at], np.asarray(values)[at], **style.tick(look))
    return ticks


def curves(
    panels: Mapping[str, Mapping[str, Series]],
    *,
    width: float = style.PAGE,
    note: str | None = None,
    looks: Mapping[str, Look] | None = None,
    across: str = "step",
    linear: Collection[str] = (),
) -> Figure:
    """Panels side by side (four stand two by two) under one key.

    The y axis is logarithmic where every finite value is positive and they span over a decade (or some are zero and the
    others span four), unless they are shares that rise, such as accuracies: those are read near one.

    Args:
        panels: by the label of the y axis: by name, (steps, values), or (steps, values, restarts) with the steps
            at which the method forgot its velocity, or (steps, values, restarts, spread) with what a band shows.
        width: inches.
        note: a line of small text under the key.
        looks: `looks(names)` of the whole run.
        across: what stands in place of the step, such as a batch size: positive numbers, drawn by their ratios and
            each with a tick of its own.
        linear: labels whose axis is linear in any case, as that of an angle.
    """
    if not panels:
        raise ValueError("panels is empty: give at least one {label: {name: (steps, values)}}")
    table = style.resolve((name for series in panels.values() for name in series), looks)
    columns = style.columns_of(len(panels), width)
    rows = -(-len(panels) // columns)
    with style.context():
        high = SHAPE * (width / columns - 0.5)
        figure = Figure(figsize=(width, rows * (high + 0.4)))
        grid = figure.add_gridspec(rows, columns)
        for (label, series), cell in zip(panels.items(), grid, strict=False):
            _draw_panel(ax := figure.add_subplot(cell), wrapped(label, high), series, table, across)
            if label not in linear:
                scale_losses([ax], [values for _, values, *_ in series.values()])
        entries = {name: Line2D([], [], **style.curve(look)) for name, look in table.items()}
        restarted = any(
            np.size(marked) for series in panels.values() for _, _, *more in series.values() for marked in more[:1]
        )
        hints = {"restart": Line2D([], [], **style.tick(style.NEUTRAL))} if restarted else None
        draw_key(figure, entries, hints=hints, note=note)
    return figure


def _draw_panel(ax: Axes, label: str, series: Mapping[str, Series], table: Mapping[str, Look], across: str) -> None:
    for name, (steps, values, *more) in series.items():
        draw_curve(ax, steps, values, table[name], name)
        for marked in more[:1]:
            draw_restarts(ax, steps, values, marked, table[name])
        for spread in more[1:]:
            draw_band(ax, steps, values, spread, table[name])
    settle_values(ax, [values for _, values, *_ in series.values()])
    ax.set_xlabel(across, parse_math=False)
    ax.set_ylabel(label, parse_math=False)
    if across == "step":
        scale_steps(ax, [np.max(steps) for steps, *_ in series.values()])
    else:
        _scale_varied(ax, np.unique(np.concatenate([varied for varied, *_ in series.values()])))
    ax.margins(x=0.02)
    ax.grid(axis="y", **style.GRID)
    ax.spines[["top", "right"]].set_visible(False)


class Plain(FuncFormatter):
    """Numbers of an axis in one format: powers of ten all, where one below 0.0001 is among them.

    >>> Plain(tick_text).format_ticks([1e-5, 1e-4, 1e-3])
    ['$10^{-5}$', '$10^{-4}$', '$10^{-3}$']
    >>> Plain(tick_text).format_ticks([1e-4, 1e-3])
    ['0.0001', '0.001']
    """

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The labels."""
        low, high = sorted(self.axis.get_view_interval()) if self.axis else (-np.inf, np.inf)
        is_small = any(0 < abs(value) < PLAIN and low <= value <= high for value in values)
        return [power_text(value) if is_small else tick_text(value) for value in values]


def settle_values(ax: Axes, values: Sequence[Any]) -> None:
    """Plain numbers beside what is drawn, and a word where nothing of it is finite; one step has no others beside it.

    Args:
        ax: the axes, with lines on them.
        values: all that is drawn.
    """
    ax.yaxis.set_major_formatter(Plain(tick_text))
    steps = np.unique(np.concatenate([np.zeros(0), *(np.asarray(line.get_xdata(), np.float64) for line in ax.lines)]))
    if steps.size == 1:
        ax.set_xticks(steps)
    if any(np.isfinite(np.asarray(v, np.float64)).any() for v in values):
        return
    ax.text(0.5, 0.5, "no finite value", transform=ax.transAxes, **style.NOTICE)
    if steps.size > 1:
        ax.set_xlim(steps[0], steps[-1])
    if len(ax.get_shared_y_axes().get_siblings(ax)) == 1:
        ax.set_yticks([])


def scale_steps(ax: Axes, lengths: Sequence[float]) -> None:
    """Steps on a logarithmic axis where the longest curve would leave the shorter ones no room.

    Args:
        ax: the axes.
        lengths: the last step of each curve.
    """
    if max(lengths) > UNEQUAL * max(1, min(lengths)):
        ax.set(xscale="log", xlim=(1, None))
        ax.xaxis.set_major_formatter(FuncFormatter(tick_text))


def _scale_varied(ax: Axes, varied: np.ndarray) -> None:
    """What was varied by its ratios, with a tick at each number."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(varied))
    ax.xaxis.set_major_formatter(FuncFormatter(tick_text))
    ax.xaxis.set_minor_locator(NullLocator())


def log_ratio(values: list[np.ndarray]) -> float:
    """The largest over the smallest value above zero, where a logarithmic axis belongs; 0 elsewhere.

    What falls to zero leaves such an axis at its lower edge; on a linear one the whole way there would be zero.
    """
    known = [v[np.isfinite(v)] for v in values if np.isfinite(v).any()]
    every = np.concatenate([*known, np.empty(0)])
    above = every[every > 0]
    if not above.size or every.min() < 0:
        return 0.0
    ratio = float(above.max() / above.min())
    rises = sum(v[-1] - v[0] for v in known) > 0
    if (rises and every.max() <= 1) or (above.size < every.size and ratio <= DEEP):
        return 0.0
    return ratio


def scale_losses(axes: Sequence[Axes], values: Sequence[np.ndarray]) -> None:
    """One range for the y axes of panels, logarithmic where that belongs.

    Args:
        axes: those that hold the values.
        values: all that is drawn in them.
    """
    ratio = log_ratio([np.asarray(v, np.float64) for v in values])
    for ax in axes:
        if ratio > 10:
            _make_log(ax, ratio)
    for ax in axes[1:]:
        ax.sharey(axes[0])
    for ax in axes[:1]:
        ax.autoscale(axis="y")  # over what all of them hold


def _make_log(ax: Axes, ratio: float) -> None:
    ax.set_yscale("log")
    # over few decades, the decades alone would label one line or two
    subs = (1, 2, 5) if ratio < 100 else (1, 3) if ratio < 1000 else (1,)
    ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=7))
    ax.yaxis.set_major_formatter(Plain(tick_text))
    ax.yaxis.set_minor_formatter(NullFormatter())
