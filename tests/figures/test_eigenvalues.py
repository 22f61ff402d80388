"""Eigenvalues stand in a panel for each optimizer, under one scale, with the limit as a line."""

import numpy as np
import pytest

from nagviz import figures
from nagviz.figures import Spectrum, looks

STEPS = np.arange(0, 50, 5)
VALUES = np.stack([30 - 20 * 0.9**STEPS, 8 + 0.1 * STEPS], axis=1)
RECORDS = {"NAG": Spectrum(STEPS, VALUES, np.full(10, 27.125)), "Adam": Spectrum(STEPS, VALUES)}


def test_curves_and_limit_are_the_numbers_given():
    figure = figures.spectrum(RECORDS)
    limited, free = figure.axes
    first, second, limit = limited.lines
    np.testing.assert_array_equal(first.get_ydata(), VALUES[:, 0])
    np.testing.assert_array_equal(second.get_ydata(), VALUES[:, 1])
    np.testing.assert_array_equal(limit.get_xydata(), np.stack([STEPS, np.full(10, 27.125)], axis=1))
    assert limit.get_linestyle() == "-"  # since a method's own curve may be dashed
    assert limited.get_title() == "NAG: unstable above 27.1"
    assert len(free.lines) == 2
    assert free.get_title() == "Adam"
    assert free.get_ylim() == limited.get_ylim()
    assert {first.get_color(), second.get_color()} == {looks(RECORDS)["NAG"].color}


def test_the_key_names_the_limit_only_where_one_is_drawn():
    def words(records):
        return {text.get_text() for legend in figures.spectrum(records).legends for text in legend.get_texts()}

    below = "the eigenvalues below the largest"
    assert words(RECORDS) == {"NAG", "Adam", below, "stability limit"}
    assert words({"Adam": RECORDS["Adam"]}) == {"Adam", below}
    assert words({"Adam": Spectrum(STEPS, VALUES[:, :1])}) == {"Adam"}


@pytest.mark.parametrize("record", [Spectrum(STEPS, VALUES[:, 0]), Spectrum(STEPS, VALUES, np.ones(3))])
def test_shapes_that_do_not_go_together_are_told(record):
    with pytest.raises(ValueError, match="give \\(T,\\), \\(T, count\\) and \\(T,\\) or None"):
        figures.spectrum({"NAG": record})
