"""The experiments that ship answer their question, in reduced form."""

import csv
import gzip
import io
import pickle
import struct
import tarfile
from itertools import product
from pathlib import Path

import jax
import numpy as np
import pytest

from nagviz.cli import main
from nagviz.experiment.choices import Known
from nagviz.experiment.config import load
from nagviz.experiment.family_map import Method, coefficients
from nagviz.experiment.outcomes import read_path
from nagviz.experiment.problems import make_problems
from nagviz.experiment.rivals import make_rival
from nagviz.landscape import load_slice

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def results(folder, experiment, *settings):
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["run", str(EXPERIMENTS / f"{experiment}.toml"), "--out", str(folder), *words]) == 0
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_restart_prints_the_table_of_logistic_regression_to_the_iteration(tmp_path):
    """Ridge 0.01; the other half of the table is in tests/optim/test_restart.py."""
    one = "functions=[{kind='logistic', ridge=1e-2, tolerance=1e-10}]"
    rows = results(tmp_path / "run", "restart", one, "steps=2400", "slice.grid=3")
    assert [int(row["steps to 1e-10"]) for row in rows] == [2330, 1131, 184, 139, 972, 238, 166]
    assert [int(row["restarts"]) for row in rows] == [0, 0, 0, 0, 0, 3, 3]
    assert not any(row["note"] for row in rows)


def test_what_does_not_get_there_is_said_so(tmp_path):
    rows = results(
        tmp_path / "run",
        "restart",
        "functions=[{kind='logistic', ridge=1e-2, tolerance=1e-10}]",
        "optimizers=[{kind='nag'}, {kind='heavy_ball'}]",
        "steps=20",
        "slice.grid=3",
    )
    assert {row["steps to 1e-10"] for row in rows} == {""}
    assert {row["note"] for row in rows} == {"not in 20 steps"}


SMALL = ["steps=20", "every=2", "slice.grid=3", "model.hidden=[8]", "functions.0.steps=20"]


def test_family_runs_all_members_on_a_function_and_on_data_and_draws_their_map(tmp_path):
    rows = results(tmp_path / "run", "family", *SMALL)
    assert [row["problem"] for row in rows] == ["quadratic, k = 50"] * 13 + ["digits"] * 13
    assert all(row["loss"] and not row["train loss"] for row in rows[:13])
    assert all(row["train loss"] and not row["loss"] for row in rows[13:])
    for name in ("family.png", "family.pdf", "landscape.png", "curves.png"):
        assert (tmp_path / "run" / name).stat().st_size > 10_000


def test_noise_writes_the_law_and_the_steps_to_a_target_for_each_batch_size(tmp_path):
    folder = tmp_path / "run"
    rivals = "optimizers=[{kind='nag', learning_rate=[0.1, 0.3]}, {kind='sgd', learning_rate=[1e-6, 0.5]}]"
    small = ["steps=300", "every=5", "slice.grid=3", "model.hidden=[16]", "noise.sigmas=[1, 2]"]
    rows = results(folder, "noise", *small, rivals, "training.batch_size=[16, 512]", "training.target=0.5")
    assert [row["problem"] for row in rows] == ["digits, batch 16"] * 2 + ["digits, batch 512"] * 2
    assert all(float(row["train loss"]) <= 0.5 for row in rows)
    assert all(0 < float(row["steps to 0.5"]) < 300 for row in rows)
    assert {row["learning rate"] for row in rows if row["optimizer"] == "SGD"} == {"0.5"}  # the other gets nowhere
    with (folder / "noise.csv").open(newline="") as file:
        law = list(csv.DictReader(file))
    assert [round(float(row["correction"]), 2) for row in law] == [-0.2, -0.76]
    assert [row["NAG at 1/L"] for row in law] == ["inf", "inf"]
    for name in ("noise.png", "noise.pdf", "targets.png"):
        assert (folder / name).stat().st_size > 10_000


def test_sharpness_reaches_the_limit_of_its_method(tmp_path):
    """A rate that is unstable from the start on, so that few steps show it; the run in full takes it from below."""
    folder = tmp_path / "run"
    rivals = (
        "optimizers=[{kind='nag', learning_rate=0.1, momentum=0.9, evaluate='lookahead'},"
        " {kind='adam', learning_rate=0.01}, {kind='sgd', learning_rate=0.05, clip=1.0}]"
    )
    small = ["steps=200", "every=20", "sharpness.every=40", "slice.grid=3", "model.hidden=[16]"]
    results(folder, "sharpness", *small, rivals)
    with (folder / "sharpness.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [*range(0, 201, 40)] * 3
    limits = {row["optimizer"]: row["limit"] for row in rows}
    assert float(limits["NAG"]) == pytest.approx(3.8 / 2.8 / 0.1, rel=1e-6)
    assert limits["Adam"] == limits["SGD"] == ""  # no linear method, and one whose gradient is clipped
    assert all(float(row["eigenvalue 1"]) >= float(row["eigenvalue 2"]) for row in rows)
    last = [float(row["eigenvalue 1"]) for row in rows if row["optimizer"] == "NAG"][-1]
    assert 0.7 < last / float(limits["NAG"]) < 1.5
    assert (folder / "sharpness.png").stat().st_size > 10_000


def theta(steps):
    values = [1.0]
    for _ in range(steps):
        values.append((1 + np.sqrt(1 + 4 * values[-1] ** 2)) / 2)
    return np.array(values)


RHO = 1 - 1 / np.sqrt(50)
PLACES = {  # of the methods of family.toml: step weight, momentum, correction
    "NAG": (1, (np.sqrt(50) - 1) / (np.sqrt(50) + 1), 0),
    "heavy ball": (0, 0.566, 1),
    "QHM": (0.2, 0.95, -0.15),
    "triple momentum": (1, RHO**2 / (2 - RHO), RHO),
    "MaSS": (1, 0.75, -0.25),
    "AGNES": (1, 0.9, -0.45),
    "primal averaging": (0.2, 0.85, -0.05),
}


def method(table, known):
    rate = table.learning_rate
    return Method(make_rival(table, (rate,), known).optimizer(rate), rate)


@pytest.mark.parametrize("name", PLACES)
def test_methods_stand_on_the_map_where_the_table_of_the_family_puts_them(name):
    (table,) = (o for o in load(EXPERIMENTS / "family.toml").optimizers if o.name == name)
    found = coefficients(method(table, Known(50)), steps=5)
    np.testing.assert_allclose(found, np.tile(PLACES[name], (5, 1)), atol=1e-6)


def test_coefficients_that_follow_a_recurrence_move_over_the_map():
    (table,) = (o for o in load(EXPERIMENTS / "family.toml").optimizers if o.name == "OGM")
    th = theta(10)
    expected = np.stack([np.ones(10), (th[:-1] - 1) / th[1:], th[:-1] / th[1:]], axis=1)
    found = coefficients(method(table, Known()), steps=10)
    np.testing.assert_allclose(found, expected, atol=1e-6)


RESTARTED = "optimizers=[{kind='nag', learning_rate=0.01, restart={kind='periodic', period=3}}]"


def test_restarts_are_counted_between_snapshots_too(tmp_path):
    one = "functions=[{kind='logistic', ridge=1e-2, tolerance=1e-10}]"
    (row,) = results(tmp_path / "run", "restart", one, RESTARTED, "steps=60", "every=20", "slice.grid=3")
    assert int(row["restarts"]) == 20


def test_a_method_that_has_no_place_on_the_map_is_refused_before_the_race(tmp_path, capsys):
    odd = "optimizers=[{kind='robust_momentum', learning_rate=0.02, rate=0.9}]"
    functions = "functions=[{kind='quadratic', condition_number=20.0, start=[1, 1], x=[-2, 2], y=[-2, 2]}]"
    config = tmp_path / "odd.toml"
    config.write_text(
        f"# What of it?\nname = 'odd'\nsteps = 4\n{odd}\n{functions}\n[family]\ncondition_number = 1000\n"
    )
    assert main(["run", str(config), "--out", str(tmp_path / "odd")]) == 2
    assert "optimizers.0: rate must be from" in capsys.readouterr().err
    assert not (tmp_path / "odd").exists()


# Experiments on data: those that do not come with the packages are written here, small, in their original formats.


def noise(shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def written_subset(folder):
    rows = np.column_stack([noise((200, 784)), np.arange(200) % 10])
    path = folder / "mnist_5k.csv.gz"
    path.write_bytes(gzip.compress("\n".join(",".join(map(str, row)) for row in rows.tolist()).encode()))
    return path


def written_fashion(folder):
    for stem, count in (("train", 200), ("t10k", 50)):
        for name, array in (("images-idx3", noise((count, 28, 28))), ("labels-idx1", noise(count) % 10)):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{stem}-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


def written_cifar(folder):
    path = folder / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            content = pickle.dumps({b"data": noise((20, 3072)), b"labels": list(range(10)) * 2}, protocol=2)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def small(folder, experiment, written, *settings):
    folder.mkdir()
    given = () if written is None else (f"data.path='{written(folder)}'",)
    return results(folder / "run", experiment, "steps=4", "every=2", "slice.grid=3", *given, *settings)


def test_article_chooses_each_rate_and_measures_accuracy_on_a_test_set(tmp_path):
    rows = small(tmp_path / "a", "article", written_subset)
    assert [row["optimizer"] for row in rows] == ["NAG", "Adam", "Adagrad"]
    for row in rows:
        assert 0 <= float(row["test accuracy"]) <= 1
        assert row["test accuracy \u00b1"]
    graded = (tmp_path / "a" / "run" / "grid.csv").read_text().splitlines()
    assert len(graded) == 1 + 3 * 4
    assert sum(",yes," in line for line in graded) == 3


def test_autoencoder_ships_the_whole_table():
    tables = load(EXPERIMENTS / "autoencoder.toml").optimizers
    cells = [(table.kind, table.schedule.maximum) for table in tables]
    assert cells == list(product(("nag", "heavy_ball"), (0, 0.9, 0.99, 0.995, 0.999)))
    assert {table.learning_rate for table in tables} == {(0.2, 0.1, 0.05, 0.02, 0.01, 0.005)}


def test_autoencoder_follows_the_schedule_of_the_paper():
    """mu_t = min(1 - 2^(-1 - log2(floor(t/period) + 1)), mu_max), and at most 0.9 in the last T/8 updates."""
    table = load(EXPERIMENTS / "autoencoder.toml").optimizers[4]
    rate = table.learning_rate[0]
    found = coefficients(Method(make_rival(table, (rate,), Known(steps=4000)).optimizer(rate), rate), steps=3999)
    t = np.arange(1, 4000)
    expected = np.minimum(1 - 2.0 ** (-1 - np.log2(t // 6.667 + 1)), 0.999)
    expected[t >= 3500] = 0.9
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-6)


def test_the_last_steps_cannot_be_told_from_ages_that_begin_anew(tmp_path, capsys):
    table = "{kind='nag', restart={kind='gradient'}, schedule={kind='sutskever', maximum=0.9, final_steps=2}}"
    words = ["--set", f"optimizers=[{table}]", "--set", "functions=[{kind='logistic', ridge=1e-2}]"]
    assert main(["run", str(EXPERIMENTS / "restart.toml"), "--out", str(tmp_path / "run"), *words]) == 2
    assert "optimizers.0: schedule.final_steps: must be left out with a restart" in capsys.readouterr().err


def test_autoencoder_tabulates_what_the_results_say(tmp_path, capsys):
    cells = list(product(("nag", "heavy_ball"), (0.0, 0.999)))
    tables = ", ".join(
        f"{{kind='{kind}', name='{kind} {most}', learning_rate=[0.2, 0.1], "
        f"schedule={{kind='sutskever', maximum={most}, period=2, final_steps=1}}}}"
        for kind, most in cells
    )
    rows = small(
        tmp_path / "a", "autoencoder", None, f"optimizers=[{tables}]", "seeds=2", "model.hidden=[8]", "model.code=2"
    )
    errors = {cell: row["test error"] for cell, row in zip(cells, rows, strict=True)}
    with (tmp_path / "a" / "run" / "table.csv").open(newline="") as file:
        found = {row["kind"]: row for row in csv.DictReader(file)}
    assert list(found["nag"]) == ["kind", "0", "0 \u00b1", "0.999", "0.999 \u00b1"]
    assert {(kind, most): found[kind][f"{most:g}"] for kind, most in cells} == errors
    # At momentum 0 both are gradient descent.
    np.testing.assert_allclose(float(errors["nag", 0.0]), float(errors["heavy_ball", 0.0]), rtol=1e-5)
    assert errors["nag", 0.999] != errors["heavy_ball", 0.999]
    assert "test error, by kind and schedule.maximum" in capsys.readouterr().out


def test_fashion_cnn_measures_every_optimizer_and_is_cut_by_both_planes(tmp_path):
    rows = small(
        tmp_path / "a",
        "fashion_cnn",
        written_fashion,
        "training.batch_size=16",
        "model.channels=[2]",
        "slice.samples=64",
    )
    assert [row["optimizer"] for row in rows] == ["NAG", "heavy ball", "SGD", "Adam", "Muon", "schedule-free"]
    assert all(0 <= float(row["test accuracy"]) <= 1 for row in rows)
    folder = tmp_path / "a" / "run"
    assert main(["slice", str(folder), "--plane", "random", "--grid", "3"]) == 0
    for name in ("landscape.png", "slice-0-random-3.png"):
        assert (folder / name).stat().st_size > 10_000


@pytest.mark.parametrize("skip", ["true", "false"])
def test_cifar_resnet_goes_from_the_original_archive_to_its_landscape(tmp_path, skip):
    sizes = ("model.depth=8", "model.width=1", "training.batch_size=5", "slice.samples=40")
    sizes += ("optimizers.0.learning_rate_schedule.at=[1, 2, 3]",)
    (row,) = small(tmp_path / "a", "cifar_resnet", written_cifar, *sizes, f"model.skip={skip}")
    assert np.isfinite(float(row["train loss"]))
    assert (tmp_path / "a" / "run" / "landscape.png").stat().st_size > 10_000


def test_a_slice_on_some_samples_is_their_loss_and_no_more_samples_than_there_are(tmp_path, capsys):
    folder = tmp_path / "run"
    settings = ("steps=2", "every=1", "slice.grid=3", "slice.samples=10", "model.hidden=[4]")
    results(folder, "digits", *settings, "optimizers=[{kind='sgd', learning_rate=0.1}]", "plane={kind='random'}")
    made = load_slice(folder / "slices" / "0.zarr")
    (problem,) = make_problems(load(folder / "config.toml"))
    path = read_path(problem, folder / "paths" / "0-0.zarr")
    end = jax.tree.map(lambda leaf: leaf[-1], path.params)
    (samples,) = problem.data
    assert len(samples.targets) == 10
    np.testing.assert_allclose(made.values[1, 1], problem.judged(end, samples), rtol=1e-5)
    assert made.quantity == "train cross entropy, 10 samples"
    words = [word for setting in (*settings, "slice.samples=1348") for word in ("--set", setting)]
    assert main(["run", str(EXPERIMENTS / "digits.toml"), "--out", str(tmp_path / "b"), *words]) == 2
    assert "slice.samples: must be at most the 1347 training samples, got 1348" in capsys.readouterr().err


def test_chars_trains_the_transformer_by_all_three(tmp_path):
    sizes = ("model.width=8", "model.heads=2", "model.layers=1", "data.length=8", "data.limit=400", "slice.samples=64")
    rows = small(tmp_path / "a", "chars", None, *sizes)
    assert [row["optimizer"] for row in rows] == ["Adam", "look-ahead over Adam", "schedule-free"]
    assert len({row["train loss"] for row in rows}) == 3
