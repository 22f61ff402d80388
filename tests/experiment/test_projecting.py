"""Of a model too big to keep, a run keeps where its paths lie in one plane, and tells all that it can tell of them."""

import json
import re

import jax
import numpy as np
import pytest

import nagviz as nv
from nagviz.cli import main
from nagviz.experiment import report
from nagviz.experiment.config import load
from nagviz.experiment.outcomes import read_standings
from nagviz.experiment.problems import make_problems
from nagviz.experiment.replaying import Moment, find
from nagviz.experiment.results import metric_rows
from nagviz.experiment.trials import run_trials
from nagviz.landscape.arrays import read

CONFIG = """\
# Where does it go?
name = "seen"
steps = 12
every = 1
measure_every = 3
checkpoint_every = 6
lookahead = true
observe = ["gradient norm"]
slice.grid = 3
data = { kind = "digits", validation_fraction = 0.2 }
model = { kind = "mlp", hidden = [4] }
training.batch_size = 64
optimizers = [
  { kind = "nag", learning_rate = [0.05, 0.1] },
  { kind = "sgd", learning_rate = 3e38 },
]
"""
PATHS = ("0-0-rate0", "0-0-rate1", "0-1")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run with all its points kept, trained and measured alone, and with where they lie in a plane."""
    folder = tmp_path_factory.mktemp("runs")
    whole, seen, file = folder / "whole", folder / "seen", folder / "seen.toml"
    file.write_text(CONFIG)
    assert main(["run", str(file), "--out", str(seen), "--set", "projection.seed=3"]) == 0
    problems = make_problems(load(file))
    for rival, course in zip(problems[0].rivals, problems[0].courses(), strict=True):
        run_trials(course, problems[0].trials(whole, 0, rival), lambda steps, spared=False: None)
    measured = metric_rows(problems, [read_standings(problems[0], whole, 0)])
    report.write(whole / "metrics.jsonl", report.jsonl(measured))
    return whole, seen


@pytest.fixture(scope="module")
def problem(runs):
    return make_problems(load(runs[1] / "config.toml"))[0]


@pytest.mark.parametrize("name", PATHS)
def test_where_a_path_lies_is_the_projection_of_its_snapshots(runs, problem, name):
    whole, seen = (run / "paths" / f"{name}.zarr" for run in runs)
    kept = nv.load_projection(seen)
    for kind in ("params", "lookahead"):
        path, facts = nv.load_trajectory(whole, problem.start, point=kind)
        there = nv.project(nv.random_plane(problem.start, 3), path)
        np.testing.assert_allclose(kept.points[kind].coordinates, there.coordinates, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(kept.points[kind].residual, there.residual, rtol=1e-12)
        np.testing.assert_array_equal(kept.points[kind].steps, path.steps)
    assert {**kept.facts, "seconds": 0} == {**facts, "seconds": 0}


def test_the_last_point_is_kept_whole_of_a_path_that_stays_finite_and_no_other(runs, problem):
    whole, seen = (run / "paths" / f"{PATHS[0]}.zarr" for run in runs)
    path, _ = nv.load_trajectory(whole, problem.start)
    last = nv.load_projection(seen, problem.start).last
    jax.tree.map(lambda one, leaf: np.testing.assert_array_equal(one, leaf[-1]), last, path.params)
    arrays = read(seen, "projection").arrays
    assert max(array.data.size // 13 for name, array in arrays.items() if not name.startswith("last")) <= 2
    assert nv.load_projection(runs[1] / "paths" / f"{PATHS[2]}.zarr").last is None  # diverged


def test_measures_and_results_are_those_of_the_whole_run(runs):
    def rows(run):
        return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]

    whole, seen = map(rows, runs)
    for one, other in zip(whole, seen, strict=True):
        assert list(one) == list(other)
        for name, value in one.items():
            assert other[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)
    assert {"train loss at look-ahead", "gradient norm at y", "validation loss"} <= whole[0].keys()
    assert [row["step"] for row in seen if row["learning_rate"] == 0.1] == [0, 3, 6, 9, 12]


def test_what_is_observed_says_over_how_few_samples(runs, tmp_path):
    assert json.loads((runs[1] / "environment.json").read_text())["observed samples"] == {"digits": 256}
    assert main(["figure", str(runs[1]), "curves", "--format", "svg", "--out", str(tmp_path)]) == 0
    words = " ".join(re.findall(r">([^<]+)</text>", (tmp_path / "curves.svg").read_text()))
    assert "gradient norm at y, of 256 training samples" in words
    assert "validation loss, of" not in words
    assert "gradient norm at y, of 256 training samples" in (runs[1] / "page.html").read_text()


def test_show_tells_what_is_observed_and_where_the_paths_are_kept(runs, capsys):
    assert main(["show", str(runs[1])]) == 0
    said = capsys.readouterr().out.splitlines()
    assert {"observe: gradient norm", "projection: seed = 3", "state: finished"} <= set(said)
    assert not [line for line in said if line.startswith("plane:")]


def test_the_run_is_drawn_and_cut_in_that_plane_and_in_no_other(runs, problem, capsys):
    _, run = runs
    drawn = {path.name for path in run.iterdir()}
    assert {"landscape.png", "curves.png", "page.html", "report.html"} <= drawn
    cut = nv.load_slice(run / "slices" / "0.zarr")
    point = nv.embed(nv.random_plane(problem.start, 3), (cut.x[2], cut.y[1]))
    assert cut.values[1, 2] == pytest.approx(float(problem.judged(point, problem.data[0])), rel=1e-5)
    assert main(["slice", str(run), "--plane", "random"]) == 2
    assert "--plane random: goes through points of the paths, and this run keeps only" in capsys.readouterr().err
    assert main(["slice", str(run), "--grid", "3", "--range", "0.1"]) == 0
    said = capsys.readouterr().out
    assert "-> read lengths and angles with care\n" in said
    assert "random walk" not in said
    assert nv.load_slice(run / "slices" / "0-projection-r0.1-3.zarr").x.tolist() == [-0.1, 0, 0.1]


def test_a_step_is_replayed_where_it_was_seen(runs, problem):
    assert find(problem, runs[1], 0, Moment(at=9)).drift < 1e-12


def test_what_goes_through_points_of_the_paths_is_refused(tmp_path, capsys):
    (tmp_path / "seen.toml").write_text(CONFIG + '[projection]\n[plane]\nkind = "random"\n[sharpness]\nevery = 2\n')
    assert main(["run", str(tmp_path / "seen.toml"), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{tmp_path}/seen.toml:18: plane: goes through points of the paths, and with [projection] these are not kept; "
        "leave one of the two out",
        f"{tmp_path}/seen.toml:20: sharpness: is measured at points of the paths, and with [projection] these are not "
        "kept; leave one of the two out",
    ]
