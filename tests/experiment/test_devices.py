"""A run and its slices are the same on one device, on several, over processes, and on fewer than they were begun on."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nagviz.cli import main
from nagviz.experiment import report
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


def started(devices, *words, cwd=None):
    """The command, as a process that has as many devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, "-m", "nagviz", *map(str, words)], env=os.environ | flags, cwd=cwd, **pipes
    )


def pair(*words, more=(), folders=(None, None)):
    """Two processes, the second with more words; it has a device more, which no other one has and all leave out."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ways = [("--coordinator", f"{address},2,{number}", "--wait", 60) for number in range(2)]
    return [started(2, *words, *own, *way, cwd=cwd) for own, way, cwd in zip(((), more), ways, folders, strict=True)]


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
    assert json.loads((folder / "environment.json").read_text())["devices used"] == 4
    assert "\nnagviz run digits.toml --devices 4\n" in (folder / "report.md").read_text()
    same(folder, alone)
    assert "--devices" not in (alone / "report.md").read_text()


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


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Of two processes the second is killed once there is a checkpoint; what the first one says, and its folder."""
    folder = tmp_path_factory.mktemp("pair") / "run"
    processes = pair("run", DIGITS, *WORDS, "--out", folder)
    try:
        while not any(path.name.isdecimal() for path in folder.glob("paths/*.checkpoints/*")):
            assert processes[0].poll() is None, told(processes[0])
            time.sleep(0.005)
        processes[1].send_signal(signal.SIGKILL)
        code, _, errors = told(processes[0])
    finally:
        told(processes[1])
    assert not (folder / "results.csv").exists()
    return folder, code, errors


def test_who_has_lost_another_process_ends_and_tells_how_to_go_on(killed):
    folder, code, errors = killed
    assert code == 1, errors
    assert errors.count("another process has ended, or cannot be reached any more") == 1
    assert "goes on with it" in errors
    assert f"--out {folder} --resume --coordinator" in errors
    assert "Traceback" not in errors


def test_two_processes_go_on_from_the_last_checkpoint_and_cut_together(killed, alone):
    """To the numbers of one device; the first process alone says and writes something."""
    folder = killed[0]
    shutil.copytree(folder, folder.with_name("copy"))
    first, second = map(told, pair("run", DIGITS, *WORDS, "--out", folder, "--resume"))
    assert (first[0], second[0]) == (0, 0), first
    assert "NAG" in first[1]
    assert [line for text in second[1:] for line in text.splitlines() if "Gloo" not in line] == []
    same(folder, alone)
    first, second = map(told, pair("slice", folder, *CUT))
    assert (first[0], second[0]) == (0, 0), first
    same(folder, alone, "0-random-5")


def test_what_two_processes_began_one_device_goes_on_with(killed, alone, capsys):
    folder = killed[0].with_name("copy")
    assert main(["run", str(DIGITS), *WORDS, "--out", str(folder), "--resume"]) == 0
    said = capsys.readouterr().err
    assert "note: this run was begun with devices ['cpu 0: cpu', " in said
    assert "; devices used 4, now 1; processes 2, now 1: its numbers may not be" in said
    (resumed,) = json.loads((folder / "environment.json").read_text())["resumed"]
    assert (resumed["devices used"], resumed["processes"]) == (1, 1)
    same(folder, alone)


def test_a_refusal_is_told_once_and_ends_all(alone):
    first, second = map(told, pair("run", DIGITS, *WORDS, "--out", alone))
    assert (first[0], second[0]) == (2, 2)
    assert "holds a run already" in first[2]
    assert second[2] == ""


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (
            ["--set", "seed=1", "--devices", 1],
            "has not what process 0 has: seed 1, there 0; --devices 2, there 4; give all processes the same",
        ),
        (["--set", "stepz=1"], "--set stepz=1: stepz: is no known key; did you mean 'steps'?"),
    ],
)
def test_processes_that_were_given_different_words_are_refused(tmp_path, odd, said):
    """They would train on to numbers of neither, abort, or wait for one that has ended."""
    words = ["run", DIGITS, *WORDS, "--out", tmp_path / "run"]
    first, second = map(told, pair(*words, more=odd))
    assert (first[0], second[0]) == (2, 2), first
    assert f"process 1: {said}" in first[2]
    assert not (tmp_path / "run").exists()


def test_processes_that_have_other_data_and_code_are_refused(tmp_path):
    """At the path and by the name that both were given."""
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        np.savez(tmp_path / str(number) / "data.npz", x=np.eye(64, 4) + number, y=np.arange(64.0))
        (tmp_path / str(number) / "beside.py").write_text(f"SHIFT = {number}\n")
        (tmp_path / str(number) / "mine.py").write_text(
            f"from beside import SHIFT  # {number}\n\n"
            "def square(outputs, targets):\n    return ((outputs.squeeze() - targets) ** 2).mean() + SHIFT\n"
        )
    words = ["run", DIGITS, *WORDS, "--out", tmp_path / "run", "--trust"]
    words += ["--set", 'data={kind="npz",path="data.npz",test_fraction=0.5}', "--set", 'loss.function="mine:square"']
    first, second = map(told, pair(*words, folders=[tmp_path / "0", tmp_path / "1"]))
    assert (first[0], second[0]) == (2, 2), first
    digests = r" SHA-256 (\w{12})\.\.\., there SHA-256 (?!\1)\w{12}\.\.\.; "
    for name in ("data: npz", "code: loss.function", "npz: loss"):  # the last one by what it leans on, too
        assert re.search(f"process 1: has not what process 0 has: .*{name}{digests}", first[2]), first[2]
    assert "npz: start" not in first[2]
    assert not (tmp_path / "run").exists()


def test_processes_that_do_not_meet_end_in_time(tmp_path, capsys):
    words = ["run", DIGITS, *WORDS, "--out", tmp_path / "run"]
    lost = [started(1, *words, "--coordinator", f"127.0.0.1:9,2,{number}", "--wait", 2) for number in (1,)]
    ((code, _, errors),) = map(told, lost)
    assert code == 2
    assert re.match(
        r"--distributed: process 0 does not answer \(.*refused.*\) at 127.0.0.1:9 within 2 s; start all", errors
    )
    assert errors.count("\n") == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main([*map(str, words), "--coordinator", f"{address},2,0"]) == 2
        assert capsys.readouterr().err.startswith(f"--coordinator: {address} cannot be listened at: ")
    odd = ["10.0.0.1,2,0", "10.0.0.1:1234,2,2", "10.0.0.1:1234", "10.0.0.1:0,2,1", "10.0.0.1:99999,2,1"]
    for asked in (*odd, "", "a host:1234,2,0", "http://10.0.0.1:1234,2,0"):
        assert main([*map(str, words), "--coordinator", asked]) == 2
        assert (
            "--coordinator: must be ADDRESS:PORT,COUNT,NUMBER, PORT from 1 to 65535 and NUMBER"
            in capsys.readouterr().err
        )


def test_who_waits_for_the_others_can_be_interrupted(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored would be ignored there too
    waiting = started(1, "run", DIGITS, "--out", tmp_path / "run", "--coordinator", f"127.0.0.1:{port},2,0")
    signal.signal(signal.SIGINT, kept)
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            break
        assert waiting.poll() is None, told(waiting)
        time.sleep(0.05)
    waiting.send_signal(signal.SIGINT)
    assert told(waiting)[0] == -signal.SIGINT


def test_a_slice_that_is_refused_ends_all(alone):
    """Whether the folder is in use, which the first one alone finds, or the processes ask for different things."""
    with report.alone(alone):
        first, second = map(told, pair("slice", alone, *CUT))
    assert (first[0], second[0]) == (2, 2), first
    assert "is being worked in by another process" in first[2]
    first, second = map(told, pair("slice", alone, *CUT, more=["--grid", 7]))
    assert (first[0], second[0]) == (2, 2), first
    assert "process 1: has not what process 0 has: --grid 7, there 5; give all processes the same" in first[2]
