"""Losses along lines."""

import io

import numpy as np
import pytest

from nagviz.figures import Line, cuts, draw_cut
from nagviz.figures.style import Figure

AT = np.linspace(-0.5, 1.5, 41)
LINE = Line(
    AT,
    {"train loss": 0.01 + (AT * (1 - AT)) ** 2, "test loss": 0.05 + (AT * (1 - AT)) ** 2},
    {"NAG": 0.0, "Adam": 1.0},
    "from NAG to Adam",
    "cross entropy",
)


def test_curves_along_a_line_are_as_they_are_and_differ_in_their_dashes():
    values = np.where(np.arange(41) == 3, np.inf, AT)
    drawn = draw_cut(Figure().subplots(), AT, {"train": values, "test": AT, "more": AT})
    np.testing.assert_array_equal(drawn["train"].get_ydata(), np.where(np.arange(41) == 3, np.nan, AT))
    assert not drawn["train"].is_dashed()
    assert len({str(line._dash_pattern) for line in drawn.values()}) == 3
    with pytest.raises(ValueError, match=r"x has shape \(41,\) and values\['test'\] \(40,\)"):
        draw_cut(Figure().subplots(), AT, {"test": AT[1:]})


def test_losses_are_read_on_the_left_shares_on_the_right_and_solutions_are_marked():
    shares = {"train accuracy": 1 - AT**2 / 9, "test accuracy": 0.9 - AT**2 / 9}
    figure = cuts({"one": LINE._replace(shares=shares), "two": LINE})
    left, right, other = figure.axes
    assert left.get_ylabel() == "cross entropy"
    assert left.get_ylim() == other.get_ylim()
    assert left.get_yscale() == other.get_yscale() == "log"
    assert right.get_ylim() == (0, 1)
    assert right.get_ylabel() == "train accuracy / test accuracy"
    marks = [line for line in left.lines if line.get_linestyle() == "None"]
    assert [line.get_xdata()[0] for line in marks] == [0.0, 1.0]
    np.testing.assert_allclose(marks[0].get_ydata(), [0.01, 0.05], atol=1e-12)
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == [*LINE.losses, *shares, "NAG", "Adam"]


def test_a_mark_off_the_line_is_refused():
    for at in (2.0, -0.6, np.nan):
        with pytest.raises(ValueError, match=r"marks\['NAG'\] is .*: must be from -0.5 to 1.5, where the line is"):
            cuts({"": LINE._replace(marks={"NAG": at})})


def test_panels_share_one_range_and_their_labels_unless_told_otherwise():
    high = LINE._replace(losses={name: 1e4 * values for name, values in LINE.losses.items()})
    panels = {"one": LINE, "two": high, "three": LINE, "four": LINE}
    shared, own = cuts(panels), cuts(panels, shares=False)
    ((low, top),) = {ax.get_ylim() for ax in shared.axes}
    assert low < LINE.losses["train loss"].min()
    assert top > high.losses["test loss"].max()
    assert [ax.get_ylabel() for ax in shared.axes] == ["cross entropy", "", "cross entropy", ""]
    assert [ax.get_xlabel() for ax in shared.axes] == ["", "", "from NAG to Adam", "from NAG to Adam"]
    assert own.axes[1].get_ylim()[0] > own.axes[0].get_ylim()[1]
    assert own.axes[1].yaxis.get_tick_params()["labelleft"]
    some = cuts(panels, shares=["one", "three"])
    assert some.axes[0].get_ylim() == some.axes[2].get_ylim() != some.axes[1].get_ylim()


@pytest.mark.parametrize(("width", "columns"), [(2.0, 1), (3.35, 2), (6.9, 3)])
def test_panels_stand_side_by_side_as_far_as_a_page_is_wide(width, columns):
    axes = cuts(dict.fromkeys("abcde", LINE), width=width).axes
    assert axes[0].get_gridspec().ncols == columns


def test_no_panels_are_refused():
    with pytest.raises(ValueError, match="panels is empty"):
        cuts({})


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_input_is_the_same_bytes(kind):
    files = [io.BytesIO() for _ in range(2)]
    for file in files:
        cuts({"": LINE}).savefig(file, format=kind, dpi=60)
    assert files[0].getvalue() == files[1].getvalue()


def test_the_numbers_of_an_axis_are_in_one_format():
    x = np.linspace(0, 1, 41)
    figure = cuts({"deep": Line(x, {"loss": 10 ** (-6 * x)})})
    figure.draw_without_rendering()
    ax = figure.axes[0]
    low, high = ax.get_ylim()
    shown = [t.get_text() for t, at in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True) if low <= at <= high]
    assert len(shown) > 2
    assert all(text.startswith("$10^") for text in shown)
