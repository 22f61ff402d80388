"""What is observed of a method beside its path is what the mathematics says it is."""

import json

import numpy as np
import pytest

from nagviz.cli import main
from nagviz.experiment.observing import DEGREES, LABELS

CONFIG = """\
# What does the method see?
name = "seen"
steps = 8
every = 2
observe = ["loss at y", "gradient norm", "angle", "momentum", "learning rate"]
slice.grid = 3
functions = [
  { kind = "quadratic", start = [-1.5, 2.0], x = [-2.0, 2.0], y = [-1.0, 3.0], condition_number = 10 },
]

[[optimizers]]
kind = "nag"
learning_rate = 0.02
schedule = { kind = "friction", r = 3 }
restart = { kind = "periodic", period = 5 }
learning_rate_schedule = { kind = "linear" }

[[optimizers]]
kind = "adam"
learning_rate = 0.01

[[optimizers]]
kind = "adam"
name = "Adam, ahead"
learning_rate = 0.01
lookahead = 0.9
"""
CURVATURES = np.array([1.0, 10.0])


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "seen.toml").write_text(CONFIG)
    assert main(["run", str(folder / "seen.toml"), "--out", str(folder / "seen")]) == 0
    held = [json.loads(line) for line in (folder / "seen" / "metrics.jsonl").read_text().splitlines()]
    return {name: [row for row in held if row["optimizer"] == name] for name in ("NAG", "Adam", "Adam, ahead")}


def followed(gradient):
    """The textbook form by a plain loop: after each step y, s, the age and the learning rate to come."""
    y, s, age = np.array([-1.5, 2.0]), np.zeros(2), 0
    for step in range(9):
        rate = 0.02 * (1 - step / 8)
        yield y, s, age, rate
        d = -rate * gradient(y)
        mu = age / (age + 3)
        x, s, age = y + d, mu * (s + d), age + 1
        if age == 5:
            s, age = np.zeros(2), 0
        y = x + s


def test_gradient_loss_angle_momentum_and_rate_are_those_of_the_step_to_come(rows):
    scale = np.array([rows["NAG"][0][LABELS["loss at y"]]]) / (0.5 * CURVATURES @ np.array([-1.5, 2.0]) ** 2)
    curvatures = scale * CURVATURES
    seen = list(followed(lambda y: curvatures * y))
    assert [row["step"] for row in rows["NAG"]] == [0, 2, 4, 6, 8]
    for row in rows["NAG"]:
        y, s, age, rate = seen[row["step"]]
        gradient = curvatures * y
        assert row[LABELS["loss at y"]] == pytest.approx(0.5 * curvatures @ y**2, rel=1e-5)
        assert row[LABELS["gradient norm"]] == pytest.approx(np.linalg.norm(gradient), rel=1e-5)
        assert row[LABELS["momentum"]] == pytest.approx(age / (age + 3), abs=1e-6)
        assert row[LABELS["learning rate"]] == pytest.approx(rate, abs=1e-8)
        if s.any() and rate:
            cosine = -s @ gradient / np.linalg.norm(s) / np.linalg.norm(gradient)
            assert row[DEGREES] == pytest.approx(np.degrees(np.arccos(cosine)), rel=1e-4)
        else:
            assert row[DEGREES] is None


def test_the_angle_is_that_of_the_method_s_own_step_which_need_not_go_along_the_gradient(rows):
    scale = np.array([rows["NAG"][0][LABELS["loss at y"]]]) / (0.5 * CURVATURES @ np.array([-1.5, 2.0]) ** 2)
    held = {row["step"]: row[DEGREES] for row in rows["Adam, ahead"]}
    assert held[0] is None
    y, s, first, second = np.array([-1.5, 2.0]), np.zeros(2), np.zeros(2), np.zeros(2)
    for t in range(1, 10):
        g = scale * CURVATURES * y
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        d = -0.01 * first / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        if t > 1 and t - 1 in held:
            cosine = s @ d / np.linalg.norm(s) / np.linalg.norm(d)
            assert held[t - 1] == pytest.approx(np.degrees(np.arccos(cosine)), rel=1e-3, abs=0.05)
        s = 0.9 * (s + d)
        y = y + d + s


def test_what_a_method_has_not_is_left_out(rows):
    first = rows["Adam"][0]
    assert LABELS["gradient norm"] in first
    assert not {DEGREES, LABELS["momentum"]} & set(first)
    assert first[LABELS["learning rate"]] == pytest.approx(0.01)


def test_other_things_are_refused(tmp_path, capsys):
    (tmp_path / "seen.toml").write_text(CONFIG.replace('"momentum"', '"mood"'))
    assert main(["run", str(tmp_path / "seen.toml")]) == 2
    assert "observe.3" in capsys.readouterr().err
