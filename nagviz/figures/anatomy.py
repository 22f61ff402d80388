"""The anatomy of one Nesterov step, in the plane that it lies in.

From the iterate x_t the velocity leads to the look-ahead point y_t; the gradient is taken there, not at x_t, and its
step leads to x_{t+1}. Heavy ball goes as far with the gradient of x_t, gradient descent goes without the velocity.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text

from nagviz.figures import style
from nagviz.figures.contour import draw_contours, draw_values
from nagviz.figures.key import draw_key, resize, wrapped
from nagviz.figures.labels import Label, draw_labels, frame, sampled
from nagviz.figures.style import Figure, Look

MARK = 3.6  # points from the centre of a mark to the arrows that end at it
SEEN = 0.005  # of a length: less out of the plane need not be said


class Rival(NamedTuple):
    """What another method would have done from the same state."""

    start: np.ndarray  # (2,), from where its step is drawn
    end: np.ndarray  # (2,), projected into the plane
    hidden: float = 0.0  # the share of the step's length that stands out of the plane


class Anatomy(NamedTuple):
    """One step, in coordinates of the plane that it lies in. The plane's axes are orthogonal and of one length."""

    cut: Any  # the loss there: `x`, `y`, `values` (rows are y), `labels` and `quantity`
    iterate: np.ndarray  # (2,) x_t
    lookahead: np.ndarray  # (2,) y_t
    next_iterate: np.ndarray  # (2,) x_{t+1}
    next_lookahead: np.ndarray  # (2,) y_{t+1}
    rivals: Mapping[str, Rival]  # by name
    step: int | None = None  # t
    gradient: bool = True  # whether the step is a multiple of the gradient
    residual: float = 0.0  # of the farthest of the four points from the plane, in units of the axes
    losses: Mapping[str, float] = {}  # by name, at the points themselves: those of the rivals are not projected


class DrawnStep(NamedTuple):
    """What `draw_step` has drawn."""

    arrows: dict[str, tuple[Line2D, FancyArrowPatch]]  # "velocity", "step", and by rival
    marks: dict[str, Line2D]  # "x", "y", "next x", and by rival
    labels: list[Text]


class Leg(NamedTuple):
    """An arrow to be drawn."""

    tail: np.ndarray
    head: np.ndarray
    look: Look
    text: str


class Mark(NamedTuple):
    """A point to be drawn."""

    at: np.ndarray
    artist: dict[str, Any]
    text: str
    color: str


def draw_step(ax: Axes, anatomy: Any, looks: Mapping[str, Look] | None = None) -> DrawnStep:
    """The arrows of a step and of its rivals, their points, and a label at each.

    Set the limits of the axes and their place on the page first: labels go where room is left.

    Args:
        ax: the axes, at equal aspect.
        anatomy: a record with the fields of `Anatomy`.
        looks: of "NAG" and the rivals; fresh ones by default.
    """
    table = style.resolve(["NAG", *anatomy.rivals], looks)
    legs, points = _legs(anatomy, table), _points(anatomy, table)
    arrows = {name: _draw_arrow(ax, leg) for name, leg in legs.items()}
    marks = {
        name: ax.plot(*point.at, ls="", zorder=style.ENDS, **point.artist)[0] for name, point in points.items()
    }
    labels = [Label(point.text, point.color, np.asarray(point.at)) for point in points.values()]
    labels += [Label(leg.text, leg.look.color, np.stack([leg.tail, leg.head])) for leg in legs.values()]
    return DrawnStep(arrows, marks, draw_labels(ax, labels, taken(ax, anatomy)))


def taken(ax: Axes, anatomy: Any) -> np.ndarray:
    """Data along all arrows of a step, (n, 2), that no writing should cover."""
    rivals = [(rival.start, rival.end) for rival in anatomy.rivals.values()]
    pairs = [(anatomy.iterate, anatomy.lookahead), (anatomy.lookahead, anatomy.next_iterate), *rivals]
    return np.concatenate([sampled(ax, *pair) for pair in pairs])


def _legs(anatomy: Any, table: Mapping[str, Look]) -> dict[str, Leg]:
    at_x, at_y = (rf"$-\alpha\,\nabla f({at})$" if anatomy.gradient else f"$d({at})$" for at in ("x_t", "y_t"))
    hero = table["NAG"]._replace(width=style.STEP_WIDTH)
    legs = {
        "velocity": Leg(anatomy.iterate, anatomy.lookahead, style.VELOCITY, "momentum $s_t$"),
        "step": Leg(anatomy.lookahead, anatomy.next_iterate, hero, at_y),
    }
    return legs | {name: Leg(r.start, r.end, table[name], at_x) for name, r in anatomy.rivals.items()}


def _points(anatomy: Any, table: Mapping[str, Look]) -> dict[str, Mark]:
    velocity, hero = style.VELOCITY, table["NAG"]
    return {
        "x": Mark(anatomy.iterate, style.start(velocity), "$x_t$", velocity.color),
        "y": Mark(anatomy.lookahead, style.spot(velocity), "look-ahead $y_t$", velocity.color),
        "next x": Mark(anatomy.next_iterate, style.star(hero), "Nesterov $x_{t+1}$", hero.color),
        **{name: Mark(r.end, style.spot(table[name]), name, table[name].color) for name, r in anatomy.rivals.items()},
    }


def _draw_arrow(ax: Axes, leg: Leg) -> tuple[Line2D, FancyArrowPatch]:
    on = frame(ax)
    tail, head = on.points(leg.tail), on.points(leg.head)
    length = float(np.linalg.norm(head - tail))
    run = (head - tail) / (length or 1.0)
    gap = min(MARK, length / 4)  # marks are not drawn over
    tail, head = tail + gap * run, head - gap * run
    neck = head - min(style.HEAD, 0.6 * (length - 2 * gap)) * run
    shown = on.data(np.stack([tail, neck])).T
    ax.plot(*shown, **style.halo(leg.look))
    (line,) = ax.plot(*shown, **style.core(leg.look))
    return line, ax.add_patch(FancyArrowPatch(on.data(neck), on.data(head), **style.tip(leg.look)))


def step(
    anatomy: Any,
    *,
    width: float = style.COLUMN,
    title: str | None = None,
    note: str | None = None,
    looks: Mapping[str, Look] | None = None,
) -> Figure:
    """One Nesterov step in the plane that it lies in, over contours of the loss.

    Args:
        anatomy: a record with the fields of `Anatomy`, such as `nagviz.experiment.anatomy.dissect` makes.
        width: inches.
        title: above the axes; by default the number of the step, where it is known.
        note: small text under what the figure says of itself.
        looks: `looks(names)` of the whole run, with "NAG" and the rivals among them.

    Raises:
        ValueError: `looks` lacks a name.
    """
    with style.context():
        figure = Figure(figsize=(width, width))
        ax = figure.subplots()
        contours = draw_contours(ax, anatomy.cut)
        _draw_words(ax, anatomy, width, title)
        draw_key(figure, {}, note="\n".join(line for line in (*_said(anatomy), note) if line))
        _fit(figure, ax)
        draw_values(ax, contours, avoid=taken(ax, anatomy))
        draw_step(ax, anatomy, looks)
    return figure


def _draw_words(ax: Axes, anatomy: Any, width: float, title: str | None) -> None:
    across = width - 0.6  # inches, roughly: of the axes
    known = "" if anatomy.step is None else f"step {anatomy.step:,}"
    ax.set_title(wrapped(known if title is None else title, across, style.TITLE), parse_math=False)
    ax.set_xlabel(wrapped(anatomy.cut.labels[0], across, style.TEXT), parse_math=False)
    ax.set_ylabel(wrapped(anatomy.cut.labels[1], across, style.TEXT), parse_math=False)
    ax.locator_params(nbins=6)


def _said(anatomy: Any) -> list[str]:
    """What the picture does not show by itself."""
    hidden = max((rival.hidden for rival in anatomy.rivals.values()), default=0.0)
    said = [f"Contours: {anatomy.cut.quantity}."]
    if hidden > SEEN:
        names = " and ".join(anatomy.rivals)
        said.append(f"The gradient at x, of {names}, is projected: {hidden:.0%} of it stand out of this plane.")
    if anatomy.residual > SEEN:
        said.append(f"The step itself leaves this plane by up to {anatomy.residual:.1%} of its velocity.")
    return said


def _fit(figure: Figure, ax: Axes) -> None:
    """Make the figure as high as the axes need at equal aspect, and keep the layout."""
    for _ in range(2):
        figure.settle(1)
        width, height = figure.get_size_inches()
        cell = ax.get_position()
        wanted = cell.width * width * ax.viewLim.height / ax.viewLim.width
        resize(figure, height + wanted - cell.height * height)
    figure.settle()
    figure.set_layout_engine("none")
    ax.set_aspect("equal")
    ax.apply_aspect()
