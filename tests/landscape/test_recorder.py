"""A row that was committed is there, whole and once, whatever happens; and any reader opens the path at any moment."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
import zarr

import nagviz as nv
from nagviz.landscape import recorder as module

LIKE = {
    "layers": [{"kernel": np.zeros((2, 3), np.float32)}, {"a/b": np.zeros(4), "a_b": np.ones(1, np.float16)}],
    "half": jnp.zeros(3, jnp.bfloat16),
    "scale": np.float32(2),
    "wave": np.zeros(2, np.complex64),
}


def rows(steps, like=LIKE):
    """Rows whose numbers tell their step."""
    steps = np.asarray(steps)

    def leaf(one):
        shape = (len(steps), *(1,) * np.ndim(one))
        return (steps.reshape(shape) + np.arange(np.size(one)).reshape(np.shape(one))).astype(np.asarray(one).dtype)

    return jax.tree.map(leaf, like)


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture
def small(monkeypatch):
    """Chunks of a few rows, and of parts of a row."""
    monkeypatch.setattr(module, "_CHUNK", 64)
    monkeypatch.setattr(module, "_HELD", 512)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "path.zarr"


@pytest.mark.parametrize("together", [1, 3, 40])
def test_a_path_of_every_type_comes_back_whole(together, file, small):
    steps = np.arange(40) * 5
    recorder = nv.open_recorder(file, LIKE, lookahead=LIKE, loss=0.0, restarts=0)
    for first in range(0, 40, together):
        part = steps[first : first + together]
        more = {"lookahead": rows(part + 1), "loss": part / 2, "restarts": part}
        assert nv.append_rows(recorder, part, rows(part), **more) == len(part)
        if first % 2:
            nv.commit_rows(recorder)
    nv.finish_recorder(recorder, seconds=1.5, lost=float("nan"), marks=[1, 2])
    path, facts = nv.load_trajectory(file, LIKE)
    np.testing.assert_array_equal(path.steps, steps)
    same(path.params, rows(steps))
    same(nv.load_trajectory(file, LIKE, point="lookahead")[0].params, rows(steps + 1))
    np.testing.assert_array_equal(nv.load_trajectory(file, point="loss")[0].params, steps / 2)
    assert np.isnan(facts.pop("lost"))
    assert facts == {"seconds": 1.5, "marks": (1, 2)}
    stored = nv.open_trajectory(file, LIKE, point="lookahead")
    np.testing.assert_array_equal(
        stored.params["layers"][0]["kernel"][39], rows(steps[-1:] + 1)["layers"][0]["kernel"][0]
    )


def test_rows_are_grouped_and_big_leaves_cut(file):
    like = {"big": np.zeros((3, 1000, 1000), np.float32), "middle": np.zeros(5000, np.float32), "small": np.zeros(2)}
    nv.open_recorder(file, like)
    inner = json.loads((file / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    chunks = {name: facts["chunk_grid"]["configuration"]["chunk_shape"] for name, facts in inner.items()}
    assert chunks["params.big"] == [1, 1, 1000, 1000]
    assert 1 << 20 < 4 * 5000 * chunks["params.middle"][0] <= 1 << 22
    assert chunks["params.small"] == [4096, 2]
    nv.open_recorder(file.with_name("short.zarr"), like, rows=7)
    inner = json.loads((file.with_name("short.zarr") / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    assert inner["params.middle"]["chunk_grid"]["configuration"]["chunk_shape"] == [7, 5000]


def test_an_empty_path_is_one(file):
    recorder = nv.open_recorder(file, LIKE)
    nv.commit_rows(recorder)
    path, facts = nv.load_trajectory(file, LIKE)
    assert (path.steps.tolist(), facts) == ([], None)
    same(path.params, rows(np.arange(0)))
    assert nv.append_rows(recorder, np.arange(0), rows(np.arange(0))) == 0
    assert dict(xarray.open_zarr(file).sizes)["step"] == 0
    recorder = nv.open_recorder(file, LIKE, resume=True)
    nv.append_rows(recorder, [3], rows([3]))
    nv.finish_recorder(recorder)
    assert nv.load_trajectory(file)[0].steps.tolist() == [3]
    assert nv.load_trajectory(file)[1] == {}


def test_readers_see_the_last_commit_while_rows_are_written(file, small):
    recorder = nv.open_recorder(file, LIKE, loss=0.0)
    for end, seen in ((1, 1), (7, 7), (30, 30)):
        first = recorder.rows.count
        steps = np.arange(first, end)
        nv.append_rows(recorder, steps, rows(steps), loss=steps / 1)
        nv.commit_rows(recorder)
        ahead = np.arange(end, end + 20)
        more = nv.open_recorder(file, LIKE, loss=0.0, resume=True)
        nv.append_rows(more, ahead, rows(-ahead), loss=ahead / 1)  # full chunks go to the disk, and are not committed
        module._land(more)
        path, facts = nv.load_trajectory(file, LIKE)
        same(path.params, rows(np.arange(seen)))
        assert (len(path.steps), facts) == (seen, None)
        for consolidated in (True, False):
            opened = xarray.open_zarr(file, consolidated=consolidated)
            np.testing.assert_array_equal(
                opened["params.layers.0.kernel"], rows(np.arange(seen))["layers"][0]["kernel"]
            )
            np.testing.assert_array_equal(opened.step, np.arange(seen))
        group = zarr.open_group(file, mode="r")
        np.testing.assert_array_equal(group["loss"][:], np.arange(seen))


def test_a_commit_that_is_broken_off_anywhere_leaves_the_last_one(file, small, monkeypatch):
    """Every rename of a commit but the last one, of the record, changes nothing for a reader."""
    recorder = nv.open_recorder(file, LIKE)
    nv.append_rows(recorder, np.arange(5), rows(np.arange(5)))
    nv.commit_rows(recorder)
    replace, done = module.disk.replace, []
    for stop in range(9):
        again = nv.open_recorder(file, LIKE, resume=True)
        nv.append_rows(again, np.arange(5, 9), rows(-np.arange(5, 9)))

        def dies(path, content, stop=stop, done=done, **options):
            if len(done) == stop:
                raise KeyboardInterrupt
            done.append(path)
            replace(path, content, **options)

        monkeypatch.setattr(module.disk, "replace", dies)
        done.clear()
        try:
            nv.commit_rows(again)
        except KeyboardInterrupt:
            same(nv.load_trajectory(file, LIKE)[0].params, rows(np.arange(5)))
            assert xarray.open_zarr(file).sizes["step"] == 5
        monkeypatch.setattr(module.disk, "replace", replace)
    assert [path.parent.name for path in done[6:]] == ["step", "path.zarr"]
    same(
        nv.load_trajectory(file, LIKE)[0].params,
        jax.tree.map(lambda a, b: np.concatenate([a, b]), rows(range(5)), rows(-np.arange(5, 9))),
    )


def test_the_record_is_replaced_at_one_stroke(file, monkeypatch):
    recorder = nv.open_recorder(file, LIKE)
    nv.append_rows(recorder, [0], rows([0]))
    before = (file / "zarr.json").read_text()

    def refuses(self, target):
        raise OSError("no")

    monkeypatch.setattr(Path, "replace", refuses)
    with pytest.raises(OSError, match="its 0 committed rows"):
        nv.commit_rows(recorder)
    assert (file / "zarr.json").read_text() == before
    assert not list(file.rglob("*.partial"))


def test_an_append_that_is_interrupted_adds_no_row_and_harms_none(file, small, monkeypatch):
    for stop in range(12):
        recorder = nv.open_recorder(file, LIKE, resume=True)
        nv.append_rows(recorder, [2 * stop], rows([2 * stop]))
        send, sent = module._send, []

        def dies(*args, stop=stop, send=send, sent=sent):
            if len(sent) == stop:
                raise KeyboardInterrupt
            sent.append(args)
            send(*args)

        ahead = np.arange(2 * stop + 1, 2 * stop + 40)
        monkeypatch.setattr(module, "_send", dies)
        with pytest.raises(KeyboardInterrupt):
            nv.append_rows(recorder, ahead, rows(-ahead))
        monkeypatch.setattr(module, "_send", send)
        nv.append_rows(recorder, [2 * stop + 1], rows([2 * stop + 1]))
        nv.commit_rows(recorder)
        same(nv.load_trajectory(file, LIKE)[0].params, rows(np.arange(2 * stop + 2)))


def test_what_is_resumed_goes_on_and_rows_made_again_are_left_out(file, small):
    recorder = nv.open_recorder(file, LIKE, resume=True)  # nothing is there: it is begun
    nv.append_rows(recorder, range(0, 50, 5), rows(range(0, 50, 5)))
    nv.finish_recorder(recorder, seconds=1.0)
    again = nv.open_recorder(file, LIKE, resume=True)
    nv.commit_rows(again)
    assert nv.load_trajectory(file)[1] == {"seconds": 1.0}
    assert nv.append_rows(again, [40, 45], rows([40, 45])) == 0
    assert nv.append_rows(again, [45, 50], rows([45, 50])) == 1
    nv.commit_rows(again)
    path, facts = nv.load_trajectory(file, LIKE)
    assert facts is None
    np.testing.assert_array_equal(path.steps, range(0, 55, 5))
    same(path.params, rows(range(0, 55, 5)))
    with pytest.raises(ValueError, match="which has no row at step 44"):
        nv.append_rows(nv.open_recorder(file, LIKE, resume=True), [44, 55], rows([44, 55]))


def test_numbers_that_a_caller_reuses_were_copied(file):
    buffer = {"w": np.zeros((1, 1000), np.float32)}
    recorder = nv.open_recorder(file, {"w": buffer["w"][0]}, rows=1)
    for step in range(3):
        buffer["w"][:] = step
        nv.append_rows(recorder, [step], buffer)
    buffer["w"][:] = -1
    nv.finish_recorder(recorder)
    np.testing.assert_array_equal(nv.load_trajectory(file)[0].params["w"][:, 0], [0, 1, 2])


@pytest.mark.parametrize(
    ("steps", "row", "message"),
    [
        ([1, 1], {}, "steps must be increasing whole numbers"),
        ([0.5], {}, "steps must be increasing whole numbers"),
        ([4, 5], {}, "steps must go on beyond the last one recorded, 4, got 4"),
        ([5], {"loss": None}, "opened without loss"),
        ([5], {"params": {"w": np.zeros((1, 2))}}, r"params\['w'\] must be float32.*got float64"),
        ([5], {"params": {"w": np.zeros(2, np.float32)}}, r"params\['w'\] must have the shape \(1, 2\).*got \(2,\)"),
        ([5], {"params": {}}, r"params\['w'\] is missing"),
        ([5], {"params": {"w": np.zeros((1, 2), np.float32), "v": 0}}, r"params\['v'\] is not known"),
    ],
)
def test_rows_of_another_kind_are_refused_and_change_nothing(steps, row, message, file):
    recorder = nv.open_recorder(file, {"w": np.zeros(2, np.float32)})
    nv.append_rows(recorder, [4], {"w": np.ones((1, 2), np.float32)})
    with pytest.raises(ValueError, match=message):
        nv.append_rows(recorder, steps, **{"params": {"w": np.zeros((len(steps), 2), np.float32)}, **row})
    nv.append_rows(recorder, [5], {"w": np.full((1, 2), 5, np.float32)})
    nv.commit_rows(recorder)
    np.testing.assert_array_equal(nv.load_trajectory(file)[0].params["w"], [[1, 1], [5, 5]])


def test_a_path_of_other_rows_is_not_resumed_and_the_leaf_is_named(file):
    with pytest.raises(ValueError, match="a word for a name, not step or last, got 'step'"):
        nv.open_recorder(file, LIKE, step=0)
    with pytest.raises(ValueError, match="params must hold at least one array"):
        nv.open_recorder(file, {})
    assert not file.exists()
    nv.open_recorder(file, LIKE, loss=0.0)
    with pytest.raises(FileExistsError, match="resume it, remove it, or name another place"):
        nv.open_recorder(file, LIKE, loss=0.0)
    for other, message in (
        (LIKE | {"scale": np.zeros(2, np.float32)}, r"params.scale of shape \(2,\).*it has params.scale of shape \(\)"),
        (LIKE | {"half": np.zeros(3, np.float32)}, "type float32: it has params.half .* type bfloat16"),
        (LIKE | {"new": np.zeros(1)}, "have params.new .*: it has no params.new"),
        ({"half": LIKE["half"]}, "have no params.layers.*: it has params.layers.0.kernel"),
    ):
        with pytest.raises(ValueError, match=message):
            nv.open_recorder(file, other, loss=0.0, resume=True)
    with pytest.raises(ValueError, match="have no loss: it has loss of shape"):
        nv.open_recorder(file, LIKE, resume=True)
    with pytest.raises(ValueError, match=r"holds no 'lookahead', only params, loss, step; name one of those"):
        nv.load_trajectory(file, point="lookahead")
    with pytest.raises(ValueError, match="holds a trajectory, not a projection"):
        nv.load_projection(file)


def test_a_lost_or_damaged_chunk_is_told_and_not_gone_on_with(file, small):
    recorder = nv.open_recorder(file, {"w": np.zeros(4)})
    nv.append_rows(recorder, range(9), {"w": np.zeros((9, 4))})
    nv.commit_rows(recorder)
    chunk = sorted((file / "params.w" / "c").iterdir())[-1] / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-5] + b"\0" + whole[-4:])
    chunk.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    for damage in ("is damaged", "chunks of the array 'params.w' are lost"):
        with pytest.raises(ValueError, match=damage):
            nv.load_trajectory(file)
        with pytest.raises(ValueError, match=damage):
            nv.open_recorder(file, {"w": np.zeros(4)}, resume=True)
        chunk.unlink(missing_ok=True)


WALKER = """
import os, sys
import numpy as np
import nagviz as nv
from nagviz.landscape import recorder as module

def walk(file, seed):
    rng = np.random.default_rng(seed)
    module._CHUNK, module._HELD = 1 << 15, 1 << 17
    recorder = nv.open_recorder(file, {"w": np.zeros(200, np.float32), "b": np.zeros(3)}, loss=0.0, resume=True)
    os.write(1, f"{recorder.rows.count}\\n".encode())
    while True:
        steps = recorder.rows.count + np.arange(rng.integers(1, 12))
        row = {"w": (steps[:, None] + np.arange(200)).astype(np.float32), "b": steps[:, None] + np.arange(3.0)}
        nv.append_rows(recorder, steps, row, loss=steps / 2)
        if rng.random() < 0.5:
            nv.commit_rows(recorder)
            os.write(1, f"{recorder.rows.count}\\n".encode())

for line in sys.stdin:
    child = os.fork()
    if not child:
        walk(sys.argv[1], int(line))
    os.write(1, f"child {child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


def killed(walker, seed, seconds):
    """Let a process record for a while and kill it; what it said was committed."""
    walker.stdin.write(f"{seed}\n")
    walker.stdin.flush()
    told = [walker.stdout.readline().split() for _ in range(2)]
    time.sleep(seconds)
    os.kill(next(int(words[1]) for words in told if words[0] == "child"), signal.SIGKILL)
    while told[-1] != ["dead"]:
        told.append(walker.stdout.readline().split())
    return [int(words[0]) for words in told if words[0].isdigit()]


def test_a_kill_at_any_moment_loses_no_committed_row(file):
    rng, like, committed = np.random.default_rng(0), {"w": np.zeros(200, np.float32), "b": np.zeros(3)}, 0
    command = [sys.executable, "-W", "ignore", "-c", WALKER, file]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as walker:
        for kill in range(10):
            told = killed(walker, kill, rng.uniform(0, 0.15))
            assert told[0] == committed  # it went on where the last one was
            path, facts = nv.load_trajectory(file, like)
            committed = len(path.steps)
            assert (facts, committed >= told[-1]) == (None, True)
            np.testing.assert_array_equal(path.steps, np.arange(committed))
            same(path.params, rows(path.steps, like))
            np.testing.assert_array_equal(nv.load_trajectory(file, point="loss")[0].params, path.steps / 2)
            np.testing.assert_array_equal(xarray.open_zarr(file)["params.w"][:, 0], path.steps)
        walker.stdin.close()
    assert committed > 100


def fill(file, like, steps):
    recorder = nv.open_recorder(file, like, rows=1, resume=True)
    for step in steps:
        nv.append_rows(recorder, [step], rows([step], like))
        nv.commit_rows(recorder)


def refuses_and_keeps(file, like, message):
    """Record until the disk refuses; what was there is there."""
    with pytest.raises(OSError, match=message) as told:
        fill(file, like, range(100))
    assert str(file) in str(told.value)
    assert "tensorstore_spec" not in str(told.value)
    path, _ = nv.load_trajectory(file, like)
    assert f"its {len(path.steps)} committed rows are as they were" in str(told.value)
    same(path.params, rows(path.steps, like))
    return len(path.steps)


def test_a_file_that_grows_too_big_ends_in_a_clear_message(file):
    """As the disk's being full does, but without the rights to make a small one."""
    like = {"w": np.zeros(40_000, np.float32)}
    fill(file, like, range(3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        recorder = nv.open_recorder(file, like, resume=True)
        nv.append_rows(recorder, [3], rows([3], like))  # its write is under way
        with pytest.raises(OSError, match=r"its 3 committed rows .*free space.*File too large"):
            nv.commit_rows(recorder)
        for _ in range(2):  # nor does a later one pass over the gap
            with pytest.raises(OSError, match="its 3 committed rows"):
                nv.commit_rows(recorder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    same(nv.load_trajectory(file, like)[0].params, rows(range(3), like))
    fill(file, like, range(5))
    same(nv.load_trajectory(file, like)[0].params, rows(range(5), like))


@pytest.fixture
def disk(tmp_path):
    """A disk of one MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = shutil.which("mount")
    made = command and subprocess.run([command, "-t", "tmpfs", "-o", "size=1m", "nagviz", place], capture_output=True)
    if not made or made.returncode:
        pytest.skip("a small disk can be made by root alone")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_ends_in_a_clear_message_and_goes_on_when_there_is_space(disk):
    (disk / "ballast").write_bytes(bytes(300_000))
    like = {"w": np.zeros(20_000, np.float32), "v": np.zeros(20_000, np.float32)}
    kept = refuses_and_keeps(disk / "path.zarr", like, "free space.*No space left")
    assert 0 < kept < 10
    (disk / "ballast").unlink()
    fill(disk / "path.zarr", like, range(kept + 1))
    same(nv.load_trajectory(disk / "path.zarr", like)[0].params, rows(range(kept + 1), like))
    with pytest.raises(OSError, match="cannot be begun; free space"):
        nv.open_recorder(disk / "other.zarr", {f"w{i}": np.zeros(2) for i in range(400)})
    assert [path.name for path in disk.iterdir()] == ["path.zarr"]


def test_a_read_only_disk_ends_in_a_clear_message(disk):
    fill(disk / "path.zarr", {"w": np.zeros(2)}, range(3))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert refuses_and_keeps(disk / "path.zarr", {"w": np.zeros(2)}, "make the folder writable.*Read-only") == 3
    with pytest.raises(OSError, match=r"cannot be begun.*Read-only"):
        nv.open_recorder(disk / "other.zarr", LIKE)


def test_a_place_that_can_be_no_folder_is_told_before_anything_is_recorded(tmp_path):
    (tmp_path / "text").write_text("text")
    with pytest.raises(OSError, match=r"path\.zarr cannot be begun; .* name a folder that can be written"):
        nv.open_recorder(tmp_path / "text" / "path.zarr", LIKE)
    with pytest.raises(ValueError, match="text is no zarr v3 group that nagviz wrote"):
        nv.open_recorder(tmp_path / "text", LIKE, resume=True)
    assert (tmp_path / "text").read_text() == "text"


def test_a_size_is_that_of_the_numbers_on_disk(file):
    wanted = nv.expected_bytes(LIKE, rows=64, points=2)
    assert wanted == 128 * (6 * 4 + 4 * 8 + 2 + 3 * 4 + 4 + 2 * 8)  # bfloat16 is kept as float32
    recorder = nv.open_recorder(file, LIKE, rows=64, lookahead=LIKE)
    nv.append_rows(recorder, range(64), rows(range(64)), lookahead=rows(range(64)))
    nv.commit_rows(recorder)
    held = sum(part.stat().st_size - 4 for part in file.rglob("*") if part.is_file() and part.name != "zarr.json")
    assert held - 64 * 8 == wanted  # the steps
    assert [nv.bytes_in_words(size) for size in (0, 999, 1000, 999_999, 2_500_000_000, 10**16)] == [
        "0 B", "999 B", "1.0 kB", "1000 kB", "2.5 GB", "10000 TB"
    ]  # fmt: skip


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000, 123_456])
def test_snapshots_are_at_the_start_the_end_and_increasing_steps_between(steps):
    for count in (count for count in (2, 3, 5, 17, 200, 1001) if count <= steps + 1):
        kept = nv.snapshot_steps(steps, count=count)
        assert (kept[0], kept[-1], len(kept)) == (0, steps, count)
        assert np.all(np.diff(kept) > 0)
        assert np.all(np.diff(kept, n=2)[1:-1] >= -1)  # no closer later on, but for rounding
    for every in (1, 7, 1000, 10**6):
        kept = nv.snapshot_steps(steps, every=every)
        np.testing.assert_array_equal(kept, sorted({*range(0, steps, every), steps}))


def test_snapshots_may_be_at_every_step():
    for steps in range(1, 61):
        np.testing.assert_array_equal(nv.snapshot_steps(steps, count=steps + 1), np.arange(steps + 1))


@pytest.mark.parametrize("asked", [{}, {"every": 1, "count": 2}, {"every": 0}, {"count": 1}, {"count": 12}])
def test_snapshots_that_make_no_path_are_refused(asked):
    with pytest.raises(ValueError, match=r"every|count"):
        nv.snapshot_steps(10, **asked)
    with pytest.raises(ValueError, match="steps >= 1"):
        nv.snapshot_steps(0, every=1)


PLANE = nv.Plane(
    {"w": np.array([1.0, 0, 0, 0]), "b": np.zeros(1)},
    tuple({"w": np.eye(4)[i] * 2, "b": np.full(1, float(i))} for i in range(3)),
    ("a", "b", "c"),
)


def test_a_path_may_be_kept_as_seen_in_a_plane_alone(file):
    steps = np.arange(7)
    path, ahead = rows(steps, PLANE.origin), rows(steps + 3, PLANE.origin)
    recorder = nv.open_projection(file, PLANE, points=("lookahead",), loss=0.0)
    nv.append_rows(
        recorder,
        steps[:4],
        rows(steps[:4], PLANE.origin),
        lookahead=rows(steps[:4] + 3, PLANE.origin),
        loss=steps[:4] / 2,
    )
    nv.commit_rows(recorder)
    kept = nv.load_projection(file)
    assert (kept.last, kept.facts, len(kept.rows["loss"])) == (None, None, 4)
    recorder = nv.open_projection(file, PLANE, points=("lookahead",), loss=0.0, resume=True)
    nv.append_rows(recorder, steps, path, lookahead=ahead, loss=steps / 2)
    nv.finish_recorder(recorder, seconds=2.0)
    kept = nv.load_projection(file, PLANE.origin)
    for name, points in (("params", path), ("lookahead", ahead)):
        seen = nv.project(PLANE, nv.Trajectory(steps, points))
        for field in ("coordinates", "residual", "share", "steps"):
            np.testing.assert_allclose(getattr(kept.points[name], field), getattr(seen, field), rtol=1e-15)
        np.testing.assert_allclose(kept.points[name].explained, seen.explained, rtol=1e-14)
    np.testing.assert_array_equal(kept.rows["loss"], steps / 2)
    same(kept.last, jax.tree.map(lambda leaf: leaf[-1], path))
    assert kept.facts == {"seconds": 2.0}
    assert xarray.open_zarr(file)["params.coordinates"].shape == (7, 3)
    again = nv.open_projection(file, PLANE, points=("lookahead",), loss=0.0, resume=True)
    nv.append_rows(again, [6], rows([6], PLANE.origin), lookahead=rows([9], PLANE.origin), loss=[3.0])
    nv.finish_recorder(again)
    same(nv.load_projection(file, PLANE.origin).last, kept.last)
    nv.finish_recorder(nv.open_projection(file, PLANE, points=("lookahead",), loss=0.0, resume=True))
    same(nv.load_projection(file, PLANE.origin).last, kept.last)


def test_a_projection_into_another_plane_is_not_resumed(file):
    nv.open_projection(file, PLANE)
    other = nv.Plane(PLANE.origin, PLANE.axes[:2] + PLANE.axes[:1], PLANE.labels)
    with pytest.raises(ValueError, match="parallel"):
        nv.open_projection(file.with_name("other.zarr"), other)
    other = nv.Plane(PLANE.origin, PLANE.axes[::-1], PLANE.labels)
    with pytest.raises(ValueError, match="cannot be resumed with another plane"):
        nv.open_projection(file, other, resume=True)
    with pytest.raises(ValueError, match="params"):
        nv.append_rows(nv.open_projection(file, PLANE, resume=True), [0], {"w": np.zeros((1, 4))})
