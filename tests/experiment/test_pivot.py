"""A table of what a run has found, by two keys of its optimizers; the tables of experiments are in test_experiments."""

import pytest

from nagviz.cli import main
from nagviz.experiment.pivot import _value

RUN = """# Which?
name = "which"
steps = 4
[slice]
grid = 3
[[functions]]
kind = "rosenbrock"
start = [0.0, 0.0]
x = [-1.0, 1.0]
y = [-1.0, 1.0]
[[optimizers]]
kind = "nag"
learning_rate = 1e-3
[[optimizers]]
kind = "heavy_ball"
learning_rate = 1e-3
[[optimizers]]
kind = "nag"
name = "NAG, 0.5"
learning_rate = 1e-3
momentum = 0.5
"""


def run(tmp_path, table, head=RUN):
    config = tmp_path / "which.toml"
    config.write_text(f"{head}[table]\n{table}")
    return main(["run", str(config), "--out", str(tmp_path / "run")])


def test_a_cell_that_no_optimizer_fills_stays_empty(tmp_path):
    assert run(tmp_path, 'rows = "kind"\ncolumns = "momentum"\nmeasure = "loss"') == 0
    head, nag, heavy = (tmp_path / "run" / "table.csv").read_text().splitlines()
    assert head == "kind,0.9,0.5"
    results = [line.split(",") for line in (tmp_path / "run" / "results.csv").read_text().splitlines()]
    place = results[0].index("loss")
    assert nag == f"nag,{results[1][place]},{results[3][-len(results[0]) + place]}"
    assert heavy == f"heavy_ball,{results[2][place]},"
    assert (tmp_path / "run" / "table.md").read_text().startswith("| kind ")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('rows = "kind"\ncolumns = "schedule.maximum"', "optimizers.0 has no schedule.maximum; name keys that all"),
        ('rows = "kind"\ncolumns = "steps"', "optimizers.0 has no steps; name keys that all"),
        (
            'rows = "kind"\ncolumns = "learning_rate"',
            "NAG, 0.5 and NAG would share kind = nag and learning_rate = 0.001",
        ),
        (
            'rows = "kind"\ncolumns = "momentum"\nmeasure = "test error"',
            "is not measured on rosenbrock; there are loss",
        ),
    ],
)
def test_what_makes_no_table_is_refused_before_anything_is_trained(tmp_path, capsys, table, reason):
    assert run(tmp_path, table) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_two_numbers_are_never_one_place():
    numbers = (0.9, 0.90000004, 0.9000001, 1e-3, 1e6, 1000000.5)
    assert len({_value({"momentum": number}, "momentum", 0) for number in numbers}) == len(numbers)


def test_a_measure_has_a_table_on_every_problem(tmp_path):
    second = RUN + '[[functions]]\nkind = "beale"\nstart = [0.0, 0.0]\nx = [-1.0, 1.0]\ny = [-1.0, 1.0]\n'
    assert run(tmp_path, 'rows = "kind"\ncolumns = "momentum"', second) == 0
    rows = (tmp_path / "run" / "table.csv").read_text().splitlines()
    assert rows[0] == "problem,kind,0.9,0.5"
    assert [row.split(",")[:2] for row in rows[1:]] == [
        ["rosenbrock", "nag"],
        ["rosenbrock", "heavy_ball"],
        ["beale", "nag"],
        ["beale", "heavy_ball"],
    ]
