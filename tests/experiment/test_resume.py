"""A run that was killed at any moment ends as if it had not been."""

import csv
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from nagviz import landscape
from nagviz.cli import main

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SMALL = [
    "steps=60",
    "every=3",
    "checkpoint_every=6",
    "slice.grid=5",
    "training.batch_size=64",
    "model.hidden=[4]",
    "optimizers=[{kind='nag', learning_rate=0.1, momentum=0.95, restart={kind='speed'}}, "
    "{kind='adam', learning_rate=[0.01, 0.02], clip=1.0}]",
    "seeds=2",
    "data.validation_fraction=0.2",
]
WORDS = ["run", str(EXPERIMENTS / "digits.toml"), *(word for setting in SMALL for word in ("--set", setting))]
READY = ("matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf", "nagviz.experiment.pipeline")


def rows(file):
    """Steps of the rows of a path, and all its numbers."""
    path = landscape.open_trajectory(file)
    beside = landscape.load_trajectory(file, point="restarts")[0]
    leaves = [np.asarray(leaf[: len(path.steps)]) for leaf in _leaves(path.params)]
    return path.steps.tolist(), [leaf.tobytes() for leaf in [*leaves, beside.params]]


def _leaves(tree):
    return [leaf for part in tree.values() for leaf in _leaves(part)] if isinstance(tree, dict) else [tree]


def outputs(folder):
    """What must not depend on where a run was broken off: all but how long it took."""
    with (folder / "results.csv").open(newline="") as file:
        table = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    paths = {file.name: rows(file) for file in sorted((folder / "paths").iterdir())}
    cut = landscape.load_slice(folder / "slices" / "0.zarr").values.tobytes()
    return table, (folder / "metrics.jsonl").read_text(), paths, cut


def _child(words, environment, log):
    """Carries a run out in a process of its own, which another one may end."""
    os.environ |= environment
    with open(log, "a") as file:  # noqa: PTH123
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os._exit(main(words))


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    """Begins runs in processes of their own, which find all that they import ready and all that they compile kept."""
    folder = tmp_path_factory.mktemp("resume")
    kept = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*READY, __name__])

    def begin(*words):
        process = context.Process(target=_child, args=([*WORDS, *words], kept, folder / "log"))
        process.start()
        return process

    return begin


@pytest.fixture(scope="module")
def undisturbed(runner, tmp_path_factory):
    """What a run leaves that nobody disturbs, and how long it takes once all is compiled."""
    for name in ("first", "second"):
        folder, began = tmp_path_factory.mktemp(name) / "run", time.monotonic()
        process = runner("--out", str(folder))
        process.join()
        assert process.exitcode == 0
    return outputs(folder), time.monotonic() - began


def test_a_run_that_is_killed_at_random_moments_ends_in_the_same_numbers(runner, undisturbed, tmp_path):
    """Ten kills, a seeded generator's moments; after each, what is there can be read and nothing was lost of it."""
    expected, seconds = undisturbed
    moments, folder, seen, kills = random.Random(5), tmp_path / "run", {}, 0
    while kills < 10:
        process = runner("--out", str(folder), "--resume")
        process.join(moments.uniform(0.1, 0.6) * seconds)
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        if process.exitcode == 0:
            assert outputs(folder) == expected
            folder, seen = tmp_path / f"run{kills}", {}
            continue
        kills += 1
        for file in folder.glob("paths/*.zarr"):
            steps, _ = rows(file)
            assert steps[: len(seen.get(file, []))] == seen.get(file, [])
            assert steps == expected[2][file.name][0][: len(steps)]
            seen[file] = steps
    process = runner("--out", str(folder), "--resume")
    process.join()
    assert process.exitcode == 0
    assert outputs(folder) == expected
