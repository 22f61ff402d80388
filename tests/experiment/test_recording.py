"""What of a path is kept, and what a run's folder remembers of how it came about."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nagviz.cli import main
from nagviz.experiment import drawing, pipeline, report
from nagviz.experiment.report import Refusal
from nagviz.landscape import load_trajectory, snapshot_steps

CONFIG = """# Does it descend?
name = "bowl"
steps = 40
{keys}
[slice]
grid = 5

[[functions]]
kind = "rosenbrock"
start = [-1.2, 1.0]
x = [-2, 2]
y = [-1, 3]

[[optimizers]]
kind = "nag"
learning_rate = 1e-4
momentum = 0.8
"""


def run(folder, keys, *flags):
    config = folder.parent / "bowl.toml"
    config.write_text(CONFIG.format(keys=keys))
    return main(["run", str(config), "--out", str(folder), *flags])


@pytest.fixture(scope="module")
def evenly(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording") / "run"
    assert run(folder, "lookahead = true\nmeasure_every = 5") == 0
    return folder


def test_the_look_ahead_is_the_momentum_times_the_last_step_beyond_the_iterate(evenly):
    x, _ = load_trajectory(evenly / "paths" / "0-0.zarr")
    y, _ = load_trajectory(evenly / "paths" / "0-0.zarr", point="lookahead")
    step = np.diff(x.params, axis=0, prepend=x.params[:1])
    np.testing.assert_allclose(y.params, x.params + 0.8 * step, rtol=2e-6)


def test_the_look_ahead_is_kept_for_figures_where_it_is_on_the_slice(evenly):
    picture = drawing.read_picture(evenly / "slices" / "0.zarr")
    y, _ = load_trajectory(evenly / "paths" / "0-0.zarr", point="lookahead")
    np.testing.assert_allclose(picture.ahead["NAG"], y.params, atol=1e-6)


def test_the_loss_is_measured_at_both(evenly):
    rows = [json.loads(line) for line in (evenly / "metrics.jsonl").read_text().splitlines()]
    y, _ = load_trajectory(evenly / "paths" / "0-0.zarr", point="lookahead")
    a, b = y.params[-1].astype(float)
    assert rows[-1]["loss at look-ahead"] == pytest.approx((1 - a) ** 2 + 100 * (b - a**2) ** 2, rel=1e-5)
    assert rows[0]["loss at look-ahead"] == rows[0]["loss"]
    assert rows[-1]["loss at look-ahead"] != rows[-1]["loss"]


def test_snapshots_may_be_spaced_in_the_logarithm_of_the_step(evenly, tmp_path):
    assert run(tmp_path / "run", "snapshots = 8") == 0
    some, _ = load_trajectory(tmp_path / "run" / "paths" / "0-0.zarr")
    every, _ = load_trajectory(evenly / "paths" / "0-0.zarr")
    assert some.steps.tolist() == snapshot_steps(40, count=8).tolist()
    np.testing.assert_array_equal(some.params, every.params[some.steps])


def test_one_spacing_at_a_time(tmp_path, capsys):
    assert run(tmp_path / "run", "every = 2\nsnapshots = 8") == 2
    assert "snapshots: stands in the place of every; leave one of them out" in capsys.readouterr().err


def test_what_would_fill_a_disk_is_told_before_it_is_begun(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "_LARGE", 100)
    usage = namedtuple("usage", "total used free")(2000, 1000, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    assert run(tmp_path / "run", "lookahead = true") == 0
    said = capsys.readouterr().err
    assert "the paths of this run may take 656 B, and 1.0 kB are free; fewer snapshots" in said  # 41 rows of 2 x 2 x 4
    assert "optimizers take less\n" in said  # of functions [projection] is not to be had
    assert run(tmp_path / "run", "lookahead = true", "--resume") == 0
    assert "warning" not in capsys.readouterr().err  # all is there
    monkeypatch.setattr(pipeline, "_LARGE", 1000)
    assert run(tmp_path / "run", "", "--overwrite") == 0
    assert capsys.readouterr().err.count("warning") == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=300))
    assert run(tmp_path / "run", "", "--overwrite") == 0
    assert "may take 328 B, and only 300 B are free" in capsys.readouterr().err


# The folder.

HOLDER = """
import sys
from pathlib import Path
from nagviz.experiment.report import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_one_process_s_until_that_is_killed(tmp_path, capsys):
    folder = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        assert run(folder, "") == 2
        assert f"{folder} is being worked in by another process; wait until it has ended" in capsys.readouterr().err
        assert list(folder.iterdir()) == []
        holder.kill()
    assert run(folder, "") == 0


def test_a_file_system_without_locks_is_told_and_worked_on(tmp_path, capsys, monkeypatch):
    def none(held, kind):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(report.fcntl, "flock", none)
    with report.alone(tmp_path):
        pass
    said = capsys.readouterr().err
    assert f"note: {tmp_path} is on a file system without locks (Function not implemented)" in said


def test_a_run_that_is_not_there_is_begun_and_that_is_told(tmp_path, capsys):
    assert run(tmp_path / "run", "", "--resume") == 0
    assert f"note: {tmp_path / 'run'} holds no run yet; it is begun" in capsys.readouterr().err


def test_what_a_run_was_begun_with_stays_on_record(tmp_path, capsys):
    begin = {"resume": False, "overwrite": False}
    report.start_folder(tmp_path, "seed = 0\n", {}, **begin)
    file = tmp_path / "environment.json"
    first = json.loads(file.read_text())
    file.write_text(json.dumps({**first, "jax": "0.1"}))
    before = (tmp_path / "config.toml").stat()
    for _ in range(2):
        report.start_folder(tmp_path, "# Asked otherwise?\nseed = 0\n", {}, resume=True, overwrite=False)
    kept = json.loads(file.read_text())
    times = [resumed.pop("time") for resumed in kept["resumed"]]
    assert kept == {**first, "jax": "0.1", "resumed": [{"jax": first["jax"]}] * 2}
    assert all(abs(datetime.now(UTC) - datetime.fromisoformat(time)) < timedelta(minutes=1) for time in times)
    assert ((tmp_path / "config.toml").read_text(), (tmp_path / "config.toml").stat()) == ("seed = 0\n", before)


def test_other_code_of_one_s_own_is_not_gone_on_with(tmp_path):
    digests = {"code": {"model.function": "a" * 64}}
    report.start_folder(tmp_path, "seed = 0\n", digests, resume=False, overwrite=False)
    report.start_folder(tmp_path, "seed = 0\n", digests, resume=True, overwrite=False)
    with pytest.raises(Refusal, match=r"holds a run of another model.function \(SHA-256 aaaaaaaaaaaa"):
        report.start_folder(
            tmp_path, "seed = 0\n", {"code": {"model.function": "b" * 64}}, resume=True, overwrite=False
        )
