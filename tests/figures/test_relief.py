"""The relief is the slice, the paths lie on it, and the camera sees them."""

import io
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from matplotlib.text import Text

from nagviz.figures import Camera, draw_surface, looks, loss_levels, surface
from nagviz.figures.relief import AZIMUTHS, ELEVATIONS, best_camera, is_seen, sculpted
from nagviz.figures.style import COLUMN, Figure

x, y = np.linspace(-2, 2, 41), np.linspace(-2, 2, 31)
A, B = np.meshgrid(x, y)


class Cut(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    labels: tuple = ("PC 1 (94.1% of path variance)", "PC 2 (4.2% of path variance)")
    quantity: str = "train cross entropy, 1,437 samples"


BOWL = Cut(x, y, 1 + A**2 + 2 * B**2)
WALL = Cut(x, y, np.where(np.abs(A) < 0.3, 1.0, 0.0) + 1e-3 * (A**2 + B**2))  # along y, seen from x behind it
PATH = np.stack([np.linspace(-1.5, 0, 30), np.linspace(1.2, 0, 30)], axis=1)
RIGHT = np.column_stack([np.full(20, 1.0), np.linspace(-1, 1, 20)])  # of the wall


def on_axes(cut=BOWL, paths=None, **options):
    paths = {"NAG": PATH} if paths is None else paths
    ax = Figure(figsize=(3, 3)).add_subplot(projection="3d")
    return ax, draw_surface(ax, cut, paths, looks(paths), **options)


def test_heights_are_losses_up_to_the_last_level():
    levels = loss_levels(BOWL.values)
    body = sculpted(BOWL)
    assert not body.log
    np.testing.assert_array_equal(body.z, np.minimum(BOWL.values, levels[-1]))
    far = sculpted(BOWL._replace(values=BOWL.values**6))
    assert far.log
    np.testing.assert_allclose(10**far.z, np.minimum(BOWL.values**6, far.levels[-1]))
    assert not sculpted(BOWL._replace(values=BOWL.values**6 - 2)).log  # no logarithm of negative losses


def test_the_path_lies_on_the_relief():
    _, drawn = on_axes()
    a, b, z = np.array(drawn.seen["NAG"].get_data_3d())
    seen = np.isfinite(z)
    body = sculpted(BOWL)
    np.testing.assert_allclose(z[seen], 1 + a[seen] ** 2 + 2 * b[seen] ** 2, atol=0.02 * np.ptp(body.z))
    assert (z[seen] > body.lifted(np.column_stack([a, b])[seen])[:, 2]).all()
    assert len(drawn.body.get_facecolor()) == 40 * 30


def test_what_a_wall_stands_before_is_hidden():
    body = sculpted(WALL, [0.0, 0.01, 1.0])
    at = body.lifted(RIGHT)
    assert is_seen(body, at, Camera(0, 30)).all()  # from the right
    assert not is_seen(body, at, Camera(180, 20)).any()
    assert is_seen(body, at, Camera(180, 89)).all()  # from above
    holed = WALL._replace(values=np.where(np.abs(A) < 0.3, np.nan, WALL.values))
    assert is_seen(sculpted(holed, [0.0, 0.01, 1.0]), at, Camera(180, 20)).all()  # a hole hides nothing


def test_the_camera_goes_where_the_paths_are_seen():
    for mirrored in (RIGHT, -RIGHT):
        body = sculpted(WALL, [0.0, 0.01, 1.0])
        camera = best_camera(body, [body.lifted(mirrored)])
        assert is_seen(body, body.lifted(mirrored), camera).all()
        assert camera.azimuth in AZIMUTHS
        assert camera.elevation in ELEVATIONS
    assert best_camera(sculpted(BOWL), []) == best_camera(sculpted(BOWL), [np.full((3, 3), np.nan)])
    ax, drawn = on_axes(camera=Camera(10, 20))
    assert (ax.azim, ax.elev) == (10, 20) == tuple(drawn.camera)


def test_hidden_parts_are_faint_and_the_rest_is_not():
    _, drawn = on_axes(WALL, {"NAG": RIGHT}, levels=[0.0, 0.01, 1.0], camera=Camera(180, 20))
    assert not np.isfinite(drawn.seen["NAG"].get_data_3d()[2]).any()
    assert np.isfinite(drawn.hidden["NAG"].get_data_3d()[2]).all()
    assert drawn.hidden["NAG"].get_alpha() < 1
    assert drawn.seen["NAG"].get_alpha() is None


def test_the_floor_shows_the_contours_under_the_relief():
    ax, drawn = on_axes()
    low, high = ax.get_zlim()
    assert low < 1 < high
    assert len(ax.collections) >= 3  # bands, lines, body
    assert ax.collections.index(drawn.body) > 0
    assert drawn.body.get_rasterized()  # vectors of ten thousand faces are no figure


@pytest.fixture(scope="module")
def figure():
    return surface(BOWL, {"NAG": PATH, "Adam": PATH * [1, -1]}, title="Bowl", note="one epoch")


def test_everything_lies_on_the_page(figure):
    figure.draw_without_rendering()
    box = figure.get_tightbbox().extents
    assert (box[:2] >= -0.02).all()
    assert (box[2:] <= figure.get_size_inches() + 0.02).all()
    assert figure.get_figwidth() == COLUMN
    assert box[2] - box[0] > 0.9 * COLUMN


def test_axes_key_and_note_say_what_is_there(figure):
    ax = figure.axes[0]
    labels = [text.replace("\n", " ") for text in (ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel())]
    assert labels == [*BOWL.labels, BOWL.quantity]
    words = {text.get_text() for text in figure.findobj(Text)}
    assert {"NAG", "Adam", "start", "end", "Bowl"} < words
    said = " ".join(text.get_text().replace("\n", " ") for text in figure.texts)
    assert f"cut off at {loss_levels(BOWL.values)[-1]:g}" in said
    assert "one epoch" in said
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7


@pytest.mark.parametrize("kind", ["pdf", "png"])
def test_the_same_input_is_the_same_bytes(kind):
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        surface(BOWL, {"NAG": PATH}).savefig(file, format=kind, dpi=60)
    assert files[0].getvalue() == files[1].getvalue()


HOSTILE = {
    "constant": np.full_like(A, 3.0),
    "zero": np.zeros_like(A),
    "all NaN": np.full_like(A, np.nan),
    "half infinite": np.where(A > 0, np.inf, BOWL.values),
    "tiny": 1e-30 * BOWL.values,
    "huge": 1e30 * BOWL.values,
    "negative": -BOWL.values,
    "a line of finite ones": np.where(np.arange(31)[:, None] == 3, BOWL.values, np.nan),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_any_loss_gives_a_figure(name):
    figure = surface(BOWL._replace(values=HOSTILE[name]), {"NAG": PATH, "one point": PATH[:1], "off": PATH + 9})
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    said = " ".join(text.get_text() for text in figure.findobj(Text))
    assert ("no finite loss" in said) == (name == "all NaN")
    assert ("not finite" in said) == (not np.isfinite(HOSTILE[name]).all())


def test_ten_optimizers_lost_paths_and_narrow_slices_fit():
    lost = np.where(np.arange(30)[:, None] > 15, np.nan, PATH)
    surface(BOWL, {f"optimizer number {i}": lost * (1 - 0.1 * i) for i in range(10)}).draw_without_rendering()
    surface(BOWL._replace(x=x * 100, labels=("x" * 40, "学習率"))).draw_without_rendering()


def test_a_line_has_no_relief():
    with pytest.raises(ValueError, match="two rows and columns"):
        surface(BOWL._replace(y=y[:1], values=BOWL.values[:1]))


def test_a_path_is_drawn_as_far_as_it_is_finite_and_ends_there():
    path = np.array([[0.5, 0.5], [0.3, 0.2], [np.nan, 0.1], [0.0, 0.0]])
    ax = on_axes(paths={"NAG": path})[0]
    ends = [(line.get_marker(), line.get_data_3d()) for line in ax.lines if line.get_marker() in "*x"]
    assert [(mark, float(x[0]), float(y[0])) for mark, (x, y, _) in ends] == [("x", 0.3, 0.2)]  # a cross: it is lost
    words = {text.get_text() for text in surface(BOWL, {"NAG": path, "far": PATH * 99}).findobj(Text)}
    assert "not finite from here" in words
    assert any("Leaving the slice: far." in text for text in words)


def test_the_floor_is_drawn_of_the_slice_as_it_is_where_the_relief_is_cut_off():
    """The last line of a circular bowl is a circle; of the relief that is cut off there it is a staircase."""
    bowl = BOWL._replace(x=x, y=x, values=x**2 + x[:, None] ** 2)
    ax, _ = on_axes(bowl, {}, levels=[0.0, 0.3, 0.7])
    lines = next(c for c in ax.collections if isinstance(c, QuadContourSet) and not c.filled)
    *_, outline = lines.get_paths()
    radius = np.linalg.norm(outline.vertices[:, :2], axis=1)
    assert np.ptp(radius) < 0.01


def test_paths_under_others_are_told():
    figure = surface(BOWL, {"NAG": PATH, "SGD": PATH})
    assert any("Mostly under others: SGD." in text.get_text() for text in figure.texts)
    assert not any("under others" in text.get_text() for text in surface(BOWL, {"NAG": PATH, "SGD": -PATH}).texts)
