import io
import re
import warnings
from typing import NamedTuple

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.text import Text

from nagviz.figures import COLUMN, PAGE, landscape, landscapes, looks, style

x, y = np.linspace(-1.5, 1.5, 21), np.linspace(-1, 1, 15)
BOWL = 0.1 + x**2 + 4 * y[:, None] ** 2
t = np.linspace(0, 1, 41)
SPIRAL = np.stack([0.9 * np.cos(5 * t) * (1 - t), 0.8 * np.sin(5 * t) * (1 - t)], axis=1)
NAMES = ["SGD", "heavy ball", "NAG", "Adam", "Adagrad"]
LONG = "filter-normalised random direction 1 (seed 0)"


class Cut(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    labels: tuple = ("PC 1 (94.1% of path variance)", "PC 2 (4.2% of path variance)")
    quantity: str = "train cross entropy, 1,437 samples"


class Projected(NamedTuple):
    coordinates: np.ndarray
    residual: np.ndarray
    steps: np.ndarray | None = None


CUT = Cut(x, y, BOWL)


def turned(angle):
    c, s = np.cos(angle), np.sin(angle)
    return 0.9 * SPIRAL @ np.array([[c, s], [-s, c]])


PATHS = {name: turned(index) for index, name in enumerate(NAMES)}


def words(figure):
    return {text.get_text() for text in figure.findobj(Text) if text.get_visible()}


def inches(figure, ax):
    return ax.get_position().size * figure.get_size_inches()


def cores(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


@pytest.fixture(scope="module")
def figure():
    return landscape(CUT, PATHS, title="Digits", note="SGD diverged at step 37 and is not drawn")


def test_the_axes_say_what_they_are(figure):
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == CUT.labels
    assert CUT.quantity in {word.replace("\n", " ") for word in words(figure)}
    assert ax.get_title() == "Digits"
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        assert 3 <= sum(low <= tick <= high for tick in axis.get_majorticklocs()) <= 7
    assert "SGD diverged at step 37 and is not drawn" in words(figure)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1.5, 1.5), (-1, 1))


def test_look_ahead_points_are_drawn_where_they_stand_off_their_iterates():
    far = SPIRAL + np.where(np.arange(41)[:, None] < 20, 0.2, 0.001)
    figure = landscape(CUT, {"NAG": SPIRAL, "SGD": -SPIRAL}, lookaheads={"NAG": far, "SGD": -SPIRAL})
    assert "look-ahead" in words(figure)
    (rings,) = (line for line in figure.axes[0].lines if line.get_markersize() == style.AHEAD)
    at = {tuple(point) for point in rings.get_xydata()}
    assert at < {tuple(point) for point in far[:20]}
    assert len(at) > 5
    none = landscapes({"a": (CUT, PATHS)}, lookaheads={"a": {"NAG": PATHS["NAG"] + 0.001}})
    assert "look-ahead" not in words(none)
    with pytest.raises(ValueError, match="lookaheads has an entry 'Eve'"):
        landscape(CUT, PATHS, lookaheads={"Eve": SPIRAL})


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (np.arange(41) * 4, "every 20 steps"),
        (np.append(np.arange(40) * 4, 158), "every 20 steps"),  # done before the next row
        (np.arange(41) * 29, "every 145 steps"),
        (np.arange(41) ** 2, "about every 200 steps"),
        (np.arange(41), "every 5 steps"),
    ],
)
def test_dots_and_markers_of_the_strip_are_at_the_steps_that_the_key_tells(rows, told):
    figure = landscape(CUT, {"SGD": Projected(SPIRAL, 1 + t, rows)})
    assert told in words(figure)
    ground, strip = figure.axes[:2]
    (line,) = (line for line in strip.lines if line.get_label() == "SGD")
    at = rows[line.get_markevery()]
    every = int(re.search(r"\d+", told)[0])
    np.testing.assert_array_equal(np.unique(at // every), np.arange(1, rows[-1] // every + 1))
    assert told.startswith("about") or not (at % every).any()
    dots = next(line for line in ground.lines if line.get_marker() == "s")
    np.testing.assert_array_equal(dots.get_xydata(), SPIRAL[line.get_markevery()])


def test_the_aspect_is_equal_and_the_axes_fill_the_column(figure):
    wide, high = inches(figure, figure.axes[0])
    assert wide / high == pytest.approx(1.5, rel=0.01)
    assert figure.get_figwidth() == COLUMN
    assert wide > 0.6 * COLUMN


def test_everything_lies_on_the_page(figure):
    figure.draw_without_rendering()
    page = figure.bbox
    box = figure.get_tightbbox().extents * figure.dpi
    assert (box[:2] >= page.min - 1).all()
    assert (box[2:] <= page.max + 1).all()


def test_all_visible_text_is_of_seven_points_or_more(figure):
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
    assert min(sizes) >= 7


def test_the_key_names_every_path_and_mark(figure):
    hints, names = figure.legends
    assert [text.get_text() for text in names.get_texts()] == NAMES
    assert [text.get_text() for text in hints.get_texts()] == ["start", "end", "every 5 steps"]
    drawn = cores(figure.axes[0])
    for line, name in zip(names.get_lines(), NAMES, strict=True):
        assert same_color(line.get_color(), drawn[name].get_color())
        assert line.get_marker() == looks(NAMES)[name].marker


def test_the_layout_holds_when_drawn_again(figure):
    before = figure.axes[0].get_position().bounds
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    assert figure.axes[0].get_position().bounds == before


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_input_is_the_same_bytes(kind):
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        landscape(CUT, {"NAG": SPIRAL}).savefig(file, format=kind, dpi=60)
    assert files[0].getvalue() == files[1].getvalue()


def test_the_callers_settings_neither_change_nor_show():
    plain, odd = io.BytesIO(), io.BytesIO()
    landscape(CUT, {"NAG": SPIRAL}).savefig(plain, format="svg")
    with matplotlib.rc_context({"font.size": 20.0, "axes.grid": True, "lines.marker": "o"}):
        before = dict(matplotlib.rcParams)
        landscape(CUT, {"NAG": SPIRAL}).savefig(odd, format="svg")
        assert dict(matplotlib.rcParams) == before
    assert odd.getvalue() == plain.getvalue()


def test_a_name_keeps_its_look_in_another_figure():
    run = looks(NAMES)
    ax = landscape(CUT, {"Adam": SPIRAL}, looks=run).axes[0]
    assert same_color(cores(ax)["Adam"].get_color(), run["Adam"].color)
    assert not same_color(looks(["Adam"])["Adam"].color, run["Adam"].color)


def test_the_strip_appears_when_the_plane_hides_something():
    near = {"NAG": Projected(SPIRAL, np.full(41, 0.002))}
    far = {"NAG": Projected(SPIRAL, np.full(41, 0.2)), "SGD": Projected(SPIRAL, np.zeros(41))}
    assert len(landscape(CUT, near).axes) == 1
    figure = landscape(CUT, far)
    ground, strip = figure.axes
    assert set(cores(strip)) == {"NAG", "SGD"}
    assert strip.get_position().y1 < ground.get_position().y0
    assert strip.get_position().x0 == pytest.approx(ground.get_position().x0, abs=0.005)
    assert strip.get_position().x1 == pytest.approx(ground.get_position().x1, abs=0.005)
    assert inches(figure, strip)[1] == pytest.approx(0.55, abs=0.05)


def bands(ax):
    return [child for child in ax.collections if hasattr(child, "levels") and child.filled]


def test_given_levels_are_used():
    (filled,) = bands(landscape(CUT, {}, levels=[0, 1, 2, 4]).axes[0])
    np.testing.assert_array_equal(filled.levels[1:], [1, 2, 4])


def test_levels_are_clipped_by_the_start():
    steep = CUT._replace(values=BOWL**4)
    near, far = (bands(landscape(steep, {"NAG": p}).axes[0])[0].levels[-1] for p in (SPIRAL / 4, SPIRAL))
    assert near < far


EDGES = {
    "constant": (CUT._replace(values=np.full(BOWL.shape, 2.0)), {"NAG": SPIRAL}),
    "zero": (CUT._replace(values=np.zeros(BOWL.shape)), {"NAG": SPIRAL}),
    "tiny": (CUT._replace(values=BOWL * 1e-30), {"NAG": SPIRAL}),
    "huge": (CUT._replace(values=BOWL * 1e30), {"NAG": SPIRAL}),
    "negative": (CUT._replace(values=BOWL - 50), {"NAG": SPIRAL}),
    "far outside": (CUT, {"NAG": 1e6 + SPIRAL, "SGD": SPIRAL}),
    "far off": (CUT, {"NAG": Projected(1e6 * SPIRAL, np.full(41, 1e8)), "SGD": Projected(SPIRAL, t)}),
    "all NaN": (CUT._replace(values=np.full(BOWL.shape, np.nan)), {"NAG": SPIRAL, "SGD": -SPIRAL}),
    "one point": (CUT, {"NAG": SPIRAL[:1]}),
    "no path": (CUT, {}),
    "wide": (Cut(5 * x, y, BOWL), {"NAG": SPIRAL}),
    "tall": (Cut(x, 4 * y, BOWL), {"NAG": SPIRAL}),
    "ten paths": (CUT, {f"optimizer {index}": turned(index) for index in range(10)}),
    "long labels": (CUT._replace(labels=(LONG, LONG), quantity=LONG * 2), {LONG: SPIRAL, "NAG": SPIRAL}),
    "no Latin": (CUT._replace(labels=("主成分 1", "Потеря")), {"随机梯度下降": SPIRAL, "NAG": SPIRAL}),
    "no glyph": (CUT._replace(labels=("a \U000f0000", "b")), {"\U000f0001": SPIRAL}),
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_are_drawn_without_warnings_on_the_page(edge):
    cut, paths = EDGES[edge]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = landscape(cut, paths)
        figure.savefig(io.BytesIO(), format="png", dpi=50)
    size = figure.get_size_inches()
    box = figure.get_tightbbox().extents
    assert (box[:2] >= -0.02).all()
    assert (box[2:] <= size + 0.02).all()
    assert figure.axes[0].get_aspect() == 1


def test_a_slice_of_one_loss_says_which():
    assert "One loss at all points: 2." in words(landscape(*EDGES["constant"]))
    assert not any("One loss" in word for word in words(landscape(CUT, {})))


def test_a_slice_without_a_finite_loss_says_so():
    figure = landscape(CUT._replace(values=np.full(BOWL.shape, np.nan)), {"NAG": SPIRAL})
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    assert {"no finite loss on this slice", "loss not finite"} <= words(figure)
    assert "NAG" in cores(figure.axes[0])


def names_on(ax):
    return {text.get_text(): text for text in ax.texts if text.get_text() in NAMES}


def test_several_paths_are_named_at_their_ends_and_one_is_not(figure):
    ends = {name: 0.9 * (i - 2) * np.array([0.5, 0.3]) for i, name in enumerate(NAMES)}
    ax = landscape(CUT, {name: np.stack([[-1.4, 0.9], end]) for name, end in ends.items()}).axes[0]
    found = names_on(ax)
    assert set(found) == set(NAMES)
    for name, text in found.items():
        assert np.abs(text.get_position() - ends[name]).max() < 0.7
    assert not names_on(landscape(CUT, {"NAG": SPIRAL}).axes[0])
    assert set(names_on(figure.axes[0])) <= set(NAMES)


def test_no_value_of_a_line_lies_on_a_name_however_long_the_paths():
    long = np.linspace(0, 1, 4000)[:, None]
    ends = {name: 0.4 * (i - 2) * np.array([1.0, 0.7]) for i, name in enumerate(NAMES)}
    figure = landscape(CUT, {name: (1 - long) * [-1.4, 0.9] + long * end for name, end in ends.items()})
    figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    values = [box for said, box in boxes.items() if said not in NAMES]
    assert len(values) > 3
    assert not any(box.overlaps(boxes[name]) for box in values for name in NAMES if name in boxes)


def test_a_path_that_lies_under_others_is_told():
    two = {"SGD": SPIRAL[:20], "NAG": SPIRAL, "Adam": -SPIRAL}
    assert "Mostly under others: SGD." in words(landscape(CUT, two))
    assert not any("under others" in word for word in words(landscape(CUT, {"NAG": SPIRAL, "Adam": -SPIRAL})))
    assert "Mostly under others: one: SGD." in words(landscapes({"one": (CUT, two), "two": (CUT, {"SGD": SPIRAL})}))


def test_what_random_walks_would_show_is_told_beside_what_the_axes_explain():
    assert "Random walks as long would show 61% + 15%." in words(landscape(CUT, {"NAG": SPIRAL}, walk=(0.608, 0.152)))
    assert not any("andom walk" in word for word in words(landscape(CUT, {"NAG": SPIRAL})))


@pytest.mark.parametrize("width", [COLUMN, PAGE])
def test_the_bar_has_four_to_six_numbers_and_the_lines_five_to_seven_where_there_is_room(width):
    ax = landscape(CUT, {"NAG": np.array([[0.9, 0.1], [0.0, 0.0]])}, width=width).axes[0]
    assert 4 <= len(ax.child_axes[0].get_yticks()) <= 6
    assert 5 <= len(ax.texts) <= 7


@pytest.mark.parametrize(("width", "columns"), [(2.0, 1), (COLUMN, 1), (5.0, 2), (PAGE, 3)])
def test_panels_stand_side_by_side_as_far_as_a_page_is_wide(width, columns):
    figure = landscapes(dict.fromkeys("abcde", (CUT, {"NAG": SPIRAL})), width=width)
    assert figure.axes[0].get_gridspec().ncols == columns


def test_holes_are_in_the_key_and_only_then(figure):
    values = BOWL.copy()
    values[3:5, 4] = np.inf
    assert "loss not finite" in words(landscape(CUT._replace(values=values), {}))
    assert "loss not finite" not in words(figure)


def test_a_path_that_ends_early_is_in_the_key(figure):
    path = np.where(t[:, None] > 0.5, np.nan, SPIRAL)
    assert "not finite from here" in words(landscape(CUT, {"SGD": path}))
    assert "not finite from here" not in words(figure)


def test_a_path_that_leaves_the_slice_is_named(figure):
    out = landscape(CUT, {"SGD": SPIRAL * 3, "NAG": SPIRAL, "Adam": SPIRAL + 9})
    assert "Leaving the slice: SGD, Adam." in words(out)
    assert (out.axes[0].get_xlim(), out.axes[0].get_ylim()) == ((-1.5, 1.5), (-1, 1))
    assert not any("Leaving" in word for word in words(figure))
    many = landscapes({"one": (CUT, {"SGD": SPIRAL * 3}), "two": (CUT, {"SGD": SPIRAL})})
    assert "Leaving the slice: one: SGD." in words(many)


@pytest.fixture(scope="module")
def four():
    return landscapes(
        {
            "Rosenbrock": (CUT, PATHS),
            "Beale": (CUT._replace(values=100 * BOWL), {"NAG": SPIRAL}),
            "Quadratic": (Cut(3 * x, y, BOWL), {"Adam": SPIRAL}),
            "Rastrigin": (CUT, {"Lion": SPIRAL}),
        }
    )


def test_four_panels_stand_two_by_two_under_one_key(four):
    grounds = four.axes
    assert [ax.get_title() for ax in grounds] == ["Rosenbrock", "Beale", "Quadratic", "Rastrigin"]
    corners = np.array([ax.get_position().p0 for ax in grounds])
    assert corners[0, 1] > corners[2, 1]
    assert corners[0, 0] == pytest.approx(corners[2, 0], abs=0.03)
    assert corners[0, 0] < corners[1, 0]
    assert corners[0, 1] == pytest.approx(corners[1, 1])
    assert four.get_figwidth() == PAGE
    assert [text.get_text() for text in four.legends[1].get_texts()] == [*NAMES, "Lion"]


def test_each_panel_has_its_own_levels_and_bar(four):
    tops = [bands(ax)[0].levels[-1] for ax in four.axes]
    assert tops[1] > 50 * tops[0]
    assert all(len(ax.child_axes) == 1 for ax in four.axes)


def test_a_name_looks_the_same_in_all_panels(four):
    first, second = (cores(ax)["NAG"] for ax in four.axes[:2])
    assert same_color(first.get_color(), second.get_color())


def test_panels_are_equal_in_aspect_up_to_two_to_one(four):
    assert [ax.get_aspect() for ax in four.axes] == [1, 1, "auto", 1]


def test_a_strip_under_each_panel_that_has_residuals():
    panels = {
        "one": (CUT, {"NAG": Projected(SPIRAL, np.ones(41))}),
        "two": (CUT, {"NAG": SPIRAL}),
    }
    _, strip, _, empty = landscapes(panels).axes
    assert "NAG" in cores(strip)
    assert not empty.get_visible()


def test_dots_at_the_same_steps_are_said_only_if_they_are():
    panels = {"one": (CUT, {"NAG": SPIRAL}), "two": (CUT, {"NAG": SPIRAL[:6]})}
    assert "at equal steps" in words(landscapes(panels))


def test_no_panels_are_refused():
    with pytest.raises(ValueError, match="panels is empty"):
        landscapes({})
