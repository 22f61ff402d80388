"""A step is replayed to the bit: it is the run's own."""

import csv
import shutil

import jax
import numpy as np
import pytest

from nagviz import landscape
from nagviz.cli import main
from nagviz.experiment.checkpoints import save_checkpoint
from nagviz.experiment.config import load
from nagviz.experiment.problems import make_problems
from nagviz.experiment.replaying import Moment, _dissected, _quantity, _View, find
from nagviz.experiment.training import train
from nagviz.experiment.trials import replay, side_by_side

CONFIG = """\
# Which step?
name = "steps"
steps = 15
every = 3
slice.grid = 3
data = { kind = "digits", validation_fraction = 0.2 }
model = { kind = "mlp", hidden = [4] }
training.batch_size = 64
optimizers = [
  { kind = "nag", learning_rate = [0.05, 0.2] },
  { kind = "sgd", learning_rate = 0.1 },
  { kind = "heavy_ball", learning_rate = 0.1, name = "ball" },
]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose first method is trained at two rates side by side, and the others alone; and its problem."""
    folder = tmp_path_factory.mktemp("runs") / "steps"
    folder.with_suffix(".toml").write_text(CONFIG)
    assert main(["run", str(folder.with_suffix(".toml")), "--out", str(folder)]) == 0
    (problem,) = make_problems(load(folder / "config.toml"))
    return folder, problem


@pytest.fixture(scope="module")
def found(run):
    folder, problem = run
    return find(problem, folder, 0, Moment(at=9))


@pytest.fixture(scope="module")
def drawn(found):
    return _dissected(found)


def test_a_loss_without_batches_keeps_its_own_words(run):
    _, problem = run
    function = problem._replace(quantity="logistic loss, 569 samples")
    assert _quantity(function, _View(0, None)) == "logistic loss, 569 samples"
    assert _quantity(function, _View(256, None)) == "logistic loss, 256 samples"


def kept(problem, file, step):
    path, _ = landscape.load_trajectory(file, problem.start)
    (row,) = np.flatnonzero(np.asarray(path.steps) == step)
    return jax.tree.map(lambda leaf: np.asarray(leaf[int(row)]), path.params)


def same(one, two):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(("number", "which"), [(0, 1), (2, 0)], ids=["side by side", "alone"])
def test_what_is_replayed_is_what_the_run_has_kept_bit_for_bit(run, number, which):
    folder, problem = run
    rival, course = problem.rivals[number], problem.courses()[number]
    (group,) = side_by_side(problem.trials(folder, 0, rival))
    seen = replay(course, group, which, 9)
    same(course.deployed(seen.state, seen.params), kept(problem, group[which].file, 9))
    assert seen.row[0] == 9
    same(seen.row[1], kept(problem, group[which].file, 9))


def test_the_end_of_the_step_that_is_drawn_is_the_run_s_own_iterate(run, found, drawn):
    folder, problem = run
    assert (found.rival.name, found.drift) == ("NAG", 0.0)
    assert (drawn.step, drawn.method) == (9, "NAG")
    trials = problem.trials(folder, 0, found.rival)
    ends = [kept(problem, trial.file, 9) for trial in trials]
    losses = [float(problem.judged(end, problem.sliced.samples)) for end in ends]
    chosen = [trial.learning_rate for trial in trials].index(chosen_rate(folder))
    assert drawn.losses["next x"] == pytest.approx(losses[chosen], rel=1e-5)
    assert drawn.losses["next x"] != pytest.approx(losses[1 - chosen], rel=1e-2)


def chosen_rate(folder):
    with (folder / "results.csv").open(newline="") as file:
        return float(next(csv.DictReader(file))["learning rate"])


def test_it_begins_at_the_checkpoint_before_the_step(run, tmp_path):
    folder, problem = run
    rival, course = problem.rivals[2], problem.courses()[2]
    (trial,) = problem.trials(tmp_path, 0, rival)
    chunks = train(
        course.loss,
        trial.start,
        course.optimizer(trial.learning_rate),
        steps=6,
        snapshots=[6],
        batches=trial.batches,
        chunk=6,
    )
    for chunk in chunks:
        save_checkpoint(trial.file.with_suffix(".checkpoints"), chunk.done, (chunk.carried, np.float64(0)))
    lost = trial._replace(start=jax.tree.map(np.zeros_like, trial.start))  # so that the start leads elsewhere
    seen = replay(course, [lost], 0, 9)
    same(seen.row[1], kept(problem, problem.trials(folder, 0, rival)[0].file, 9))
    early = replay(course, [lost], 0, 3)  # before it
    assert not np.any(np.asarray(jax.tree.leaves(early.params)[0]) == np.asarray(jax.tree.leaves(seen.params)[0]))


def test_a_path_that_was_made_elsewhere_is_told_by_its_distance(run, tmp_path):
    shutil.copytree(run[0], tmp_path / "other")
    problem = run[1]._replace(starts=(jax.tree.map(lambda leaf: leaf + 1e-4, run[1].start),))
    found = find(problem, tmp_path / "other", 0, Moment(at=8, optimizer="ball"))
    assert 1e-6 < found.drift < 1e-2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--at", "1"], "--at: NAG has taken steps 1 to 15 of which the first has no velocity, got 1"),
        (["--at", "16"], "got 16"),
        (["--optimizer", "SGD"], "--optimizer: SGD has no look-ahead whose step could be taken apart; NAG, ball have"),
        (["--optimizer", "Eve"], "--optimizer: 'Eve' is none of this run's; it has NAG, ball"),
        (["--problem", "mnist"], "--problem: 'mnist' is none of this run's; it has digits"),
        (["--format", "gif"], "--format gif: step has png, pdf, svg"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused_in_words(run, words, said, capsys):
    assert main(["figure", str(run[0]), "step", *words]) == 2
    assert said in capsys.readouterr().err


def test_without_a_number_the_tenth_step_is_drawn(run, tmp_path):
    assert main(["figure", str(run[0]), "step", "--out", str(tmp_path), "--format", "svg"]) == 0
    text = (tmp_path / "step.svg").read_text()
    assert "step 10" in text
    assert f"Contours: {run[1].quantity}." in text


def test_a_dear_loss_is_looked_at_by_fewer_samples_and_points(found, drawn, monkeypatch):
    monkeypatch.setattr("nagviz.experiment.replaying.WORK", 1.0)
    dear = _dissected(found)
    assert dear.cut.quantity == "train cross entropy, 256 samples"
    assert dear.cut.values.shape == drawn.cut.values.shape
    np.testing.assert_allclose(dear.next_iterate, drawn.next_iterate, rtol=1e-6)  # of the step nothing is spared
