"""A diagnosis finds what is wrong with a picture, in numbers, and says what to do."""

import jax.numpy as jnp
import numpy as np
import pytest

import nagviz as nv
from nagviz.landscape.diagnosis import RANDOM_WALK, _under

EYE = np.eye(4)
PLANE = nv.Plane(np.zeros(4), (EYE[0], EYE[1]))
X, Y = np.linspace(-1, 3, 41), np.linspace(-2, 2, 41)  # the path's points are among the grid's
STEPS = np.linspace(1, 0, 11)[:, None]
PATH = STEPS * np.array([2.0, 1.0, 0.1, 0.0])  # straight to the origin, hardly off the plane


def bowl(w):
    return jnp.sum(w**2) + 1


def true_losses(points):
    return np.sum(points**2, axis=1) + 1


@pytest.fixture(scope="module")
def cut():
    return nv.evaluate(bowl, PLANE, X, Y)


def test_a_picture_that_is_all_right_has_no_warning(cut):
    report = nv.diagnose(cut, nv.project(PLANE, PATH), losses=true_losses(PATH), clip=20.0)
    assert report.warnings == {}
    share = 0.1 / np.sqrt(5.01)
    assert report.off_plane.numbers == pytest.approx({"median": share, "largest": share})
    off = -0.01 * STEPS[:, 0] ** 2 / true_losses(PATH)
    assert report.mismatch.numbers["median"] == pytest.approx(np.median(np.abs(off)), rel=1e-3)
    assert report.mismatch.numbers["worst"] == pytest.approx(off[0], rel=1e-3)
    assert report.explained.numbers["axis 1"] == pytest.approx(4 / 5.01)
    assert report.cells.numbers == {"clipped": 0, "nan": 0, "infinite": 0}
    # x has 1 of 2 to spare on either side, y 1 above and 2 below
    assert report.range.numbers == pytest.approx({"held": 1, "margin": 0.5})
    # a step of 0.1 climbs 0.01 of 5
    assert report.resolution.numbers["climb"] == pytest.approx(0.01 / 5, rel=1e-4)


def test_what_the_plane_hides_is_told(cut):
    far = PATH + STEPS * np.array([0, 0, 2.0, 0])
    report = nv.diagnose(cut, nv.project(PLANE, far), losses=true_losses(far))
    assert "hidden" in report.off_plane.text
    assert {"off_plane", "mismatch", "explained"} <= set(report.warnings)
    assert report.mismatch.numbers["worst"] == pytest.approx(-(2.1**2) / (1 + 5 + 2.1**2), rel=1e-2)


def test_the_limit_of_a_mismatch_is_five_per_cent(cut):
    path = nv.project(PLANE, PATH)
    under = true_losses(PATH) - (0.1 * STEPS[:, 0]) ** 2
    for factor, warned in ((1.049, False), (1.051, True), (0.951, False), (0.949, True)):
        report = nv.diagnose(cut, path, losses=under / factor)
        assert ("mismatch" in report.warnings) == warned
    assert "mismatch" not in nv.diagnose(cut, path).warnings
    assert "not looked at" in nv.diagnose(cut, path).mismatch.text


def test_a_random_walk_shows_what_is_quoted_beside_it():
    """The limit of many dimensions; from its end and about its mean the shares differ."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=(200, 20_000)).astype(np.float32), axis=0)
    path = nv.Trajectory(np.arange(200), walk)
    assert RANDOM_WALK["about its mean"] == pytest.approx((6 / np.pi**2, 1.5 / np.pi**2))
    for centred, origin in ((True, "about its mean"), (False, "from its end")):
        plane = nv.pca_plane(path, centred=centred)
        np.testing.assert_allclose(plane.explained, RANDOM_WALK[origin], atol=0.01)
        seen = nv.project(plane, path)
        ends = np.abs(seen.coordinates).max() * 1.2
        flat = nv.Slice(np.linspace(-ends, ends, 5), np.linspace(-ends, ends, 5), np.ones((5, 5)))
        found = nv.diagnose(flat, seen).explained
        assert origin in found.text
        assert (found.numbers["random walk 1"], found.numbers["random walk 2"]) == RANDOM_WALK[origin]


@pytest.mark.parametrize("walks", [1, 2, 3])
@pytest.mark.parametrize("centred", [False, True])
def test_random_walks_of_several_paths_show_what_is_quoted_for_them(walks, centred):
    rng = np.random.default_rng(walks)
    steps = [np.arange(0, 200 // (i + 1)) for i in range(walks)]
    paths = []
    for at in steps:
        moves = rng.normal(size=(len(at), 20_000)).astype(np.float32)
        moves[0] = 0  # all start from one point
        paths.append(nv.Trajectory(at, np.cumsum(moves, axis=0)))
    shown = nv.pca_plane(*paths, centred=centred).explained
    np.testing.assert_allclose(nv.random_walk(*steps, centred=centred), shown, atol=0.01)


def test_walks_of_no_path_are_refused_and_one_point_explains_nothing():
    with pytest.raises(ValueError, match="at least one path"):
        nv.random_walk()
    assert nv.random_walk(np.array([0])) == (0.0, 0.0)


def test_cells_are_counted_and_advised_on():
    values = np.ones((4, 5))
    values[0, 0], values[0, 1:3], values[1:] = np.nan, np.inf, 9
    cut = nv.Slice(np.arange(5.0), np.arange(4.0), values)
    path = nv.project(nv.Plane(np.zeros(2), (np.eye(2)[0], np.eye(2)[1])), np.array([[3.0, 3.0], [3.0, 0.0]]))
    report = nv.diagnose(cut, path, clip=5.0)
    assert report.cells.numbers == {"clipped": 0.75, "nan": 0.05, "infinite": 0.1}
    assert "narrow the range" in report.cells.advice
    assert "clip higher" in report.cells.advice
    assert nv.diagnose(cut._replace(values=np.ones((4, 5))), path).cells.advice == ""


def test_a_range_that_does_not_hold_the_path_is_told_with_one_that_does(cut):
    narrow = nv.Slice(cut.x[:21], cut.y, cut.values[:, :21])  # x from -1 to 1
    report = nv.diagnose(narrow, nv.project(PLANE, PATH))
    assert report.range.numbers["held"] == pytest.approx(6 / 11)
    assert report.range.numbers["margin"] == pytest.approx(-0.5)
    assert report.range.advice == "evaluate x from -0.4 to 2.4, y from -0.4 to 1.4"


def test_a_valley_between_two_points_of_the_grid_is_told_and_the_advice_resolves_it():
    steep = lambda w: 5 * (w[0] - 1) ** 2 + 2000 * w[1] ** 2  # noqa: E731
    plane = nv.Plane(np.zeros(2), (np.eye(2)[0], np.eye(2)[1]))
    path = nv.project(plane, np.array([[-1.0, 0.5], [1.0, 0.0]]))
    x = np.linspace(-2, 2, 21)
    report = nv.diagnose(nv.evaluate(steep, plane, x, x), path)
    assert report.resolution.numbers["climb"] == pytest.approx(2000 * 0.2**2 / 520, rel=0.05)
    wanted = int(report.resolution.advice.split("about ")[1].split()[0])
    finer = np.linspace(-2, 2, wanted | 1)
    assert "resolution" not in nv.diagnose(nv.evaluate(steep, plane, finer, finer), path).warnings


def test_points_that_are_not_finite_do_not_hide_the_others(cut):
    lost = PATH.copy()
    lost[4:7] = np.nan
    report = nv.diagnose(cut, nv.project(PLANE, lost), losses=true_losses(lost), clip=20.0)
    assert report.warnings == {}
    assert report.range.numbers["held"] == 1
    assert report.off_plane.numbers["median"] == pytest.approx(0.1 / np.sqrt(5.01))


def test_lines_and_several_quantities_are_looked_at_too():
    line = nv.Plane(np.zeros(4), (EYE[0],))
    cut = nv.evaluate(bowl, line, X)
    report = nv.diagnose(cut, nv.project(line, PATH), losses=true_losses(PATH))
    assert report.mismatch.numbers["worst"] == pytest.approx(-1.01 / 6.01, rel=0.01)
    both = cut._replace(values={"train": cut.values, "test": 2 * cut.values})
    for metric, worst in ((None, -1.01 / 6.01), ("test", 1.0)):
        report = nv.diagnose(both, nv.project(line, PATH), losses=true_losses(PATH), metric=metric)
        assert report.mismatch.numbers["worst"] == pytest.approx(worst, rel=0.01)
    with pytest.raises(ValueError, match=r"metric must be one of \['train', 'test'\], got 'loss'"):
        nv.diagnose(both, nv.project(line, PATH), metric="loss")


def test_the_slice_between_its_points_is_linear_and_infinite_neighbours_do_not_spill():
    grid = (np.array([0.0, 1.0, 4.0]), np.array([0.0, 2.0]))
    values = np.array([[0.0, 1.0, 4.0], [20.0, 21.0, np.inf]])
    at = np.array([[0.5, 1.0], [2.5, 0.0], [1.0, 2.0], [4.0, 0.0], [3.0, 1.0], [-0.1, 0.0], [0.0, 2.1]])
    np.testing.assert_array_equal(_under(grid, values, at), [10.5, 2.5, 21, 4, np.inf, np.nan, np.nan])


def test_batch_norm_is_spoken_of_where_there_is_any(cut):
    path = nv.project(PLANE, PATH)
    assert "batch norm" not in str(nv.diagnose(cut, path))
    assert "of batch norm: as the loss holds them" in str(nv.diagnose(cut, path, batch_norm=True))
    for mode, told in (("batch", "of each batch"), ("recomputed", "recomputed at every point")):
        assert f"of batch norm: {told}" in str(nv.diagnose(cut._replace(statistics=mode), path))


def test_the_summary_marks_what_needs_doing(cut):
    far = PATH + STEPS * np.array([0, 0, 2.0, 0])
    lines = str(nv.diagnose(cut, nv.project(PLANE, far))).splitlines()
    assert lines[0].startswith("! off plane")
    assert lines[1].strip().startswith("-> ")
    assert any(line.startswith("  range ") for line in lines)


@pytest.mark.parametrize(
    ("path", "losses", "message"),
    [
        (PATH[0], None, r"path must have coordinates of shape \(points, 2\).*got \(2,\)"),
        (PATH, np.ones(3), r"losses must be 11 numbers.*got \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(path, losses, message, cut):
    with pytest.raises(ValueError, match=message):
        nv.diagnose(cut, nv.project(PLANE, path), losses=losses)


def test_what_cannot_be_compared_is_told_and_not_passed_over():
    plane = nv.Plane(np.zeros(3), (np.eye(3)[0], np.eye(3)[1]))
    points = np.array([[2.0, 1.0, 0.5], [1.0, 0.5, 0.25], [0.0, 0.0, 0.0]])
    grid = [-3.0, 0.0, 3.0]

    def broken(w):
        return jnp.where(jnp.abs(w[:2]).max() > 0.1, jnp.nan, (w**2).sum() + 1)

    cut = nv.evaluate(broken, plane, grid, grid)
    found = nv.diagnose(cut, nv.project(plane, points), losses=[100.0, 50.0, 1.0]).mismatch
    assert found.numbers["not compared"] == pytest.approx(2 / 3)
    assert "66.7% of the path cannot be compared" in found.text
    assert found.advice
    smooth = nv.evaluate(lambda w: (w**2).sum() + 1, plane, grid, grid)
    found = nv.diagnose(smooth, nv.project(plane, points), losses=[np.inf, 2.3, 1.0]).mismatch
    assert found.numbers["not compared"] == pytest.approx(1 / 3)
