"""The anatomy of one Nesterov step, in the plane that it lies in.

From the iterate x_t the velocity leads to the look-ahead point y_t; the gradient is taken there, not at x_t, and its
step leads to x_{t+1}. Heavy ball goes as far with the gradient of x_t, gradient descent goes without the velocity.
"""

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text

from nagviz.figures import style
from nagviz.figures.contour import Contours, draw_contours, draw_values
from nagviz.figures.key import draw_key, resize, wrapped
from nagviz.figures.labels import Label, boxes, draw_labels, frame, sampled
from nagviz.figures.levels import even_levels
from nagviz.figures.style import Figure, Look

MARK = 3.6  # points from the centre of a mark to the arrows that end at it
SAME = 1e-9  # of the velocity's length: no distance
LENSES = tuple(np.arange(0.6, 0.35, -0.02))  # widths that the detail may have, in units of the axes
EDGE, CLEAR = 0.02, 0.035  # likewise its distance from the edges, and from what is drawn
CORNERS = ((1, 0), (0, 0), (1, 1), (0, 1))  # where it may stand, as shares of the axes
NAME = 80.0  # points that a name may be long beside its point
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
    method: str = "Nesterov"  # its name
    gradient: bool = True  # whether the step is a multiple of the gradient
    residual: float = 0.0  # of the farthest of the four points from the plane, in units of the axes
    losses: Mapping[str, float] = {}  # by name, at the points themselves: those of the rivals are not projected
    detail: Any = None  # the loss around y_t and x_{t+1}, where these are close together


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
    order: float


def draw_step(
    ax: Axes,
    anatomy: Any,
    looks: Mapping[str, Look] | None = None,
    *,
    silent: Container[str] = (),
    avoid: np.ndarray | None = None,
) -> DrawnStep:
    """The arrows of a step and of its rivals, their points, and a label at each that is on the axes.

    Set the limits of the axes and their place on the page first: labels go where room is left.

    Args:
        ax: the axes, at equal aspect.
        anatomy: a record with the fields of `Anatomy`.
        looks: of "NAG" and the rivals; fresh ones by default.
        silent: arrows and points that are drawn without their label.
        avoid: (n, 2) data that labels keep away from, besides the arrows.
    """
    table = style.resolve(["NAG", *anatomy.rivals], looks)
    legs, points = _legs(anatomy, table), _points(anatomy, table)
    arrows = {name: _draw_arrow(ax, leg) for name, leg in legs.items()}
    marks = {
        name: ax.plot(*point.at, ls="", zorder=style.ENDS + point.order, **point.artist)[0]
        for name, point in points.items()
    }
    heard = [Label(p.text, p.color, np.asarray(p.at)) for name, p in points.items() if name not in silent]
    heard += [
        Label(leg.text, leg.look.color, np.stack([leg.tail, leg.head]))
        for name, leg in legs.items()
        if name not in silent
    ]
    seen = [label for label in heard if _is_on(ax, label.at.reshape(-1, 2).mean(axis=0))]
    covered = _taken(ax, anatomy) if avoid is None else np.concatenate([_taken(ax, anatomy), avoid])
    return DrawnStep(arrows, marks, draw_labels(ax, seen, covered))


def _is_on(ax: Axes, point: np.ndarray) -> bool:
    return bool(ax.viewLim.contains(*point))


def _taken(ax: Axes, anatomy: Any) -> np.ndarray:
    """Data along all arrows, (n, 2), that no writing should cover."""
    own = [(anatomy.iterate, anatomy.lookahead), (anatomy.lookahead, _tip(anatomy))]
    rivals = [(rival.start, rival.end) for rival in anatomy.rivals.values()]
    return np.concatenate([sampled(ax, *pair) for pair in (*own, *rivals)])


def _tip(anatomy: Any) -> np.ndarray:
    return anatomy.next_lookahead if _is_ball(anatomy) else anatomy.next_iterate


def _is_ball(anatomy: Any) -> bool:
    """Whether the step weight is 0, so that the method's point is y and nothing is looked at ahead."""
    return not np.linalg.norm(np.subtract(anatomy.next_iterate, anatomy.lookahead)) > SAME


def _legs(anatomy: Any, table: Mapping[str, Look]) -> dict[str, Leg]:
    at_x, at_y = (rf"$-\alpha\,\nabla f({at})$" if anatomy.gradient else f"$d({at})$" for at in ("x_t", "y_t"))
    hero = table["NAG"]._replace(width=style.STEP_WIDTH)
    if _is_ball(anatomy):
        words = "last step $s_t$", rf"$\mu s_t{at_y[1:]}" if anatomy.gradient else rf"$\mu s_t+{at_y[1:]}"
    else:
        words = "momentum $s_t$", at_y
    legs = {
        "velocity": Leg(anatomy.iterate, anatomy.lookahead, style.VELOCITY, words[0]),
        "step": Leg(anatomy.lookahead, _tip(anatomy), hero, words[1]),
    }
    taken = np.linalg.norm(np.subtract(_tip(anatomy), anatomy.lookahead))
    for name, rival in anatomy.rivals.items():
        shorter = np.linalg.norm(np.subtract(rival.end, rival.start)) < taken
        look = table[name]._replace(order=hero.order + 1) if shorter else table[name]  # or it may be hidden whole
        legs[name] = Leg(rival.start, rival.end, look, at_x)
    return legs


def _is_long(name: str) -> bool:
    """Whether a name has no room beside its point, and stands in the note."""
    return style.text_width(name, style.TEXT) > NAME


def _points(anatomy: Any, table: Mapping[str, Look]) -> dict[str, Mark]:
    velocity, hero = style.VELOCITY, table["NAG"]
    if _is_ball(anatomy):
        words = "$y_{t-1}$", "$y_t$", "$y_{t+1}$"
    else:
        name = "" if _is_long(anatomy.method) else anatomy.method.replace("$", r"\$")  # a dollar in it is a dollar
        words = "$x_t$", "look-ahead $y_t$", f"{name} $x_{{t+1}}$".strip()
    return {
        "x": Mark(anatomy.iterate, style.start(velocity), words[0], velocity.color, velocity.order),
        "y": Mark(anatomy.lookahead, style.spot(velocity), words[1], velocity.color, velocity.order),
        "next x": Mark(_tip(anatomy), style.star(hero), words[2], hero.color, hero.order),
        **{
            name: Mark(rival.end, style.spot(look), name, look.color, look.order)
            for (name, rival), look in zip(anatomy.rivals.items(), map(table.get, anatomy.rivals), strict=True)
        },
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
        title: above the axes; by default the method and the number of the step, where it is known.
        note: small text under what the figure says of itself.
        looks: `looks(names)` of the whole run, with "NAG" and the rivals among them.

    Raises:
        ValueError: `looks` lacks a name.
    """
    with style.context():
        figure = Figure(figsize=(width, width))
        ax = figure.subplots()
        contours = draw_contours(ax, anatomy.cut, _levels(anatomy.cut))
        _draw_words(ax, anatomy, width, title)
        draw_key(figure, {}, note="\n".join(line for line in (*_said(anatomy), note) if line))
        _fit(figure, ax)
        if anatomy.detail is None:
            _draw_values(ax, contours, anatomy, draw_step(ax, anatomy, looks))
        else:
            _draw_with_detail(ax, contours, anatomy, looks)
    return figure


def _levels(cut: Any) -> np.ndarray | None:
    return even_levels(cut.values) if np.isfinite(cut.values).any() else None


def _draw_with_detail(ax: Axes, contours: Contours, anatomy: Any, looks: Mapping[str, Look] | None) -> None:
    """The step, and in a free corner what happens at its look-ahead point, larger."""
    ahead = {name for name, rival in anatomy.rivals.items() if np.array_equal(rival.start, anatomy.lookahead)}
    lens = ax.inset_axes(_lens(ax, anatomy), zorder=3 * style.ENDS, xticks=[], yticks=[])
    near = draw_contours(lens, anatomy.detail, _levels(anatomy.detail))
    ax.indicate_inset_zoom(lens, **style.LENS)
    under = _covered(ax, lens)
    _draw_values(
        ax, contours, anatomy, draw_step(ax, anatomy, looks, silent={"step", "next x", *ahead}, avoid=under), under
    )
    _draw_values(lens, near, anatomy, draw_step(lens, anatomy, looks, silent={"velocity"}))


def _draw_values(ax: Axes, contours: Contours, anatomy: Any, drawn: DrawnStep, *more: np.ndarray) -> None:
    draw_values(ax, contours, avoid=np.concatenate([_taken(ax, anatomy), boxes(ax, drawn.labels), *more]))


def _lens(ax: Axes, anatomy: Any) -> tuple[float, float, float, float]:
    """Where the detail stands, in units of the axes, at their aspect: as large as it can be and hide nothing."""
    slope = np.ptp(anatomy.detail.y) / np.ptp(anatomy.detail.x) * ax.viewLim.width / ax.viewLim.height
    things = (np.concatenate([_taken(ax, anatomy), _outline(anatomy.detail)]) - ax.viewLim.min) / ax.viewLim.size
    for width in LENSES:
        size = np.array([width, slope * width])
        for corner in CORNERS:
            low = np.where(corner, 1 - EDGE - size, EDGE)
            if not ((low - CLEAR < things) & (things < low + size + CLEAR)).all(axis=1).any():
                return (*low, *size)
    return 1 - EDGE - LENSES[-1], EDGE, LENSES[-1], slope * LENSES[-1]


def _outline(cut: Any) -> np.ndarray:
    """(n, 2) along the edges of a slice."""
    along = np.linspace(0, 1, 30)
    unit = np.concatenate(
        [np.column_stack(pair) for e in (0 * along, 0 * along + 1) for pair in ((along, e), (e, along))]
    )
    return [np.min(cut.x), np.min(cut.y)] + unit * [np.ptp(cut.x), np.ptp(cut.y)]


def _covered(ax: Axes, lens: Axes) -> np.ndarray:
    """Data under the detail."""
    low, high = ax.transData.inverted().transform(lens.get_window_extent().get_points())
    return np.stack(np.meshgrid(*np.linspace(low, high, 30).T), axis=-1).reshape(-1, 2)


def _draw_words(ax: Axes, anatomy: Any, width: float, title: str | None) -> None:
    across = width - 0.6  # inches, roughly: of the axes
    known = "" if anatomy.step is None else f"{anatomy.method}, step {anatomy.step:,}"
    ax.set_title(wrapped(known if title is None else title, across, style.TITLE), parse_math=False)
    ax.set_xlabel(wrapped(anatomy.cut.labels[0], across, style.TEXT), parse_math=False)
    ax.set_ylabel(wrapped(anatomy.cut.labels[1], across, style.TEXT), parse_math=False)
    ax.locator_params(nbins=6)


def _said(anatomy: Any) -> list[str]:
    """What the picture does not show by itself."""
    hidden = max((rival.hidden for rival in anatomy.rivals.values()), default=0.0)
    said = [f"The step of {anatomy.method}."] if _is_long(anatomy.method) else []
    said += [f"Contours: {anatomy.cut.quantity}."]
    if not all(np.isfinite(cut.values).all() for cut in (anatomy.cut, anatomy.detail) if cut is not None):
        said.append("Hatched: the loss is not finite.")
    if hidden > SEEN:
        names = " and ".join(anatomy.rivals)
        said.append(
            f"The gradient at x, of {names}, is drawn as projected: {hidden:.0%} of it lies outside this plane."
        )
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
