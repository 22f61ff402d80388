"""The map of the look-ahead family: momentum across, correction up, and how fast each point of it converges.

With step weight 1 and learning rate 1/L, a quadratic mode of curvature lambda = q L obeys

    z^2 - (1 + mu - (1 + mu + gamma) q) z + mu (1 - q) = 0

and the error falls each step by the larger root's modulus, at worst over the curvatures q in [1/k, 1]. Another step
weight alpha is the same method at step weight 1, correction gamma/alpha and learning rate alpha h: it stands there.

>>> print(rate(np.array(9 / 11), np.array(0.0), 100).round(4))  # Nesterov's momentum for k = 100: 1 - 1/sqrt k
0.9
>>> print(rate(np.array(0.0), np.array(0.0), 100).round(4))  # gradient descent: 1 - 1/k
0.99
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation

from nagviz.figures import style
from nagviz.figures.contour import Contours, draw_bar, draw_contours, draw_values
from nagviz.figures.key import draw_key
from nagviz.figures.labels import Label, boxes, draw_names, frame
from nagviz.figures.levels import roundest
from nagviz.figures.path import spread
from nagviz.figures.style import Figure, Look

MOMENTA = (0.0, 1.0)
CORRECTIONS = (-1.05, 1.25)
ABOVE = 7.0  # points from the frame to a mark beyond it
GRID = 241
CURVATURES = 33  # of which the worst counts
LEVELS = (1, 1.2, 1.5, 2, 3, 4, 6, 10, 20, 40, 80)  # edges of the bands, in multiples of the fewest steps there are


class Ground(NamedTuple):
    """A slice of the family, as `draw_contours` takes it."""

    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    labels: tuple[str, str]
    quantity: str


def rate(momentum: np.ndarray, correction: np.ndarray, condition_number: float) -> np.ndarray:
    """The factor by which the error falls a step, at worst over the curvatures; 1 or more where it does not.

    Args:
        momentum: mu, of any shape.
        correction: gamma at step weight 1, of a shape that goes with it.
        condition_number: k.
    """
    q = np.geomspace(1 / condition_number, 1.0, CURVATURES)
    mu, gamma = np.asarray(momentum)[..., None], np.asarray(correction)[..., None]
    half, product = (1 + mu - (1 + mu + gamma) * q) / 2, mu * (1 - q)
    split = np.sqrt((half**2 - product).astype(complex))
    return np.maximum(np.abs(half + split), np.abs(half - split)).max(axis=-1)


def steps_to_a_digit(momentum: np.ndarray, correction: np.ndarray, condition_number: float) -> np.ndarray:
    """Steps in which the error falls tenfold; infinite where it does not fall.

    >>> steps_to_a_digit(np.array([0.0, 1.0]), np.array([0.0, 1.2]), 100).round(1)
    array([229.1,   inf])
    """
    factor = rate(momentum, correction, condition_number)
    with np.errstate(divide="ignore"):
        return np.where(factor < 1, -np.log(10) / np.log(np.minimum(factor, 1)), np.inf)


def draw_ground(ax: Axes, condition_number: float) -> Contours:
    """Bands of steps to a digit, hatched where the method does not converge, and the two lines of the map.

    Args:
        ax: the axes.
        condition_number: k, above 1.
    """
    mu, gamma = np.linspace(*MOMENTA, GRID), np.linspace(*CORRECTIONS, GRID)
    values = steps_to_a_digit(mu, gamma[:, None], condition_number)
    labels = "momentum μ", "correction γ / step weight α"
    ground = Ground(mu, gamma, values, labels, "steps to a decimal digit")
    edges = values.min() * np.array(LEVELS)
    rounded = [roundest(low, high) for low, high in zip(0.91 * edges[1:], 1.1 * edges[1:], strict=True)]
    contours = draw_contours(ax, ground, [0.98 * edges[0], *rounded])
    ax.set(xlabel=labels[0], ylabel=labels[1])
    line = {"color": style.INK, "lw": style.FRAME_WIDTH, "ls": (0, (3, 2)), "zorder": 2}
    ax.plot([0, 1], [0, 0], **line)
    ax.plot([0, 1], [0, -1], **line)
    words = {"fontsize": style.SMALL, "color": style.INK, "zorder": 3}
    ax.text(0.02, 0.03, "γ = 0: Nesterov", **words)
    slope = {"rotation": -45, "rotation_mode": "anchor", "transform_rotates_text": True}
    ax.text(0.2, -0.29, "γ = −μα: gradient descent", **words, **slope)
    return contours


def draw_method(ax: Axes, coefficients: np.ndarray, look: Look, label: str) -> Line2D:
    """A method at its (mu, gamma/alpha): a mark, and behind it the line along which its coefficients came there.

    A method above the map (the heavy ball is infinitely far) is marked over the frame, with an arrow up; one below it
    on the lower edge.

    Args:
        ax: the axes of `draw_ground`.
        coefficients: (T, 3): step weight, momentum and correction by age.
        look: colour, marker, dash.
        label: its name.
    """
    mu, height = _places(coefficients)
    (line,) = ax.plot(mu, np.clip(height, *CORRECTIONS), label=label, clip_on=False, **style.curve(look))
    moves = np.ptp(mu) > 0
    line.set(markevery=[-1], markersize=style.START, zorder=look.order + (0 if moves else 100))
    if height[-1] > CORRECTIONS[1]:
        line.set_marker("")
        _draw_above(ax, mu[-1], look)
    return line


def _places(coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Momentum, and correction over step weight, by age."""
    alpha, mu, gamma = np.asarray(coefficients, np.float64).T
    with np.errstate(divide="ignore", invalid="ignore"):
        return mu, np.where(alpha != 0, gamma / alpha, np.copysign(np.inf, gamma))


def _draw_above(ax: Axes, momentum: float, look: Look) -> None:
    """A mark over the frame, and an arrow on from it."""
    over = ax.transData + ScaledTranslation(0, ABOVE / 72, ax.figure.dpi_scale_trans)
    mark = {**style.curve(look), "markersize": style.START}
    ax.plot(momentum, CORRECTIONS[1], transform=over, clip_on=False, scalex=False, scaley=False, **mark)
    arrow = {
        "arrowstyle": "<-",
        "color": look.color,
        "lw": 0.9,
        "shrinkA": 0,
        "shrinkB": 0,
        "mutation_scale": 6,
        "zorder": 1,
    }
    points = {"xytext": (0, ABOVE + 8), "textcoords": "offset points", "annotation_clip": False}
    ax.annotate("", (momentum, CORRECTIONS[1]), **points, arrowprops=arrow)


def family(
    methods: Mapping[str, np.ndarray],
    condition_number: float,
    *,
    width: float = style.COLUMN,
    looks: Mapping[str, Look] | None = None,
) -> Figure:
    """The look-ahead family on one map, with its region of stability for a condition number.

    Methods are named at their marks, and in the key where there is no room.

    Args:
        methods: by name, (T, 3): step weight, momentum and correction by age.
        condition_number: k, above 1.
        width: inches.
        looks: `looks(names)` of the whole run.

    Raises:
        ValueError: k is not above 1.

    Example:
        >>> figure = family({"NAG": np.array([[1.0, 0.82, 0.0]]), "heavy ball": np.array([[0.0, 0.9, 1.0]])}, 100)
        >>> figure.axes[0].get_xlabel()
        'momentum μ'
    """
    if not condition_number > 1:
        raise ValueError(f"condition_number must be above 1, got {condition_number}: it is L over the least curvature")
    table = style.resolve(methods, looks)
    keyed: set[str] = set()
    while True:  # a key that grows makes the map no larger, so that this ends
        entries = {name: Line2D([], [], **style.curve(look)) for name, look in table.items() if name in keyed}
        figure, named = _drawn(methods, condition_number, width, table, entries)
        if {*methods} <= named | keyed:
            return figure
        keyed |= {*methods} - named


def _drawn(
    methods: Mapping[str, np.ndarray],
    condition_number: float,
    width: float,
    table: Mapping[str, Look],
    entries: Mapping[str, Line2D],
) -> tuple[Figure, set[str]]:
    """The map over a key of these entries, and who is named on it."""
    with style.context():
        figure = Figure(figsize=(width, width))
        ax = figure.subplots()
        contours = draw_ground(ax, condition_number)
        draw_bar(ax, contours, f"steps to a decimal digit, k = {condition_number:g}")
        marks = [draw_method(ax, coefficients, table[name], name) for name, coefficients in methods.items()]
        above = [mark for mark in marks if not mark.get_marker()]
        room = ax.text(0, 1.0, " \n", transform=ax.transAxes, fontsize=style.SMALL) if above else None
        hints = {"diverges": Patch(**style.HATCHED)} if contours.hatch else {}
        draw_key(figure, entries, hints=hints, note=_said(methods))
        figure.settle()
        figure.set_layout_engine("none")
        if room:
            room.remove()
        named = _name_above(ax, above)
        texts, covered = _name(ax, [mark for mark in marks if mark.get_marker()])
        draw_values(ax, contours, avoid=covered)
    return figure, named | {text.get_text() for text in texts}


def _said(methods: Mapping[str, np.ndarray]) -> str:
    """Of what the map is, what lines are, and who is not on it."""
    places = {name: _places(coefficients) for name, coefficients in methods.items()}
    said = ["Learning rate 1/L at step weight 1."]
    if any(np.ptp(mu) > 0 or (np.isfinite(height).all() and np.ptp(height) > 0) for mu, height in places.values()):
        said.append("Lines: schedules, from the first step to the last, which is marked.")
    out = {
        name: height[-1] for name, (_, height) in places.items() if not CORRECTIONS[0] <= height[-1] <= CORRECTIONS[1]
    }
    far = [f"{name} (γ/α is {f'{at:.3g}' if np.isfinite(at) else 'infinite'})" for name, at in out.items()]
    return " ".join([*said, *([f"Beyond the map: {', '.join(far)}."] if far else [])])


def _name_above(ax: Axes, marks: Sequence[Line2D]) -> set[str]:
    """Names beside the marks over the frame, each on its roomier side, as far as they are clear of one another."""
    on, named, taken = frame(ax), set(), []
    ends = [on.points(mark.get_xydata()[-1])[0] for mark in marks]
    for mark, end in zip(marks, ends, strict=True):
        way = -1 if end > on.sides[0] / 2 else 1
        far = end + way * (ABOVE + style.text_width(mark.get_label()))
        low, high = sorted((end + way * 3, far))
        others = [(other - 3, other + 3) for other in ends if other != end]
        if low < 0 or high > on.sides[0] or any(low < b and a < high for a, b in [*others, *taken]):
            continue
        taken.append((low, high))
        named.add(mark.get_label())
        words = {"ha": "right" if way < 0 else "left", "va": "center", "annotation_clip": False, "parse_math": False}
        place = {"xytext": (6 * way, ABOVE), "textcoords": "offset points", "fontsize": style.SMALL}
        at = mark.get_xydata()[-1]
        ax.annotate(mark.get_label(), at, color=style.written(mark.get_color()), **place, **words)
    return named


def _name(ax: Axes, marks: Sequence[Line2D]) -> tuple[list[Text], np.ndarray]:
    """Names beside the marks, as far as there is room; what the marks and their names cover."""
    on, places = frame(ax), np.array([mark.get_xydata()[-1] for mark in marks]).reshape(-1, 2)
    lines = np.concatenate([on.data(spread(on.points(mark.get_xydata()))) for mark in marks] or [places])
    names = [Label(mark.get_label(), mark.get_color(), at) for mark, at in zip(marks, places, strict=True)]
    texts = draw_names(ax, names, lines, places)
    return texts, np.concatenate([lines, places, boxes(ax, texts)])
