"""The experiments that ship answer their question, in reduced form."""

import csv
from pathlib import Path

import numpy as np
import pytest

from nagviz.cli import main
from nagviz.experiment.choices import Known
from nagviz.experiment.config import load
from nagviz.experiment.family_map import Method, coefficients
from nagviz.experiment.rivals import make_rival

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
