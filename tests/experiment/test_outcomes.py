"""Trials over seeds and learning rates: what is chosen, by what, and what the tables say of it."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nagviz.cli import main
from nagviz.experiment.data import Samples
from nagviz.experiment.joining import between
from nagviz.experiment.measures import Measure, mean_over, measurer, predictor
from nagviz.experiment.models import Model
from nagviz.experiment.outcomes import Outcome, Standing, choose
from nagviz.experiment.results import grid_rows, metric_rows, result_rows
from nagviz.landscape import load_slice


def outcome(rate, seed, validation, test=0.5, diverged=None):
    measures = {"validation loss": np.array([9.0, validation]), "test accuracy": np.array([0.1, test])}
    return Outcome("NAG", rate, seed, Path(), np.array([0, 4]), measures, 1.0 + seed, diverged, 0, np.array([]))


def grid(**validation):
    return {
        float(rate[1:]): tuple(outcome(float(rate[1:]), seed, loss) for seed, loss in enumerate(losses))
        for rate, losses in validation.items()
    }


def test_the_rate_is_chosen_whose_last_validation_loss_is_least_in_the_mean_over_seeds():
    assert choose(grid(r1=[1.0, 4.0], r2=[2.0, 2.0], r3=[0.0, 5.0]), "validation loss") == 2
    assert choose(grid(r1=[2.0, 2.0], r2=[2.0, 2.0]), "validation loss") == 1


def test_the_test_set_has_no_say():
    """However much the test accuracy would choose another."""
    best = {1.0: (outcome(1.0, 0, 2.0, test=0.99),), 2.0: (outcome(2.0, 0, 1.0, test=0.01),)}
    assert choose(best, "validation loss") == 2


def test_a_rate_at_which_a_seed_diverged_or_is_not_finite_stands_behind_those_at_which_fewer_did():
    lost = grid(r1=[0.0, 0.0], r2=[5.0, 5.0], r3=[np.inf, 0.0], r4=[np.nan, np.nan])
    lost[1.0] = (lost[1.0][0]._replace(diverged=3), lost[1.0][1])
    assert choose(lost, "validation loss") == 2
    del lost[2.0]
    assert choose(lost, "validation loss") == 1
    assert choose({4.0: lost[4.0], 5.0: lost[4.0]}, "validation loss") == 4


PROBLEM = SimpleNamespace(
    name="digits",
    measures=dict.fromkeys(("validation loss", "test accuracy")),
    validated="validation loss",
    tolerance=None,
)


def test_results_are_the_mean_and_the_sample_deviation_over_seeds_at_the_chosen_rate():
    losses = [0.3, 0.1, 0.7]
    of = grid(r1=losses, r2=[9.0, 9.0, 9.0], r0=[8.0, 8.0, 8.0])
    (row,) = result_rows([PROBLEM], [[Standing("NAG", of, 1.0)]])
    assert row["validation loss"] == pytest.approx(np.mean(losses))
    assert row["validation loss ±"] == pytest.approx(np.std(losses, ddof=1))
    assert row["seconds"] == 2
    assert (row["learning rate"], row["note"]) == (1, "")
    (row,) = result_rows([PROBLEM], [[Standing("NAG", of, 2.0)]])
    assert row["note"] == "chose the largest rate of its grid"


def test_one_seed_has_no_spread_and_one_rate_no_column():
    (row,) = result_rows([PROBLEM], [[Standing("NAG", grid(r1=[0.3]), 1.0)]])
    assert list(row) == ["optimizer", "validation loss", "test accuracy", "seconds", "note"]
    assert grid_rows([PROBLEM], [[Standing("NAG", grid(r1=[0.3]), 1.0)]]) == []


def test_of_a_grid_of_which_every_rate_diverged_none_is_chosen():
    lost = {rate: (outcome(rate, 0, np.nan, diverged=3),) for rate in (0.1, 0.2)}
    standing = Standing("NAG", lost, choose(lost, "validation loss"))
    assert [row["chosen"] for row in grid_rows([PROBLEM], [[standing]])] == ["", ""]
    (row,) = result_rows([PROBLEM], [[standing]])
    assert (row["learning rate"], row["note"]) == (None, "diverged at step 3; chose no rate of its grid")
    kept = lost | {0.2: (outcome(0.2, 0, 1.0),)}
    standing = Standing("NAG", kept, choose(kept, "validation loss"))
    assert [row["chosen"] for row in grid_rows([PROBLEM], [[standing]])] == ["", "yes"]


def test_where_a_target_chooses_the_steps_to_it_stand_in_the_table_of_the_grid():
    sized = SimpleNamespace(**vars(PROBLEM) | {"tolerance": 0.5, "steps": 9, "measures": {"validation loss": None}})
    near = {rate: (outcome(rate, 0, 0.5), outcome(rate, 1, loss)) for rate, loss in ((0.1, 0.4), (0.2, 9.0))}
    near[0.2] = tuple(o._replace(steps=np.array([0, 9])) for o in near[0.2])
    near[0.1] = (near[0.1][0], near[0.1][1]._replace(steps=np.array([0, 6])))
    first, second = grid_rows([sized], [[Standing("NAG", near, choose(near, "validation loss"))]])
    assert (first["steps to 0.5"], first["steps to 0.5 ±"]) == (5, pytest.approx(np.sqrt(2)))
    assert second["steps to 0.5"] is None  # one seed did not get there
    assert (first["chosen"], second["chosen"]) == ("yes", "")


def test_where_a_seed_diverged_there_is_no_mean_and_it_is_named():
    of = {1.0: (outcome(1.0, 5, 0.1), outcome(1.0, 6, 0.2, diverged=3))}
    (row,) = result_rows([PROBLEM], [[Standing("NAG", of, 1.0)]])
    assert np.isnan([row["validation loss"], row["validation loss ±"]]).all()
    assert row["note"] == "seed 6 diverged at step 3"
    assert len(list(metric_rows([PROBLEM], [[Standing("NAG", of, 1.0)]]))) == 4


def test_a_trial_that_ends_with_a_measure_that_is_not_finite_is_named_by_its_seed():
    of = {0.5: (outcome(0.5, 5, np.nan), outcome(0.5, 6, 0.2, test=np.inf)), 1.0: (outcome(1.0, 5, 0.1),) * 2}
    standings = [[Standing("NAG", of, 0.5)]]
    (row,) = result_rows([PROBLEM], standings)
    assert row["note"].startswith("seed 5 ends with validation loss nan; seed 6 ends with test accuracy inf")
    assert [row["note"] for row in grid_rows([PROBLEM], standings)] == ["seed 5 ends with validation loss nan", ""]


@pytest.mark.parametrize("at_once", [1, 4, 5, 10, 99])
def test_a_mean_over_batches_weighs_every_sample_the_same(at_once):
    samples = Samples(jnp.arange(10.0), jnp.arange(10.0) ** 2)
    mean = mean_over(lambda params: lambda inputs: params * inputs, lambda a, b: (a - b).mean(), at_once)
    measured = measurer({"m": Measure(mean, samples)})(np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(measured["m"], [-28.5, -24.0, -19.5], rtol=1e-6)


def test_a_model_with_statistics_is_measured_with_those_of_each_point():
    model = Model(0.0, None, lambda p, inputs: p * inputs.mean(), lambda p, mean, inputs: p * inputs - mean)
    predict = predictor(model, jnp.array([1.0, 3.0]))
    assert jax.jit(lambda p: predict(p)(jnp.array([5.0])))(2.0) == 6  # 2 (5 - 2)


CONFIG = """\
# Which rate?
name = "which"
steps = 40
every = 20
seed = 7
seeds = 2
[data]
kind = "npz"
path = "{path}"
validation_fraction = 0.25
[model]
kind = "mlp"
hidden = [4]
[training]
batch_size = 16
[slice]
grid = 3
[[optimizers]]
kind = "nag"
learning_rate = [1e-4, 0.3]
[[optimizers]]
kind = "sgd"
learning_rate = 0.1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run whose test labels are all wrong: of its rates, the one that learns nothing has the best test accuracy."""
    folder = tmp_path_factory.mktemp("grid")
    inputs = np.random.default_rng(0).normal(size=(96, 2)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    np.savez(folder / "data.npz", x_train=inputs, y_train=labels, x_test=inputs, y_test=1 - labels)
    (folder / "run.toml").write_text(CONFIG.format(path=folder / "data.npz"))
    assert main(["run", str(folder / "run.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def rows(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def last(folder, **of):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["step"] == 40 and of.items() <= line.items()]


def test_a_run_chooses_by_validation_where_the_test_set_would_choose_otherwise(folder):
    low, high = (last(folder, optimizer="NAG", learning_rate=rate) for rate in (1e-4, 0.3))
    assert np.mean([line["test accuracy"] for line in low]) > np.mean([line["test accuracy"] for line in high])
    assert [line["seed"] for line in low] == [7, 8]
    chosen = {row["learning rate"]: row["chosen"] for row in rows(folder / "grid.csv")}
    assert chosen == {"0.0001": "", "0.3": "yes"}
    row = rows(folder / "results.csv")[0]
    for name in ("train loss", "validation loss", "test accuracy"):
        values = [line[name] for line in high]
        assert float(row[name]) == pytest.approx(np.mean(values), rel=1e-6)
        assert float(row[f"{name} ±"]) == pytest.approx(np.std(values, ddof=1), rel=1e-6)


def test_the_seeds_and_the_data_are_on_record_and_other_data_are_not_resumed_on(folder, capsys):
    facts = json.loads((folder / "environment.json").read_text())
    assert facts["seeds"] == [7, 8]
    assert len(facts["data"]["npz"]) == 64
    data = folder.parent / "data.npz"
    before = data.read_bytes()
    arrays = dict(np.load(data))
    arrays["x_train"][0, 0] += 1
    np.savez(data, **arrays)
    assert main(["run", str(folder.parent / "run.toml"), "--out", str(folder), "--resume"]) == 2
    assert "holds a run on other npz data (SHA-256 " in capsys.readouterr().err
    data.write_bytes(before)


def test_slices_stand_on_the_path_of_the_chosen_rate_and_the_first_seed(folder):
    assert main(["slice", str(folder), "--plane", "random", "--grid", "3"]) == 0
    middle = load_slice(folder / "slices" / "0-random-3.zarr").values[1, 1]
    (line,) = last(folder, optimizer="NAG", learning_rate=0.3, seed=7)
    assert middle == pytest.approx(line["train loss"], rel=1e-5)


def test_figures_of_one_seed_say_so(folder):
    assert between(folder).note.endswith("\nThe solutions are those of the first of 2 seeds.")
    assert "The paths are those of the first of 2 seeds." in (folder / "page.html").read_text()
