from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.path import Path

from nagviz.figures import LANDSCAPE, draw_bar, draw_contours, draw_values, loss_levels
from nagviz.figures.contour import LONG, ROOM


class Cut(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    labels: tuple = ("PC 1 (94.1% of path variance)", "PC 2 (4.2% of path variance)")
    quantity: str = "train cross entropy, 1,437 samples"


x, y = np.linspace(-2, 2, 31), np.linspace(-1, 1, 21)
BOWL = 0.1 + x**2 + 3 * y[:, None] ** 2


def axes():
    ax = Figure(figsize=(3.35, 2.5)).subplots()
    ax.set(xlim=(-2, 2), ylim=(-1, 1))
    return ax


def painted(bands, point):
    """The colours of the bands that contain a point, in data coordinates."""
    return [
        color
        for path, color in zip(bands.get_paths(), bands.get_facecolor(), strict=True)
        if sum(Path(ring).contains_point(point) for ring in path.to_polygons()) % 2  # odd: no hole
    ]


def test_bands_have_the_levels_and_the_limits_of_the_slice():
    ax = axes()
    contours = draw_contours(ax, Cut(x, y, BOWL))
    np.testing.assert_array_equal(contours.levels, loss_levels(BOWL))
    np.testing.assert_array_equal(contours.lines.levels, contours.levels[1:])
    np.testing.assert_array_equal(contours.bands.levels[1:], contours.levels[1:])
    assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-1, 1))
    assert contours.hatch is None


def test_rows_are_y_and_columns_are_x():
    values = np.broadcast_to(x, (y.size, x.size)) + 2.0  # grows to the right only
    bands = draw_contours(axes(), Cut(x, y, values)).bands
    (left,), (right,) = painted(bands, (-1.9, 0.8)), painted(bands, (1.5, -0.8))
    assert left[0] > right[0]  # red falls as the ground darkens
    assert same_color(painted(bands, (-1.9, -0.8))[0], left)


@pytest.mark.parametrize("value", [0.0, 2.3, -2.3, 1e30, 1e-30])
def test_the_lowest_value_is_painted_as_the_lowest_band(value):
    constant = draw_contours(axes(), Cut(x, y, np.full(BOWL.shape, value)))
    (color,) = painted(constant.bands, (0.1, 0.1))
    assert same_color(color, LANDSCAPE(0))


@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-30])
@pytest.mark.parametrize("shift", [0.0, -7.0])
def test_bands_at_any_scale_and_sign(scale, shift):
    contours = draw_contours(axes(), Cut(x, y, scale * (BOWL + shift)))
    (deep,), (high,) = painted(contours.bands, (0.05, 0.02)), painted(contours.bands, (1.95, 0.98))
    assert same_color(deep, LANDSCAPE(0))
    assert same_color(high, LANDSCAPE(LANDSCAPE.N - 1))


def test_bands_overlap_their_neighbours_so_that_no_hairline_shows():
    bands = draw_contours(axes(), Cut(x, y, BOWL)).bands
    np.testing.assert_array_equal(bands.get_edgecolor(), bands.get_facecolor())
    assert min(bands.get_linewidth()) > 0
    assert not any(bands.get_antialiased()) or min(bands.get_linewidth()) >= 0.2


@pytest.mark.parametrize(
    ("levels", "extend"),
    [([0, 1, 9], "neither"), ([0, 1, 2], "max"), ([1, 2, 9], "min"), ([1, 2, 3], "both")],
)
def test_values_beyond_the_levels_are_shown_as_such(levels, extend):
    ax = axes()
    contours = draw_contours(ax, Cut(x, y, BOWL), levels)
    bar = draw_bar(ax, contours, "loss")
    assert contours.bands.extend == contours.norm.extend == bar.extend == extend
    assert len(painted(contours.bands, (1.95, 0.95))) == 1
    assert len(painted(contours.bands, (0.02, 0.02))) == 1


def test_what_is_not_finite_is_left_bare_over_a_hatch():
    values = BOWL.copy()
    values[15:, 20:] = np.nan
    values[2, 2] = np.inf
    ax = axes()
    contours = draw_contours(ax, Cut(x, y, values))
    assert contours.hatch.get_hatch()
    assert contours.hatch.get_zorder() < contours.bands.get_zorder()
    np.testing.assert_allclose(contours.hatch.get_bbox().extents, [-2, -1, 2, 1])
    assert painted(contours.bands, (1.5, 0.8)) == []
    assert painted(contours.bands, (x[2], y[2])) == []
    assert len(painted(contours.bands, (0.3, -0.3))) == 1
    assert np.isnan(values[15:, 20:]).all()


def test_a_slice_without_a_finite_value_is_all_hatch():
    ax = axes()
    contours = draw_contours(ax, Cut(x, y, np.full(BOWL.shape, np.nan)))
    assert contours.bands is contours.lines is contours.norm is None
    assert contours.hatch in ax.patches
    assert draw_values(ax, contours) == []
    assert draw_bar(ax, contours, "loss") is None


@pytest.mark.parametrize("levels", [[1, 1, 2], [3, 2, 1], [1]])
def test_levels_must_increase(levels):
    with pytest.raises(ValueError, match="increasing"):
        draw_contours(axes(), Cut(x, y, BOWL), levels)


def test_a_transposed_slice_is_refused():
    with pytest.raises(ValueError, match=r"\(31, 21\).*\(21, 31\).*transpose"):
        draw_contours(axes(), Cut(x, y, BOWL.T))


def test_a_line_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 31\): a line has no contours.*curves\(\)"):
        draw_contours(axes(), Cut(x, y[:1], BOWL[:1]))


def test_lines_of_negative_losses_are_solid_too():
    lines = draw_contours(axes(), Cut(x, y, BOWL - 9)).lines
    assert {style[1] for style in lines.get_linestyle()} == {None}


def points_on_page(ax, xy):
    return ax.transData.transform(xy) * 72 / ax.figure.dpi


def test_values_stand_on_their_lines_away_from_paths_edges_and_one_another():
    ax = axes()
    contours = draw_contours(ax, Cut(x, y, BOWL))
    path = np.stack([np.linspace(0, 2, 200), np.linspace(0, 1, 200)], axis=1)
    texts = draw_values(ax, contours, avoid=path)
    assert 3 <= len(texts) <= 6
    places = points_on_page(ax, [text.get_position() for text in texts])
    for text, place in zip(texts, places, strict=True):
        a, b = text.get_position()
        assert 0.1 + a**2 + 3 * b**2 == pytest.approx(float(text.get_text()), rel=0.03)
        assert np.linalg.norm(points_on_page(ax, path) - place, axis=1).min() > 0.95 * ROOM
        assert (place - ax.bbox.min * 0.72 > 0.95 * ROOM).all()
        assert (ax.bbox.max * 0.72 - place > 0.95 * ROOM).all()
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(len(texts), 1)]
    assert gaps.min() > ROOM
    assert min(text.get_fontsize() for text in texts) >= 7


def test_lines_without_room_say_nothing():
    ax = axes()
    contours = draw_contours(ax, Cut(x, y, BOWL))
    everywhere = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    assert draw_values(ax, contours, avoid=everywhere) == []
    assert LONG > ROOM


def test_the_bar_is_slim_as_high_as_the_axes_and_has_round_ticks():
    ax = axes()
    ax.set_aspect("equal")
    bar = draw_bar(ax, draw_contours(ax, Cut(x, y, BOWL)), "loss of the test set")
    ax.figure.draw_without_rendering()
    box, ground = bar.ax.get_position(), ax.get_position()
    point = 0.04 * box.height  # of the arrow that says "and above", which stands on the box
    assert (box.y0, box.y1 + point) == pytest.approx((ground.y0, ground.y1), abs=1e-3)
    assert box.width < 0.05 * ground.width
    assert bar.ax.get_ylabel() == "loss of the test set"
    labels = [label.get_text() for label in bar.ax.get_yticklabels()]
    assert 4 <= len(labels) <= 6
    np.testing.assert_allclose([float(label) for label in labels], bar.get_ticks())
    assert max(map(len, labels)) <= 4
    assert bar.ax.yaxis.get_minorticklocs().size == 0
