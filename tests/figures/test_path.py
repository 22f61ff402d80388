from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from nagviz.figures import draw_hidden, draw_path, looks
from nagviz.figures.path import spacing

LOOKS = looks(["SGD", "NAG"])
t = np.linspace(0, 1, 101)
SPIRAL = np.stack([np.cos(5 * t) * (1 - t), np.sin(5 * t) * (1 - t)], axis=1)


class Projected(NamedTuple):
    coordinates: np.ndarray
    residual: np.ndarray | None = None
    steps: np.ndarray | None = None


def axes(extent=1.2):
    ax = Figure(figsize=(3, 3), dpi=72).subplots()
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent))
    return ax


def test_core_over_a_paler_and_wider_halo():
    ax = axes()
    drawn = draw_path(ax, SPIRAL, LOOKS["SGD"], "SGD")
    halo = ax.lines[0]
    np.testing.assert_array_equal(halo.get_xydata(), drawn.line.get_xydata())
    assert list(ax.lines).index(halo) < list(ax.lines).index(drawn.line)
    assert halo.get_linewidth() > drawn.line.get_linewidth() + 1
    assert same_color(halo.get_color(), "white")
    assert halo.is_dashed() is False
    assert drawn.line.is_dashed()
    assert same_color(drawn.line.get_color(), LOOKS["SGD"].color)
    assert drawn.line.get_label() == "SGD"


def test_dots_stand_at_equal_steps():
    dots = draw_path(axes(), SPIRAL, LOOKS["NAG"], every=20).dots
    np.testing.assert_array_equal(dots.get_xydata(), SPIRAL[20::20])
    assert dots.get_marker() == LOOKS["NAG"].marker


def test_dots_follow_the_steps_of_a_record():
    kept = Projected(SPIRAL[::4], steps=np.arange(0, 101, 4))
    dots = draw_path(axes(), kept, LOOKS["NAG"], every=20).dots
    np.testing.assert_array_equal(dots.get_xydata(), SPIRAL[20::20])


def test_dots_are_few_by_default():
    for length in (2, 13, 100, 1000, 12345):
        dots = draw_path(axes(), np.random.default_rng(0).normal(size=(length, 2)), LOOKS["SGD"]).dots
        assert 1 <= len(dots.get_xydata()) <= 12
    assert [spacing(count) for count in (1, 12, 13, 24, 25, 600)] == [1, 1, 2, 2, 5, 50]


def test_an_open_circle_at_the_start_and_a_star_at_the_end_above_all_paths():
    ax = axes()
    first = draw_path(ax, SPIRAL, LOOKS["SGD"])
    second = draw_path(ax, -SPIRAL, LOOKS["NAG"])
    np.testing.assert_array_equal(first.start.get_xydata(), SPIRAL[:1])
    np.testing.assert_array_equal(first.end.get_xydata(), SPIRAL[-1:])
    assert (first.start.get_marker(), first.end.get_marker()) == ("o", "*")
    assert same_color(first.start.get_markerfacecolor(), "white")
    assert same_color(first.start.get_markeredgecolor(), LOOKS["SGD"].color)
    assert same_color(first.end.get_markerfacecolor(), LOOKS["SGD"].color)
    assert min(first.start.zorder, first.end.zorder) > max(second.line.zorder, second.dots.zorder)


def test_nag_is_drawn_over_the_others_whatever_came_first():
    ax = axes()
    nag, sgd = (draw_path(ax, SPIRAL, LOOKS[name]) for name in ("NAG", "SGD"))
    assert nag.line.zorder > sgd.dots.zorder
    assert nag.line.get_linewidth() > sgd.line.get_linewidth()


def test_arrowheads_lie_on_the_path_and_point_along_it():
    path = np.stack([np.linspace(-1, 1, 50), np.zeros(50)], axis=1)
    arrows = draw_path(axes(), path, LOOKS["NAG"]).arrows
    assert 2 <= len(arrows) <= 4
    assert all(isinstance(arrow, FancyArrowPatch) for arrow in arrows)
    for arrow in arrows:
        (ax0, ay0), (ax1, ay1) = arrow._posA_posB
        assert -1 < ax0 < ax1 < 1
        assert ay0 == ay1 == 0


def test_arrowheads_keep_to_what_is_seen_of_a_path():
    arrows = draw_path(axes(0.5), SPIRAL * 3, LOOKS["NAG"]).arrows
    assert arrows
    assert np.abs([arrow._posA_posB for arrow in arrows]).max() <= 0.55


def test_a_short_path_has_fewer_arrowheads():
    assert draw_path(axes(100), SPIRAL, LOOKS["NAG"]).arrows == []


def test_long_paths_are_thinned_to_what_is_seen():
    ax = axes()
    t = np.linspace(0, 1, 200_001)
    spiral = np.stack([np.cos(5 * t) * (1 - t), np.sin(5 * t) * (1 - t)], axis=1)
    kept = draw_path(ax, spiral, LOOKS["SGD"]).line.get_xydata()
    assert 100 < len(kept) < 3000
    np.testing.assert_array_equal(kept[[0, -1]], spiral[[0, -1]])
    step = np.linalg.norm(np.diff(ax.transData.transform(kept), axis=0), axis=1)
    assert step.max() < 1.0  # points


def test_a_path_of_one_point_has_both_ends_there():
    drawn = draw_path(axes(), SPIRAL[:1], LOOKS["NAG"])
    np.testing.assert_array_equal(drawn.start.get_xydata(), drawn.end.get_xydata())
    assert drawn.arrows == []
    assert len(drawn.dots.get_xydata()) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_path_that_stops_being_finite_ends_there_with_a_cross(bad):
    path = SPIRAL.copy()
    path[60, 1] = bad
    drawn = draw_path(axes(), path, LOOKS["SGD"])
    assert drawn.end.get_marker() == "x"
    np.testing.assert_array_equal(drawn.end.get_xydata(), path[59:60])
    np.testing.assert_array_equal(drawn.line.get_xydata()[-1], path[59])


@pytest.mark.parametrize("path", [np.zeros((5, 3)), np.zeros(4), np.empty((0, 2)), np.full((3, 2), np.nan)])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match=r"path has coordinates of shape .*give \(T, 2\)"):
        draw_path(axes(), path, LOOKS["SGD"])


def test_the_strip_shows_each_residual_by_step():
    ax = Figure().subplots()
    paths = {
        "SGD": Projected(SPIRAL, residual=t, steps=10 * np.arange(101)),
        "NAG": Projected(SPIRAL, residual=t**2),
        "unknown": SPIRAL,
    }
    lines = draw_hidden(ax, paths, looks(paths))
    assert set(lines) == {"SGD", "NAG"}
    np.testing.assert_array_equal(lines["SGD"].get_xydata(), np.stack([10 * np.arange(101), t], 1))
    np.testing.assert_array_equal(lines["NAG"].get_xydata(), np.stack([np.arange(101), t**2], 1))
    assert same_color(lines["NAG"].get_color(), looks(paths)["NAG"].color)
    assert ax.get_ylim()[0] == 0
    assert ax.get_xlabel() == "step"
    assert "off the plane" in ax.get_ylabel()
