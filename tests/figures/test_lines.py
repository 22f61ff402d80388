import io

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text

from nagviz.figures import PAGE, curves, draw_band, draw_curve, looks

t = np.arange(200)
NAMES = ["SGD", "NAG"]


def series(values):
    return {name: (t, values * (index + 1)) for index, name in enumerate(NAMES)}


LOSS = series(3 * 0.97**t)


def scale(values):
    return curves({"quantity": {"NAG": (t[: len(values)], values)}}).axes[0].get_yscale()


def test_a_curve_is_as_it_is_with_gaps_where_it_is_not_finite():
    values = 3 * 0.97**t
    values[[5, 6, 50]] = np.nan, np.inf, -np.inf
    line = draw_curve(Figure().subplots(), t, values, looks(["NAG"])["NAG"], "NAG")
    expected = np.where(np.isfinite(values), values, np.nan)
    np.testing.assert_array_equal(line.get_xydata(), np.stack([t, expected], axis=1))
    assert line.get_label() == "NAG"
    assert np.isinf(values[6])


def test_a_curve_has_the_look_of_its_path():
    look = looks(NAMES)["SGD"]
    line = draw_curve(Figure().subplots(), t, t, look)
    assert same_color(line.get_color(), look.color)
    assert line.get_marker() == look.marker
    assert line.is_dashed()
    assert t[:: line.get_markevery()].size <= 8


def test_a_curve_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"steps has shape \(200,\) and values \(199,\).*\(T,\)"):
        draw_curve(Figure().subplots(), t, t[1:], looks(["NAG"])["NAG"])


def test_the_axis_is_logarithmic_where_it_belongs():
    assert scale(3 * 0.97**t) == "log"
    assert scale(1 + 1 / (1 + t)) == "linear"  # less than a decade
    assert scale(3 * 0.97**t - 1e-2) == "linear"  # not positive
    assert scale(np.array([1e-3, 1.0, 0.0])) == "linear"
    assert scale(np.array([5.0, np.nan, np.inf, 0.01])) == "log"
    assert scale(1.01**t * 2) == "linear"
    assert scale(1.1**t) == "log"  # divergence is
    assert scale(1 - 0.95 * 0.9**t) == "linear"  # accuracy
    assert scale(0.5 * 0.9**t) == "log"  # error rate
    assert scale(np.full(3, np.nan)) == "linear"


def test_a_loss_that_falls_to_zero_by_decades_is_on_a_logarithmic_axis_that_it_leaves():
    falling = np.where(t > 150, 0, 0.9**t)
    assert scale(falling) == "log"
    assert scale(np.where(t > 150, 0, 1 - t / 200)) == "linear"
    assert scale(falling - 1e-3) == "linear"


def test_log_axes_have_plain_ticks_that_label_more_than_one_line():
    for decay in (0.985, 0.98, 0.97):
        figure = curves({"loss": {"NAG": (t, decay**t)}})
        figure.savefig(io.BytesIO(), format="png", dpi=50)
        low, high = figure.axes[0].get_ylim()
        ticks = [tick for tick in figure.axes[0].get_yticks() if low <= tick <= high]
        assert 3 <= len(ticks) <= 9
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert "0.1" in labels
        assert not any("10^{-1}" in label for label in labels)


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2))])
def test_panels_stand_side_by_side_and_four_two_by_two(count, shape):
    figure = curves({f"panel {index}": LOSS for index in range(count)})
    assert figure.axes[0].get_gridspec().get_geometry() == shape
    assert [ax.get_ylabel() for ax in figure.axes] == [f"panel {index}" for index in range(count)]
    assert {ax.get_xlabel() for ax in figure.axes} == {"step"}
    assert figure.get_figwidth() == PAGE


def test_one_key_for_all_panels_under_them():
    figure = curves({"loss": LOSS, "accuracy": {"Adam": (t, t / 200)}}, note="one seed")
    figure.draw_without_rendering()
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["SGD", "NAG", "Adam"]
    assert key.get_window_extent().y1 <= min(ax.get_tightbbox().y0 for ax in figure.axes) + 1
    assert "one seed" in {text.get_text() for text in figure.texts}
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7


def test_a_run_keeps_its_looks():
    run = looks(["SGD", "Adam", "NAG"])
    line = curves({"loss": {"Adam": (t, t)}}, looks=run).axes[0].lines[0]
    assert same_color(line.get_color(), run["Adam"].color)


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_input_is_the_same_bytes_whatever_the_callers_settings(kind):
    first, second = io.BytesIO(), io.BytesIO()
    curves({"loss": LOSS}).savefig(first, format=kind, dpi=60)
    with matplotlib.rc_context({"font.size": 20.0, "axes.grid": True}):
        before = dict(matplotlib.rcParams)
        curves({"loss": LOSS}).savefig(second, format=kind, dpi=60)
        assert dict(matplotlib.rcParams) == before
    assert first.getvalue() == second.getvalue()


def test_no_panels_are_refused():
    with pytest.raises(ValueError, match="panels is empty"):
        curves({})


def test_restarts_are_ticks_on_their_curve():
    steps = np.arange(0, 100, 10)
    values = 0.9**steps
    figure = curves({"gap": {"NAG": (steps, values, [30, 70]), "SGD": (steps, values, [])}})
    ticks = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    np.testing.assert_allclose(ticks[0].get_xydata(), [[30, 0.9**30], [70, 0.9**70]])
    assert len(ticks[1].get_xydata()) == 0
    names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "restart" in names


def test_steps_are_logarithmic_where_curves_differ_in_length_by_more_than_four():
    def panel(*lengths):
        series = {f"curve {n}": (np.arange(n + 1), np.full(n + 1, 0.5)) for n in lengths}
        return curves({"loss": series}).axes[0]

    assert panel(100, 400).get_xscale() == "linear"
    assert panel(100, 401).get_xscale() == "log"


def test_a_dollar_in_a_name_is_a_dollar():
    figure = curves({"$a_b": {"$x$ and $": (np.arange(3), np.ones(3)), "NAG": (np.arange(3), np.ones(3))}})
    figure.savefig(io.BytesIO(), format="png")
    assert figure.legends[0].get_texts()[0].get_text() == "$x$ and $"


def test_a_band_reaches_one_spread_to_either_side_and_leaves_gaps():
    steps, values, spread = np.arange(6.0), np.array([5.0, 4, 3, np.nan, 2, 1]), np.full(6, 0.5)
    band = draw_band(Figure().subplots(), steps, values, spread, looks(["NAG"])["NAG"])
    first, second = (path.vertices for path in band.get_paths())
    assert (first[:, 0].max(), second[:, 0].min()) == (2, 4)
    for x, mean in [(0, 5), (2, 3)]:
        assert {y for a, y in first.tolist() if a == x} == {mean - 0.5, mean + 0.5}
    with pytest.raises(ValueError, match=r"spread \(5,\): give all as \(T,\)"):
        draw_band(Figure().subplots(), steps, values, spread[1:], looks(["NAG"])["NAG"])


def test_a_spread_is_drawn_under_its_curve_and_an_angle_is_never_on_a_logarithmic_axis():
    angle = np.geomspace(1, 170, 200)
    figure = curves({"loss": {"NAG": (t, 0.9**t, t[:0], 0.1 * 0.9**t)}, "angle": {"NAG": (t, angle)}}, linear=["angle"])
    loss, turn = figure.axes
    assert (loss.get_yscale(), turn.get_yscale()) == ("log", "linear")
    (band,) = loss.collections
    assert band.get_zorder() < loss.lines[0].get_zorder()
    assert same_color(band.get_facecolor()[0, :3], loss.lines[0].get_color())
    assert not turn.collections
