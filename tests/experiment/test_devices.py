"""A run and its slices are the same on one device, on several, and on fewer than they were begun on."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nagviz.cli import main
from nagviz.experiment.devices import require_shared
from nagviz.experiment.report import Refusal
from nagviz.landscape import load_slice

DIGITS = Path(__file__).parents[2] / "experiments" / "digits.toml"
SMALL = [
    "steps=60",
    "every=5",
    "checkpoint_every=10",
    "slice.grid=5",
    "training.batch_size=32",
    "model.hidden=[8]",
    'optimizers=[{kind="nag",learning_rate=0.1}]',
]
WORDS = [word for setting in SMALL for word in ("--set", setting)]
CUT = ["--plane", "random", "--grid", "5"]


def started(devices, *words):
    """The command, as a process that has as many devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "nagviz", *map(str, words)], env=os.environ | flags, **pipes)


def told(process):
    """Its exit code, and what it printed."""
    try:
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, output, errors


def losses(folder):
    with (folder / "results.csv").open(newline="") as file:
        return [float(row["train loss"]) for row in csv.DictReader(file)]


def same(folder, other, slice_="0"):
    one, another = (load_slice(each / "slices" / f"{slice_}.zarr") for each in (folder, other))
    np.testing.assert_allclose(one.x, another.x, rtol=2e-6)
    np.testing.assert_allclose(one.values, another.values, rtol=2e-6)
    np.testing.assert_allclose(losses(folder), losses(other), rtol=2e-6)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """On one device, in this process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert main(["run", str(DIGITS), *WORDS, "--out", str(folder)]) == 0
    assert main(["slice", str(folder), *CUT]) == 0
    return folder


def test_four_devices_share_batches_and_points(alone, tmp_path):
    folder = tmp_path / "run"
    code, _, errors = told(started(4, "run", DIGITS, *WORDS, "--out", folder, "--devices", 4))
    assert code == 0, errors
    assert len(json.loads((folder / "environment.json").read_text())["devices"]) == 4
    same(folder, alone)
    code, _, errors = told(started(4, "slice", folder, *CUT, "--devices", "all"))
    assert code == 0, errors
    same(folder, alone, "0-random-5")


def test_devices_that_are_not_there_or_cannot_share_a_batch_are_refused(alone, tmp_path, capsys):
    for command in (["run", str(DIGITS), "--out", str(tmp_path / "run")], ["slice", str(alone)]):
        assert main([*command, "--devices", "9"]) == 2
        assert (
            "--devices: must be at most the 1 cpu device(s) that each process has, got 9; " in capsys.readouterr().err
        )
        assert main([*command, "--devices", "few"]) == 2
        assert "must be a whole number of at least 1, or all, got few" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    three = [SimpleNamespace(batches=batches and SimpleNamespace(size=batches)) for batches in (None, 8, 30)]
    require_shared(three, SimpleNamespace(size=2))
    with pytest.raises(Refusal, match=r"batch_size: must be a multiple of the 4 devices .* got 30; give 28 or 32, or"):
        require_shared(three, SimpleNamespace(size=4))
