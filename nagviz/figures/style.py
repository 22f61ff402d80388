"""Every colour, width, font and size of the figures, and the `Figure` that saves them.

The sizes are those of print: text of 7 pt and more on pages 3.35 in (`COLUMN`) and 6.9 in (`PAGE`)
wide. Nothing here touches matplotlib's global state.

>>> from nagviz.figures import style
>>> list(style.looks(["SGD", "NAG"]))
['SGD', 'NAG']
>>> style.looks(["SGD", "NAG"])["NAG"].color
'#D55E00'
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex, to_rgb
from matplotlib.figure import Figure as PlainFigure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import Normal, Stroke
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

COLUMN = 3.35  # inches: one column of a two-column page
PAGE = 6.9  # inches: the whole width of that page
NARROWEST = 1.6  # inches: of a panel among others, which shares their labels
ALONE = 2.3  # inches: of one that has labels, or a colour bar, of its own

SMALL = 7.0  # points: ticks, keys, notes, contour labels
TEXT = 7.5  # points: axis labels
TITLE = 8.0  # points
LINE_HEIGHT = 1.5  # of the key, in units of its font size

INK = "#1F2933"  # text and frames: softer than black, still above 14:1 on white
MUTED = "#5B6770"  # what explains the figure rather than being its subject
PAPER = "#FFFFFF"
CONTOUR = "#2E3F4F"  # hue of the ground's dark end, for lines between bands
NOT_FINITE = "#A0505C"  # the hatch over NaN and infinity: the one red that is no path

# The names of a page's colours: by day, and by night.
SCREEN = {
    "ink": (INK, "#E8EDF1"),
    "muted": (MUTED, "#A3AFB9"),
    "paper": (PAPER, "#14191E"),
    "halo": (PAPER, "#0E1216"),
    "line": ("#D9DEE2", "#36414B"),
    "contour": (CONTOUR, "#B9C9D6"),
    "broken": (NOT_FINITE, "#E29AA5"),
    "void": ("#F6E4E4", "#3A2328"),
    "focus": ("#0072B2", "#6CB8EC"),
    "shadow": ("#1F292333", "#00000099"),
}
SCREEN_FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'
FRAMED = "width:100%;height:900px;border:0"  # a page within another
SCREEN_SCALE = 1.8  # pixels of a screen for a point of print

FRAME_WIDTH = 0.6
CONTOUR_WIDTH = 0.35
CONTOUR_ALPHA = 0.45
SEAM = 0.3  # points by which a band overlaps its neighbour
PATH_WIDTH = 1.05
HERO_WIDTH = 1.5
CURVE_SCALE = 0.85  # a curve crosses others more often than a path does
HALO = 0.6  # points of paper on either side of a path
DOT = 3.0
START = 5.2
STAR = 8.5
ENDS = 200  # the ends of paths are drawn above all paths, whose orders stay under this
ARROW = 9.0
HEAD = 5.5  # points: length of the head of an arrow that is a step
SPOT = 4.4
AHEAD = 3.2
TEXT_HALO = 2.2
DARKER = 0.4  # share of ink in the colour of a word that belongs to a line
BAR = (1.025, 0.0, 0.035, 1.0)  # the colour bar, in units of its axes

# Okabe and Ito (2008), told apart by colour-blind eyes. Yellow is left out: it vanishes on paper.
HEROES = ("#D55E00", "#8C2F00", "#F4915A", "#5E1F00")  # vermillion, then its shades
COLORS = ("#0072B2", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
INKS = (PAPER, INK, MUTED, *HEROES, *COLORS)  # what readers tell apart
DASHES: tuple[tuple[float, tuple[float, ...] | None], ...] = (
    (0, (5.0, 1.0)),
    (0, (1.6, 0.8)),
    (0, (6.0, 1.0, 1.4, 1.0)),
    (0, None),
    (0, (9.0, 1.4)),
)
MARKERS = ("s", "^", "D", "v", "P", "X", "p", "h", "<")
HERO_MARKERS = ("o", "d", "8", "H", ">")  # one more than colours, so that twenty differ

FAMILY = "DejaVu Sans"  # comes with matplotlib: the same bytes on every machine

_OURS = {
    "font.family": [FAMILY],
    "font.size": TEXT,
    "mathtext.fontset": "dejavusans",
    "axes.labelsize": TEXT,
    "axes.titlesize": TITLE,
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.5,
    "axes.linewidth": FRAME_WIDTH,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "xtick.minor.size": 1.4,
    "ytick.minor.size": 1.4,
    "xtick.major.width": FRAME_WIDTH,
    "ytick.major.width": FRAME_WIDTH,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
    "lines.solid_capstyle": "round",
    "lines.dash_capstyle": "butt",
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "nagviz",
}
_NOT_A_MATTER_OF_STYLE = ("backend", "interactive", "toolbar", "webagg", "tk.", "macosx", "docstring")


def context() -> AbstractContextManager[None]:
    """Matplotlib's defaults with the sizes and fonts of this module, until the block ends.

    The caller's own settings do not show through: a figure is the same for every user.

    >>> with context():
    ...     print(matplotlib.rcParams["pdf.fonttype"])
    42
    """
    defaults = {
        key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith(_NOT_A_MATTER_OF_STYLE)
    }
    return matplotlib.rc_context({**defaults, **_OURS})


class Layout(ConstrainedLayoutEngine):
    """Constrained layout to the ten-millionth of the page: the last digits of its solver differ from call to call."""

    def execute(self, fig: PlainFigure) -> Any:
        """Place the axes."""
        made = super().execute(fig)
        for ax in fig.axes:
            if ax.get_in_layout() and ax.get_subplotspec() is not None:
                ax.set_position(np.round(ax.get_position(original=True).bounds, 7), which="original")
                ax.set_in_layout(True)  # which matplotlib takes back from axes that are placed
        return made


class Figure(PlainFigure):
    """A matplotlib figure in this style, that writes the same bytes for the same content.

    PDFs carry text as text (Type 42 fonts), SVGs too, and none carries a date. Characters that the
    font lacks come from another installed font; what no font has is written as `\\uXXXX`.

    >>> Figure(figsize=(COLUMN, 2)).get_layout_engine().__class__.__name__
    'Layout'
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with context():
            super().__init__(*args, **{"layout": Layout(), **kwargs})

    def add_subplot(self, *args: Any, **kwargs: Any) -> Axes:
        """Axes in this style."""
        with context():
            return super().add_subplot(*args, **kwargs)

    def draw(self, renderer: Any) -> None:
        """Draw in this style, whatever the settings of the caller."""
        with context():
            self._make_legible()
            super().draw(renderer)

    def settle(self, passes: int = 2) -> None:
        """Lay out: each pass takes labels for as long as they were in the one before."""
        with context():
            self._make_legible()
            for _ in range(passes):
                self.get_layout_engine().execute(self)

    def _make_legible(self) -> None:
        for text in self.findobj(Text):
            if not text.get_text().isascii() and text.get_fontfamily() == [FAMILY]:
                string, families = printable(text.get_text())
                text.set(text=string, fontfamily=families)

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Save as matplotlib does, in this style and without a date."""
        suffix = Path(fname).suffix if isinstance(fname, str | Path) else ""
        kind = str(kwargs.get("format") or suffix.lstrip(".") or "png").lower()
        dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "svgz": {"Date": None}}
        metadata = {**dates.get(kind, {}), **(kwargs.pop("metadata", None) or {})}
        with context():
            super().savefig(fname, **kwargs, **({"metadata": metadata} if metadata else {}))

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=200)
        return buffer.getvalue()


_TOLD = {"pdf": "Subject", "svg": "Description", "svgz": "Description"}  # where a format tells whence a figure is


def about(kind: str, title: str, run: str) -> dict[str, str]:
    """Metadata for `Figure.savefig`: what a figure is, and of which run.

    >>> about("pdf", "landscape of digits", "5f0c")
    {'Title': 'landscape of digits', 'Subject': 'nagviz run, SHA-256 5f0c'}

    Args:
        kind: the format of the file: "png", "pdf" or "svg".
        title: of the figure.
        run: its fingerprint.
    """
    return {"Title": title, _TOLD.get(kind, "Description"): f"nagviz run, SHA-256 {run}"}


class Look(NamedTuple):
    """How one optimizer is drawn, in every figure of a run."""

    color: str
    marker: str
    dash: tuple[float, tuple[float, ...] | None]  # matplotlib's (offset, on-off sequence)
    width: float  # points
    order: float  # later is above


def looks(names: Iterable[str]) -> dict[str, Look]:
    """One look per name: colour, dash and marker all differ, so that it also reads in grey.

    A name that starts with "NAG" is vermillion, solid, wider and on top. Give the names of the
    whole run, so that each keeps its look in all figures.

    >>> table = looks(["SGD", "Adam", "NAG"])
    >>> table["NAG"].dash, table["SGD"].marker, table["Adam"].marker
    ((0, None), 's', '^')
    """
    unique = list(dict.fromkeys(names))
    heroes = [name for name in unique if name.startswith("NAG")]
    others = [name for name in unique if not name.startswith("NAG")]
    table = {name: _hero(index) for index, name in enumerate(heroes)}
    table |= {name: _other(index) for index, name in enumerate(others)}
    return {name: table[name] for name in unique}


def _hero(index: int) -> Look:
    color, marker = HEROES[index % len(HEROES)], HERO_MARKERS[index % len(HERO_MARKERS)]
    # the first of them is drawn last
    return Look(color, marker, (0, None), HERO_WIDTH, 100 - 0.01 * index)


def _other(index: int) -> Look:
    color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
    return Look(color, marker, DASHES[index % len(DASHES)], PATH_WIDTH, 10 + 0.01 * index)


VELOCITY = Look(INK, "o", (0, None), 1.4, 60)  # what a method has from its last step
STEP_WIDTH = 2.0  # of the arrow that a figure is about
NEUTRAL = Look(MUTED, "o", (0, None), PATH_WIDTH, 0)  # for the key: what is said of every path
HATCHED = {"facecolor": "#F6E4E4", "edgecolor": NOT_FINITE, "hatch": "//////", "linewidth": 0.0}
NOTE = {"color": MUTED, "fontsize": SMALL, "linespacing": 1.2}
FIELD = {  # arrows in points of the page
    "angles": "uv",
    "scale": 72,
    "scale_units": "inches",
    "units": "inches",
    "pivot": "mid",
    "width": 0.009,
    "headwidth": 4.0,
    "headlength": 4.0,
    "headaxislength": 3.6,
    "minlength": 0.1,
    "color": CONTOUR,
    "alpha": 0.8,
    "zorder": 1.4,
}
STREAM = {"color": CONTOUR + "B0", "linewidth": 0.5, "arrowsize": 0.55, "arrowstyle": "-|>", "zorder": 1.4}
LEADER = {"lw": 0.6, "zorder": 1.9 * ENDS, "solid_capstyle": "butt"}  # from the end of a path to its name
LENS = {"edgecolor": INK, "linewidth": 0.6, "alpha": 1.0}  # the frame of a detail, and its place in the whole
GRID = {"color": "#D9DEE2", "linewidth": 0.5}
CAUTION = {  # what must be known to read the figure, on its ground
    "color": INK,
    "fontsize": SMALL,
    "zorder": 500,
    "bbox": {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 2},
}
NOTICE = {
    "ha": "center",
    "va": "center",
    "color": NOT_FINITE,
    "fontsize": TEXT,
    "zorder": 500,
    "bbox": {"facecolor": PAPER, "edgecolor": "none", "pad": 3},
}


def columns_of(count: int, width: float = PAGE, narrowest: float = NARROWEST) -> int:
    """How many of so many panels stand side by side on a page of so many inches.

    >>> [columns_of(count) for count in (1, 2, 3, 4, 5)], columns_of(5, COLUMN)
    ([1, 2, 3, 2, 3], 2)
    """
    return min(2 if count in (2, 4) else min(count, 3), max(1, int(width / narrowest)))


def curve(look: Look) -> dict[str, Any]:
    """A `Line2D` of this look: a curve, or the sample of a path in a key."""
    return {
        "color": look.color,
        "linestyle": look.dash,
        "linewidth": look.width,
        "zorder": look.order,
        "marker": look.marker,
        "markersize": DOT + 0.6,
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.5,
    }


def band(look: Look) -> dict[str, Any]:
    """The spread around a curve: fainter than the curve, and under all curves."""
    return {"color": look.color, "alpha": 0.18, "linewidth": 0.0, "zorder": 0.01 * look.order}


def cut(color: str, index: int) -> dict[str, Any]:
    """The curve of a loss along a line: the first solid, and the others each in dashes of its own."""
    dash = "-" if index == 0 else DASHES[(index - 1) % len(DASHES)]
    return {"color": color, "linestyle": dash, "linewidth": PATH_WIDTH, "zorder": 10 - index}


def core(look: Look) -> dict[str, Any]:
    """The line of a path."""
    return {"color": look.color, "lw": look.width, "ls": look.dash, "zorder": look.order}


def halo(look: Look) -> dict[str, Any]:
    """The paper on either side of a path, which parts it from any ground and any other path."""
    return {"color": PAPER, "lw": look.width + 2 * HALO, "zorder": look.order}


def dot(look: Look) -> dict[str, Any]:
    """A moment of a path."""
    return {"marker": look.marker, "color": look.color, "ms": DOT, "mec": PAPER, "mew": 0.4}


def start(look: Look) -> dict[str, Any]:
    """The open circle where a path begins."""
    return {"marker": "o", "ms": START, "mfc": PAPER, "mec": look.color, "mew": 1.1}


def spot(look: Look) -> dict[str, Any]:
    """The filled mark of a single point."""
    return {"marker": look.marker, "ms": SPOT, "mfc": look.color, "mec": PAPER, "mew": 0.6}


def star(look: Look) -> dict[str, Any]:
    """The filled star where a path ends."""
    return {"marker": "*", "ms": STAR, "mfc": look.color, "mec": PAPER, "mew": 0.6}


def cross(look: Look) -> dict[str, Any]:
    """The cross where a path stops being finite."""
    return {"marker": "x", "ms": START, "mec": look.color, "mew": 1.4}


def tick(look: Look) -> dict[str, Any]:
    """The tick across a curve at an event."""
    return {"marker": "|", "ls": "", "ms": 9, "mew": 1.3, "color": look.color, "zorder": ENDS}


def arrow(look: Look) -> dict[str, Any]:
    """A `FancyArrowPatch` of which only the head is seen."""
    return {
        "arrowstyle": "-|>",
        "mutation_scale": ARROW,
        "color": look.color,
        "lw": 0,
        "shrinkA": 0,
        "shrinkB": 0,
    }


def tip(look: Look) -> dict[str, Any]:
    """The head of an arrow that stands for a step, as a `FancyArrowPatch` from its neck to its tip."""
    return {
        "arrowstyle": f"-|>,head_length={HEAD / 10},head_width={(0.9 * look.width + 1.0) / 10}",
        "mutation_scale": 10,
        "color": look.color,
        "lw": 0,
        "shrinkA": 0,
        "shrinkB": 0,
        "zorder": look.order + 0.001,
        "path_effects": [Stroke(linewidth=2 * HALO, foreground=PAPER), Normal()],
    }


def reach(look: Look) -> dict[str, Any]:
    """The line from where a path is to where its method looks."""
    halo = [Stroke(linewidth=0.9 + 2 * HALO, foreground=PAPER), Normal()]
    return {"color": INK, "lw": 0.9, "zorder": ENDS + look.order + 0.002, "path_effects": halo}


def ahead(look: Look) -> dict[str, Any]:
    """The small circle there."""
    return {"marker": "o", "ms": AHEAD, "mfc": PAPER, "mec": look.color, "mew": 0.9}


def written(color: str) -> str:
    """A colour for small letters, darker than that of lines.

    >>> written("#009E73")
    '#0C6F59'
    """
    mixed = (1 - DARKER) * np.array(to_rgb(color)) + DARKER * np.array(to_rgb(INK))
    return to_hex(mixed).upper()


def resolve(names: Iterable[str], given: Mapping[str, Look] | None) -> dict[str, Look]:
    """The looks of these names: those given, or fresh ones.

    >>> resolve(["Adam"], looks(["SGD", "Adam"]))["Adam"].marker
    '^'
    """
    names = list(dict.fromkeys(names))
    missing = [] if given is None else [name for name in names if name not in given]
    if missing:
        raise ValueError(f"looks has no entry for {missing[0]!r}: call looks() with every name of the run")
    return looks(names) if given is None else {name: given[name] for name in names}


_WHITE = np.array([0.95047, 1.0, 1.08883])  # D65
_FROM_XYZ = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """CIELAB (D65) to sRGB in [0, 1]; last axis is the colour. CIE 15:2004, IEC 61966-2-1.

    >>> lab_to_srgb(np.array([100.0, 0.0, 0.0])).round(3).tolist()
    [1.0, 1.0, 1.0]
    """
    lightness = (lab[..., 0] + 16) / 116
    f = np.stack([lightness + lab[..., 1] / 500, lightness, lightness - lab[..., 2] / 200], axis=-1)
    xyz = _WHITE * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(xyz @ _FROM_XYZ.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def srgb_to_lab(srgb: np.ndarray) -> np.ndarray:
    """The inverse of `lab_to_srgb`.

    >>> srgb_to_lab(np.array([1.0, 1.0, 1.0])).round(3).tolist()
    [100.0, -0.0, 0.0]
    """
    srgb = np.asarray(srgb, np.float64)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.linalg.inv(_FROM_XYZ).T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def night(color: str) -> str:
    """The colour of a path on a dark ground: its hue, and the darker it is by day the lighter by night.

    >>> night("#000000"), night("#D55E00")
    ('#E8E8E8', '#FF8936')
    """
    lab = srgb_to_lab(np.array(to_rgb(color)))
    return to_hex(lab_to_srgb(np.array([92 - 0.4 * lab[0], *lab[1:]]))).upper()


def _ground(name: str, anchors: Sequence[Sequence[float]]) -> ListedColormap:
    """A map through three colours in CIELAB, at equal distances."""
    fine = np.linspace(0, 1, 2001)
    curve = np.stack([np.polyval(np.polyfit([0, 0.5, 1], a, 2), fine) for a in np.array(anchors).T], axis=-1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    even = np.linspace(0, length[-1], 256)
    lab = np.stack([np.interp(even, length, column) for column in curve.T], axis=-1)
    return ListedColormap(lab_to_srgb(lab), name=name)


# Warm paper to slate blue. Loss is light where it is low, since that is where paths end and must be read. The chroma
# stays under 20, a third of that of any path, so that the ground never competes; the lightness runs from 97 to 62
# only, so that white halos show at the one end and dark paths at the other.
LANDSCAPE = _ground("nagviz.landscape", [[97.0, -0.5, 3.0], [82.0, -4.5, -6.5], [62.0, -6.0, -17.5]])
# By night low loss is what the page is, dark, and the lightness stops short of that of the paths.
NIGHTSCAPE = _ground("nagviz.nightscape", [[12.0, -1.0, -4.0], [25.0, -3.0, -11.0], [42.0, -4.0, -17.0]])


@cache
def _characters(font: str) -> frozenset[int]:
    return frozenset(get_font(font).get_charmap())


@cache
def _family_with(character: str) -> str | None:
    """The first installed family, by name, that has the character."""
    others = sorted((entry.name, entry.fname) for entry in fontManager.ttflist)
    named = (pair for pair in others if not pair[0].startswith("Last Resort"))  # only boxes
    return next((name for name, file in named if ord(character) in _characters(file)), None)


def printable(string: str) -> tuple[str, list[str]]:
    r"""The string as it can be set, and the font families that it takes.

    >>> printable("loss")
    ('loss', ['DejaVu Sans'])
    >>> printable("\U000F0000")[0]  # a private character: no font has it
    '\\U000f0000'
    """
    have = _characters(findfont(FontProperties(family=[FAMILY])))
    missing = {c: _family_with(c) for c in string if ord(c) not in have and c != "\n"}
    escape = {c: c.encode("ascii", "backslashreplace").decode() for c in missing if not missing[c]}
    families = [FAMILY, *dict.fromkeys(name for name in missing.values() if name)]
    return "".join(escape.get(c, c) for c in string), families


def text_width(string: str, size: float = SMALL, *, math: bool = False) -> float:
    """Points that the longest line of a text takes; between dollars stands mathematics where `math` says so.

    >>> text_width("NAG") < text_width("heavy ball")
    True
    """
    lines = [printable(line) for line in string.split("\n")]
    return max(
        text_to_path.get_text_width_height_descent(line, FontProperties(family=families, size=size), math)[0]
        for line, families in lines
    )
