"""The fields are the gradient of the slice and the look-ahead of the path."""

import re
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.text import Text

from nagviz.figures import draw_field, draw_lookahead, draw_streams, field, looks, style
from nagviz.figures.arrows import LONGEST, SPACE, slopes
from nagviz.figures.grids import read
from nagviz.figures.labels import frame
from nagviz.figures.style import Figure

x, y = np.linspace(-2, 2, 41), np.linspace(-1, 3, 31)
A, B = np.meshgrid(x, y)


class Cut(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    labels: tuple = ("PC 1", "PC 2")
    quantity: str = "loss"
    gradient: np.ndarray | None = None


BOWL = Cut(x, y, A**2 + 3 * A * B + 4 * B**2)
SLOPE = np.stack([2 * A + 3 * B, 3 * A + 8 * B], axis=-1)
PATH = np.stack([np.linspace(-1.5, 1, 60), np.linspace(2, 0, 60) ** 2 / 4], axis=1)


def settled(cut=BOWL):
    figure = Figure(figsize=(3, 3))
    ax = figure.subplots()
    ax.set(xlim=(cut.x[0], cut.x[-1]), ylim=(cut.y[0], cut.y[-1]))
    figure.settle()
    return ax


def test_differences_are_exact_for_a_quadratic_inside_and_a_given_gradient_everywhere():
    found, exact = slopes(BOWL)
    assert not exact
    np.testing.assert_allclose(found[1:-1, 1:-1], -SLOPE[1:-1, 1:-1], atol=1e-12)
    found, exact = slopes(BOWL._replace(gradient=SLOPE))
    assert exact
    np.testing.assert_array_equal(found, -SLOPE)


def test_between_grid_points_a_linear_field_is_read_exactly():
    at = np.random.default_rng(0).uniform([-2, -1], [2, 3], (50, 2))
    np.testing.assert_allclose(read(BOWL, SLOPE, at)[:, 0], 2 * at[:, 0] + 3 * at[:, 1], atol=1e-12)
    assert np.isnan(read(BOWL, SLOPE, np.array([[2.1, 0.0]]))).all()
    holes = np.where(A > 0, np.nan, BOWL.values)
    assert np.isfinite(read(BOWL, holes, np.array([[0.0, y[3]]]))).all()  # a point beside a hole is known


def test_arrows_point_downhill_at_equal_distances_and_are_longest_where_it_is_steepest():
    ax = settled()
    arrows = draw_field(ax, BOWL._replace(gradient=SLOPE))
    ways = np.stack([arrows.U, arrows.V], axis=-1)
    at = arrows.XY
    slope = np.stack([2 * at[:, 0] + 3 * at[:, 1], 3 * at[:, 0] + 8 * at[:, 1]], axis=-1)
    on = frame(ax)
    down = -slope / on.scale
    cosine = (ways * down).sum(-1) / np.linalg.norm(ways, axis=-1) / np.linalg.norm(down, axis=-1)
    np.testing.assert_allclose(cosine, 1, atol=1e-9)
    lengths, steep = np.linalg.norm(ways, axis=-1), np.linalg.norm(slope, axis=-1)
    words = said(field(BOWL._replace(gradient=SLOPE)))
    told = re.search(r"longest from a slope of (\S+) on, (\d+)% as long at a quarter", words)
    assert lengths[steep > 1.05 * float(told[1])] == pytest.approx(SPACE * LONGEST)
    quarter = np.interp(float(told[1]) / 4, np.sort(steep), lengths[np.argsort(steep)])
    assert quarter == pytest.approx(int(told[2]) / 100 * SPACE * LONGEST, rel=0.02)
    assert lengths.max() == pytest.approx(SPACE * LONGEST)
    order = np.argsort(np.linalg.norm(slope, axis=-1))
    assert (np.diff(lengths[order]) > -1e-9).all()
    columns = np.unique(on.points(at)[:, 0].round(6))
    np.testing.assert_allclose(np.diff(columns), np.diff(columns)[0])
    assert len(at) == len(columns) * len(np.unique(on.points(at)[:, 1].round(6)))


def test_no_arrow_stands_where_there_is_no_slope():
    flat = np.where(A < 0, 1.0, BOWL.values)
    assert (draw_field(settled(), BOWL._replace(values=flat)).XY[:, 0] > -0.2).all()
    holes = np.where(A < 0, np.nan, BOWL.values)
    assert (draw_field(settled(), BOWL._replace(values=holes)).XY[:, 0] > 0).all()
    assert len(draw_field(settled(), BOWL._replace(values=np.full_like(A, np.nan))).XY) == 0


def test_the_lookahead_starts_at_iterates_and_ends_at_look_ahead_points():
    ax = settled()
    shift = np.array([0.3, -0.1])
    ahead = PATH + shift
    hero = looks(["NAG"])["NAG"]
    drawn = draw_lookahead(ax, PATH, ahead, hero)
    stems = drawn.stems.get_xydata().reshape(-1, 3, 2)
    np.testing.assert_allclose(stems[:, 1] - stems[:, 0], np.broadcast_to(shift, (len(stems), 2)), atol=1e-12)
    np.testing.assert_array_equal(drawn.points.get_xydata(), stems[:, 1])
    assert stems[0, 0].tolist() == PATH[0].tolist()
    assert {tuple(point) for point in stems[:, 0]} <= {tuple(point) for point in PATH}
    assert 10 < len(stems) < 60
    unknown = np.where(np.arange(60)[:, None] > 30, np.nan, ahead)
    assert np.isfinite(draw_lookahead(settled(), PATH, unknown, hero).points.get_xydata()).all()


def test_the_look_ahead_has_a_mark_that_no_path_has():
    every = looks(["NAG", *(f"rival {i}" for i in range(9))])
    points = draw_lookahead(settled(), PATH, PATH + 0.1, every["NAG"]).points
    assert points.get_markerfacecolor() == style.PAPER
    assert {(look.marker, style.spot(look)["mfc"]) for look in every.values()}.isdisjoint({("o", style.PAPER)})


def test_as_many_look_ahead_points_as_iterates():
    ax, ahead = settled(), PATH + 0.1
    with pytest.raises(ValueError, match="lookaheads has 59 points and path 60"):
        draw_lookahead(ax, PATH, ahead[1:], looks(["NAG"])["NAG"])


def said(figure):
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def test_the_figure_says_where_its_gradient_comes_from():
    figure = field(BOWL, {"NAG": PATH}, {"NAG": PATH + 0.1}, note="one epoch", title="Bowl")
    assert "Arrows: the negative gradient, from differences of the slice; longest from a slope of" in said(figure)
    assert "where a path's method looks ahead to" in said(figure)
    assert "one epoch" in said(figure)
    assert figure.axes[0].get_title() == "Bowl"
    figure = field(BOWL._replace(gradient=SLOPE), streams=True)
    assert "Lines: the negative gradient, as evaluated." in said(figure)
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7
    with pytest.raises(ValueError, match="lookaheads has an entry 'Adam' that paths has not"):
        field(BOWL, {"NAG": PATH}, {"Adam": PATH})


def test_streamlines_leave_the_limits_alone():
    ax = settled()
    drawn = draw_streams(ax, BOWL)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-1, 3))
    assert len(drawn.lines.get_segments()) > 50


HOSTILE = {
    "constant": np.full_like(A, 3.0),
    "all NaN": np.full_like(A, np.nan),
    "half infinite": np.where(A > 0, np.inf, BOWL.values),
    "tiny": 1e-30 * BOWL.values,
    "huge": 1e30 * BOWL.values,
    "negative": -BOWL.values,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("streams", [False, True])
def test_any_loss_gives_a_figure(name, streams):
    paths = {"one point": PATH[:1], "far": PATH * 1e6, "x" * 40: PATH, "随机梯度下降": PATH}
    cut = BOWL._replace(values=HOSTILE[name], labels=("主成分 1", "x" * 40), quantity="Потеря")
    figure = field(cut, paths, {"one point": PATH[:1] + 0.1}, streams=streams)
    figure.draw_without_rendering()
    assert ("the slice has no slope anywhere" in said(figure)) == (name in ("constant", "all NaN"))


def test_ten_optimizers_fit():
    paths = {f"optimizer number {i}": PATH + 0.05 * i for i in range(10)}
    field(BOWL, paths, {name: path + 0.1 for name, path in paths.items()}).draw_without_rendering()


def test_a_line_has_no_field():
    with pytest.raises(ValueError, match="two rows and columns"):
        field(BOWL._replace(y=y[:1], values=BOWL.values[:1]))
    with pytest.raises(ValueError, match="two rows and columns"):
        slopes(BOWL._replace(y=None, values=np.ones(5)))
