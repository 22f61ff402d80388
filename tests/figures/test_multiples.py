"""Small multiples under one scale."""

import io
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.text import Text

from nagviz.figures import COLUMN, PAGE, compare, looks, loss_levels, one_each
from nagviz.figures.style import LANDSCAPE

x, y = np.linspace(-1.5, 1.5, 21), np.linspace(-1, 1, 15)
BOWL = 0.1 + x**2 + 4 * y[:, None] ** 2
WAY = np.stack([np.linspace(0.9, 0.0, 20), np.linspace(0.7, 0.0, 20)], axis=1)
NAMES = ["NAG", "SGD", "Adam", "heavy ball"]


class Cut(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    labels: tuple = ("PC 1", "PC 2")
    quantity: str = "train cross entropy, 1,437 samples"


class Projected(NamedTuple):
    coordinates: np.ndarray
    residual: np.ndarray


CUT = Cut(x, y, BOWL)
STEEP = Cut(3 * x, y, 30 * BOWL, ("PC 1 (60%)", "PC 2 (20%)"))
PATHS = {name: Projected(WAY * (1 - 0.1 * i), np.full(20, 1.0 + i)) for i, name in enumerate(NAMES)}


def words(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def grounds(figure):
    return [ax for ax in figure.axes if ax.collections]


def colour_of(ax, loss):
    """In which colour a panel draws a loss."""
    bands = ax.collections[0]
    return bands.cmap(bands.norm(loss))


def bars(figure):
    return [child for ax in figure.axes for child in ax.child_axes]


@pytest.fixture(scope="module")
def four():
    return compare(one_each(CUT, PATHS))


@pytest.fixture(scope="module")
def two():
    return compare({"shallow": (CUT, PATHS), "steep": (STEEP, PATHS)}, note="before and after")


def test_one_optimizer_stands_in_each_panel_and_the_key_does_not_repeat_them(four):
    assert [ax.get_title() for ax in grounds(four)] == NAMES
    for name, ax in zip(NAMES, grounds(four), strict=True):
        assert [line.get_label() for line in ax.lines if not line.get_label().startswith("_")] == [name]
        assert same_color(ax.lines[1].get_color(), looks(NAMES)[name].color)
    said = [text.get_text() for legend in four.legends for text in legend.get_texts()]
    assert said[:2] == ["start", "end"]
    assert not set(NAMES) & set(said)


@pytest.mark.parametrize("made", ["four", "two"])
def test_the_same_loss_has_the_same_colour_in_every_panel_and_in_the_one_bar(made, request):
    figure = request.getfixturevalue(made)
    (bar,) = bars(figure)
    for loss in (0.1, 0.3, 2.0, 10.0, 100.0):
        assert len({colour_of(ax, loss) for ax in grounds(figure)}) == 1
    levels = {tuple(ax.collections[1].levels) for ax in grounds(figure)}
    assert len(levels) == 1
    low, high = sorted(bar.get_ylim())
    assert low <= min(*levels) < max(*levels) <= high


def test_levels_are_those_of_all_slices_or_the_ones_given(two):
    expected = loss_levels(np.concatenate([CUT.values.ravel(), STEEP.values.ravel()]), start=30 * BOWL[12, 15])
    assert grounds(two)[0].collections[1].levels[-1] <= expected[-1]
    figure = compare({"a": (CUT, {}), "b": (STEEP, {})}, levels=[0.1, 1.0, 5.0])
    assert [ax.collections[1].levels.tolist() for ax in grounds(figure)] == [[1.0, 5.0]] * 2
    assert colour_of(grounds(figure)[0], 90.0) == LANDSCAPE(LANDSCAPE.N - 1)


def test_panels_of_one_range_share_their_axes_and_others_have_each_its_own(four, two):
    labels = [(ax.get_xlabel(), ax.get_ylabel()) for ax in grounds(four)]
    assert labels == [("", "PC 2"), ("", ""), ("PC 1", "PC 2"), ("PC 1", "")]
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in grounds(two)] == [CUT.labels, STEEP.labels]
    strips = [ax for ax in four.axes if ax not in grounds(four)]
    assert len({ax.get_ylim() for ax in strips}) == len({ax.get_xlim() for ax in strips}) == 1
    assert strips[0].get_ylim()[1] >= 4.0


def test_numbers_stay_under_a_ground_that_has_a_strip_and_words_at_the_lowest(four):
    upper = four.axes[0]
    assert upper.xaxis.get_tick_params()["labelbottom"]
    bare = compare(one_each(CUT, dict.fromkeys(NAMES, WAY)))
    assert [ax.xaxis.get_tick_params()["labelbottom"] for ax in grounds(bare)] == [False, False, True, True]
    five = compare(one_each(CUT, dict.fromkeys((*NAMES, "Lion"), WAY)))  # the last row is not whole
    assert [ax.get_xlabel() for ax in grounds(five)] == ["", "", "PC 1", "PC 1", "PC 1"]


def test_strips_of_two_runs_share_one_range():
    far = {name: path._replace(residual=9 * path.residual) for name, path in PATHS.items()}
    figure = compare({"near": (CUT, PATHS), "far": (STEEP, far)})
    strips = [ax for ax in figure.axes if ax not in grounds(figure)]
    assert {ax.get_ylim() for ax in strips} == {strips[1].get_ylim()}
    assert len({ax.get_xlim() for ax in strips}) == 1
    assert strips[0].get_ylim()[1] >= 36


def test_one_column_holds_two_panels_in_a_row_whose_words_have_room():
    cut = CUT._replace(labels=("PC 1 (69.6% of path variance)", "PC 2 (13.0% of path variance)"))
    figure = compare(one_each(cut, PATHS), width=COLUMN)
    assert grounds(figure)[0].get_gridspec().ncols == 2
    assert {ax.get_ylabel() for ax in grounds(figure)} == {"PC 2", ""}
    assert "PC 1: 69.6% of path variance; PC 2: 13.0% of path variance." in words(figure)
    assert min(ax.get_position().width for ax in grounds(figure)) * COLUMN > 0.8
    figure.draw_without_rendering()
    assert (figure.get_tightbbox().extents[2:] <= figure.get_size_inches() + 0.01).all()
    wide = compare(one_each(cut, PATHS))
    assert {ax.get_xlabel() for ax in grounds(wide)} == {"", cut.labels[0]}


def test_the_bar_is_as_high_as_the_rows_it_stands_beside(four):
    four.draw_without_rendering()
    (bar,) = bars(four)
    boxes = [ax.get_position() for ax in grounds(four)]
    assert bar.get_position().y0 == pytest.approx(min(box.y0 for box in boxes))
    assert bar.get_position().y1 == pytest.approx(max(box.y1 for box in boxes))


@pytest.mark.parametrize("made", ["four", "two"])
def test_everything_lies_on_the_page(made, request):
    figure = request.getfixturevalue(made)
    figure.draw_without_rendering()
    box = figure.get_tightbbox().extents
    assert (box[:2] >= -0.01).all()
    assert (box[2:] <= figure.get_size_inches() + 0.01).all()
    assert figure.get_figwidth() == PAGE
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7


def test_other_quantities_are_each_named_above_their_panel():
    figure = compare({"a": (CUT, {}), "b": (CUT._replace(quantity="test loss"), {})})
    assert [ax.get_title() for ax in grounds(figure)] == [f"a\n{CUT.quantity}", "b\ntest loss"]
    assert "loss as named above" in words(figure)


def test_no_panels_are_refused():
    with pytest.raises(ValueError, match="panels is empty"):
        compare({})


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_input_is_the_same_bytes(kind):
    files = [io.BytesIO() for _ in range(2)]
    for file in files:
        compare(one_each(CUT, {"NAG": WAY})).savefig(file, format=kind, dpi=60)
    assert files[0].getvalue() == files[1].getvalue()


def test_ten_panels_are_the_same_bytes_too_though_the_solver_of_their_layout_differs_in_its_last_digits():
    files = [io.BytesIO() for _ in range(2)]
    for file in files:
        compare(one_each(CUT, {f"optimizer {i}": WAY for i in range(10)})).savefig(file, format="svg")
    assert len({file.getvalue() for file in files}) == 1


HOSTILE = {
    "constant": np.full_like(BOWL, 3.0),
    "all NaN": np.full_like(BOWL, np.nan),
    "half infinite": np.where(x > 0, np.inf, BOWL),
    "tiny": 1e-30 * BOWL,
    "huge": 1e30 * BOWL,
    "negative": -BOWL,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_any_loss_and_any_path_stand_beside_another(name):
    odd = CUT._replace(values=HOSTILE[name], labels=("x" * 40, "\u5b66\u7fd2\u7387 \U0001f600 \u0645"))
    paths = {"one point": WAY[:1], "off": WAY + 90, "lost": np.where(np.arange(20)[:, None] > 9, np.nan, WAY)}
    ten = {f"optimizer with a name of forty signs, no. {i}": WAY * (1 - 0.05 * i) for i in range(10)}
    for other in (CUT, odd):
        figure = compare({"odd": (odd, paths), "\u5b66" * 20: (other, ten)})
        figure.savefig(io.BytesIO(), format="png", dpi=50)
        assert ("no finite loss on this slice" in words(figure)) == (name == "all NaN")
        assert len(bars(figure)) == (0 if name == "all NaN" and other is odd else 1)
