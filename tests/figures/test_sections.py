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
    assert left.get_ylabel() == other.get_ylabel() == "cross entropy"
    assert left.get_ylim() == other.get_ylim()
    assert left.get_yscale() == other.get_yscale() == "log"
    assert right.get_ylim() == (0, 1)
    assert right.get_ylabel() == "train accuracy / test accuracy"
    marks = [line for line in left.lines if line.get_linestyle() == "None"]
    assert [line.get_xdata()[0] for line in marks] == [0.0, 1.0]
    np.testing.assert_allclose(marks[0].get_ydata(), [0.01, 0.05], atol=1e-12)
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == [*LINE.losses, *shares, "NAG", "Adam"]


def test_no_panels_are_refused():
    with pytest.raises(ValueError, match="panels is empty"):
        cuts({})


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_input_is_the_same_bytes(kind):
    files = [io.BytesIO() for _ in range(2)]
    for file in files:
        cuts({"": LINE}).savefig(file, format=kind, dpi=60)
    assert files[0].getvalue() == files[1].getvalue()
