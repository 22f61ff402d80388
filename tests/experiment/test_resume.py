"""A run that was killed at any moment ends as if it had not been."""

import csv
import multiprocessing
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv
from nagviz import landscape
from nagviz.cli import main
from nagviz.experiment import checkpoints, report, trials
from nagviz.experiment.report import Refusal

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SMALL = [
    "steps=60",
    "every=3",
    "checkpoint_every=6",
    "slice.grid=3",
    "training.batch_size=64",
    "model.hidden=[4]",
    "optimizers=[{kind='nag', learning_rate=0.1, restart={kind='speed'}}, {kind='adam', learning_rate=0.01}]",
    "seeds=2",
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


def _child(words, compiled, log):
    """Carries a run out in a process of its own, which another one may end."""
    jax.config.update("jax_compilation_cache_dir", str(compiled))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    with open(log, "a") as file:  # noqa: PTH123
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os._exit(main(words))


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    """Begins runs in processes of their own, which find all that they import ready and all that they compile kept."""
    folder = tmp_path_factory.mktemp("resume")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*READY, __name__])

    def begin(*words):
        process = context.Process(target=_child, args=([*WORDS, *words], folder / "compiled", begin.log))
        process.start()
        return process

    begin.log = folder / "log"
    return begin


def ended(process):
    process.join()
    return process.exitcode


def test_a_run_that_is_interrupted_and_then_killed_at_random_moments_ends_in_the_same_numbers(runner, tmp_path):
    """Eight kills, a seeded generator's moments; after each, what is there can be read and nothing was lost of it."""
    assert ended(runner("--out", str(tmp_path / "undisturbed"))) == 0
    expected, moments, folder, seen, kills = (
        outputs(tmp_path / "undisturbed"),
        random.Random(5),
        tmp_path / "run",
        {},
        0,
    )

    process = runner("--out", str(folder))
    began = time.monotonic()
    while process.is_alive() and not list(folder.glob("paths/*.checkpoints/*")):
        time.sleep(0.01)
    seconds = time.monotonic() - began  # to the first checkpoint
    os.kill(process.pid, signal.SIGINT)
    assert ended(process) == 130
    told = runner.log.read_text()
    assert "Ctrl-C again ends at once" in told
    assert f"nagviz run {folder / 'config.toml'} --out {folder} --resume goes on with it" in told

    while kills < 8:
        process = runner("--out", str(folder), "--resume")
        process.join(moments.uniform(0.2, 1.3) * seconds)
        process.kill()
        if ended(process) == 0:  # it was faster than that
            assert outputs(folder) == expected
            folder, seen = tmp_path / f"run-{kills}", {}
            continue
        kills += 1
        for file in folder.glob("paths/*.zarr"):
            steps, _ = rows(file)
            assert steps[: len(seen.get(file, []))] == seen.get(file, [])
            assert steps == expected[2][file.name][0][: len(steps)]
            seen[file] = steps
    assert ended(runner("--out", str(folder), "--resume")) == 0
    assert outputs(folder) == expected
    assert not list(folder.glob("paths/*.checkpoints"))


class Killed(BaseException):
    """As nothing catches it."""


@pytest.mark.parametrize("killed", range(5))
def test_a_start_that_was_killed_is_made_again_and_a_folder_of_others_never_taken_for_one(
    killed, tmp_path, monkeypatch
):
    folder, calls = tmp_path / "run", []

    def replace(partial, target, real=Path.replace):
        for now in (False, True):  # killed before the file is moved to its place, or after it
            calls.append(1)
            if len(calls) == killed:
                raise Killed
            if not now:
                real(partial, target)

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(Path, "replace", replace)
        report.start_folder(folder, "seed = 0\n", {}, resume=False, overwrite=False)
    report.start_folder(folder, "seed = 0\n", {}, resume=True, overwrite=False)
    assert {path.name for path in folder.iterdir()} >= {"config.toml", "environment.json", "paths", "slices"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.toml").write_text("seed = 1\n")
    with pytest.raises(Refusal, match="holds no run"):
        report.start_folder(tmp_path / "other", "seed = 0\n", {}, resume=True, overwrite=False)


def test_another_config_is_told_by_key_and_other_versions_are_noted(tmp_path, capsys):
    folder, there = tmp_path / "run", "seed = 0\n[[optimizers]]\nkind = 'nag'\nlearning_rate = 0.1\n"
    report.start_folder(folder, there, {}, resume=False, overwrite=False)
    asked = "seed = 0\nname = 'x'\n[[optimizers]]\nkind = 'nag'\nlearning_rate = 0.2\n"
    with pytest.raises(Refusal) as refused:
        report.start_folder(folder, asked, {}, resume=True, overwrite=False)
    assert str(refused.value).splitlines()[1:3] == [
        "  optimizers.0.learning_rate: there 0.1, asked for 0.2",
        '  name: there not set, asked for "x"',
    ]
    assert capsys.readouterr().err == ""
    environment = folder / "environment.json"
    environment.write_text(environment.read_text().replace(f'"jax": "{jax.__version__}"', '"jax": "0.1"'))
    report.start_folder(folder, there, {}, resume=True, overwrite=False)
    assert f"begun with jax 0.1, now {jax.__version__}" in capsys.readouterr().err


SEEN = trials.Projected(lambda start: nv.Plane(start, tuple(jnp.eye(2))), lambda points: {"sum": points.sum(1)}, 2)


def survive(file, monkeypatch=None, stage=None, *, call=0, after=False, projected=None):
    """Train a little, dying before or after a call of a stage."""
    course = trials.Course(
        lambda w: (w**2 * jnp.array([1.0, 10.0])).sum(),
        lambda rate: nv.nag(rate, 0.9, restart=nv.speed_restart(3)),
        nv.iterate,
        nv.restarts,
        jax.vmap(lambda w: (w**2).sum()),
        np.array([1, 2, 5, 10, 20, 40]),
        checkpoint_every=10,
        projected=projected,
    )
    calls = []

    def dying(*args, do):
        calls.append(1)
        if len(calls) == call + 1 and not after:
            raise Killed
        made = do(*args)
        if len(calls) == call + 1:
            raise Killed
        return made

    if stage is not None:
        do = getattr(trials, stage)
        monkeypatch.setattr(trials, stage, lambda *args, **more: dying(*args, do=partial(do, **more)))
    return trials.run_trials(course, [trials.Trial(0.05, jnp.ones(2), None, file)], lambda steps, spared=False: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What comes of a trial that nothing befalls: its facts and its rows."""
    file = tmp_path_factory.mktemp("whole") / "path.zarr"
    (facts,) = survive(file)
    assert facts.restarts > 0
    return facts._replace(seconds=0), rows(file)


@pytest.mark.parametrize(
    ("stage", "call", "after"),
    [
        ("append_rows", 1, False),
        ("commit_rows", 0, True),
        ("commit_rows", 1, False),
        ("save_checkpoint", 0, True),
        ("save_checkpoint", 1, False),
        ("finish_recorder", 0, False),
        ("finish_recorder", 0, True),
    ],
)
def test_a_trial_survives_its_end_before_and_after_each_stage(stage, call, after, whole, tmp_path, monkeypatch):
    file = tmp_path / "path.zarr"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        survive(file, patch, stage, call=call, after=after)
    (facts,) = survive(file)
    assert (facts._replace(seconds=0), rows(file)) == whole
    assert not file.with_suffix(".checkpoints").exists()


def seen(file):
    kept = nv.load_projection(file)
    parts = [*kept.points["params"][:4], *kept.rows["measures"].values(), kept.rows["restarts"], kept.last]
    return [np.asarray(part).tobytes() for part in parts]


@pytest.mark.parametrize(
    ("stage", "call", "after"),
    [("append_rows", 2, True), ("save_checkpoint", 0, True), ("save_checkpoint", 1, False), ("finish_recorder", 0, 0)],
)
def test_a_path_that_is_kept_in_a_plane_alone_survives_likewise(stage, call, after, tmp_path, monkeypatch):
    (facts,) = survive(tmp_path / "whole.zarr", projected=SEEN)
    file = tmp_path / "path.zarr"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        survive(file, patch, stage, call=call, after=after, projected=SEEN)
    (again,) = survive(file, projected=SEEN)
    assert (again._replace(seconds=0), seen(file)) == (facts._replace(seconds=0), seen(tmp_path / "whole.zarr"))
    measured = nv.load_projection(file).rows["measures"]["sum"]
    assert np.isfinite(measured[[0, 2, 4, -1]]).all()  # each second row, and the last


def test_a_checkpoint_without_its_rows_is_not_gone_on_from(whole, tmp_path, monkeypatch):
    file = tmp_path / "path.zarr"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        survive(file, patch, "save_checkpoint", call=1, after=True)
    shutil.rmtree(file)
    survive(file)
    assert rows(file) == whole[1]


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(whole, tmp_path, monkeypatch):
    file = tmp_path / "path.zarr"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        survive(file, patch, "save_checkpoint", call=1, after=True)
    for part in (file.with_suffix(".checkpoints") / "20").rglob("*"):
        if part.is_file():
            part.write_bytes(b"")
    survive(file)
    assert rows(file) == whole[1]


def state():
    """Made when asked for: the processes above are forked, which a JAX that has begun to compute does not bear."""
    params = {"w": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.zeros(())}
    masked = optax.masked(optax.adam(0.1), {"w": True, "b": False})
    return {
        "chain": optax.chain(masked, nv.nag(0.1)).init(params),
        "noise": optax.add_noise(0.1, 0.5, jax.random.key(7)).init(params),
        "key": jax.random.key(3, impl="rbg"),
        "empty": jnp.zeros((0, 4)),
        "odd": jnp.array([jnp.nan, -0.0, jnp.inf]),
    }


def test_a_checkpoint_is_the_same_tree_bit_for_bit_and_the_newest_two_are_kept(tmp_path):
    saved = state()
    for step in (5, 10, 200):
        checkpoints.save_checkpoint(tmp_path / "kept", step, saved)
    kept = dict(checkpoints.newest_first(tmp_path / "kept", saved))
    assert list(kept) == [200, 10]
    loaded = kept[200]()
    assert jax.tree.structure(loaded) == jax.tree.structure(saved)
    for one, other in zip(jax.tree.leaves(loaded), jax.tree.leaves(saved), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        plain = [jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in (one, other)]
        assert np.asarray(plain[0]).tobytes() == np.asarray(plain[1]).tobytes()


def test_a_checkpoint_of_another_state_is_refused(tmp_path):
    checkpoints.save_checkpoint(tmp_path / "kept", 1, {"w": jnp.ones(2)})
    for other in ({"w": jnp.ones(3)}, {"w": jnp.ones(2, jnp.int32)}, {"w": jnp.ones(2), "v": jnp.ones(2)}):
        ((_, load),) = checkpoints.newest_first(tmp_path / "kept", other)
        with pytest.raises(ValueError, match="another state"):
            load()


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="files of limited size")
def test_a_disk_that_is_full_is_told_and_what_was_committed_stays(whole, tmp_path, monkeypatch):
    import resource

    file = tmp_path / "path.zarr"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        survive(file, patch, "save_checkpoint", call=1, after=True)
    before, limits = rows(file), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # bytes of a file, which stand for those of a disk
    try:
        with pytest.raises(Refusal, match="--resume"):
            survive(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert rows(file) == before
    survive(file)
    assert rows(file) == whole[1]


ENDS = [  # step of a batch loss that is not finite, values at snapshots 4, 8, 12: which are kept, divergence, complete
    (None, [3.0, 2.0, 1.0], [4, 8, 12], None, False),
    (None, [3.0, 0.1, 1.0], [4, 8], None, True),
    (9, [3.0, 0.1, np.inf], [4, 8], None, True),
    (8, [3.0, 0.1, 1.0], [4, 8], None, True),
    (5, [3.0, 0.1, 1.0], [4], 5, False),
    (None, [3.0, np.nan, 0.1], [4, 8], 8, False),
]


@pytest.mark.parametrize(("bad", "values", "kept", "diverged", "complete"), ENDS)
def test_the_first_of_divergence_and_target_ends_a_path_wherever_its_chunk_ends(bad, values, kept, diverged, complete):
    course = trials.Course(None, None, None, None, lambda points: np.asarray(points["w"]), np.arange(4, 13, 4), 0.5)
    losses = np.ones(12)
    if bad is not None:
        losses[bad] = np.nan
    chunk = trials.Chunk(np.array([4, 8, 12]), None, losses, 12, None, 0.0)
    points = {"w": np.nan_to_num(np.array(values), posinf=9.0, nan=7.0)}
    course = course._replace(watch=lambda points: np.array(values))
    seen = trials._seen(course, chunk, points, losses)
    assert (chunk.steps[seen.kept].tolist(), seen.diverged, seen.complete) == (kept, diverged, complete)
