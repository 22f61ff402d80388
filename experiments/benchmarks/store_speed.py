"""Does recording a path keep up with the disk? Raw writes and the recorder in turn, in one process.

    python experiments/benchmarks/store_speed.py [--folder .] [--rows 100] [--rounds 9]

Raw is one file, written row by row from memory, then synced. The recorder is timed from the first row to the end of
the commit: copies, checksums, chunks, the sync of every file and of its folder, and the record; its opening, once a
path, is told apart. Both write the same numbers, about a million float32 a row. Prints the median of each and of the
ratios round by round; at least half is asked for.
"""

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path

import numpy as np

import nagviz as nv

MODELS = {  # shapes of the leaves
    "one leaf": [(1_000_000,)],
    "MLP of 6 leaves": [(784, 900), (900,), (900, 320), (320,), (320, 10), (10,)],
    "ResNet-56 of 171 leaves": [
        *[(3, 3, 16, 16), (16,), (16,)] * 19,
        *[(3, 3, 32, 32), (32,), (32,)] * 19,
        *[(3, 3, 64, 64), (64,), (64,)] * 19,
    ],
}


def raw(file, rows):
    start = time.perf_counter()
    with file.open("wb", buffering=0) as stream:
        for i in range(len(next(iter(rows.values())))):
            for leaf in rows.values():
                stream.write(leaf[i])
        os.fsync(stream.fileno())
    seconds = time.perf_counter() - start
    file.unlink()
    return seconds, 0.0


def recorded(file, rows, together):
    count, begin = len(next(iter(rows.values()))), time.perf_counter()
    recorder = nv.open_recorder(file, {name: leaf[0] for name, leaf in rows.items()}, rows=count)
    start = time.perf_counter()
    for first in range(0, count, together):
        steps = np.arange(first, min(first + together, count))
        nv.append_rows(recorder, steps, {name: leaf[steps[0] : steps[-1] + 1] for name, leaf in rows.items()})
    nv.commit_rows(recorder)
    seconds = time.perf_counter() - start
    shutil.rmtree(file)
    return seconds, start - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk that is asked about")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--together", type=int, default=10, help="rows given to the recorder at a time")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    for name, shapes in MODELS.items():
        generator = np.random.default_rng(0)
        rows = {
            f"leaf{i}": generator.standard_normal((options.rows, *shape), np.float32) for i, shape in enumerate(shapes)
        }
        size = sum(leaf.nbytes for leaf in rows.values())
        pairs = []
        for number in range(options.rounds + 1):  # the first one warms up
            runs = {
                "raw": lambda rows=rows: raw(options.folder / "raw.bin", rows),
                "recorder": lambda rows=rows: recorded(options.folder / "speed.zarr", rows, options.together),
            }
            order = list(runs)[:: 1 if number % 2 else -1]
            seconds = {run: runs[run]() for run in order}
            pairs += [seconds] if number else []
        ratios = [pair["raw"][0] / pair["recorder"][0] for pair in pairs]
        speeds = {run: size / 1e6 / statistics.median(pair[run][0] for pair in pairs) for run in pairs[0]}
        opening = statistics.median(pair["recorder"][1] for pair in pairs)
        print(
            f"{name}, {size / options.rows / 4:,.0f} numbers a row, {size / 1e6:.0f} MB: raw {speeds['raw']:.0f} MB/s, "
            f"recorder {speeds['recorder']:.0f} MB/s, ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}); opened in {opening * 1e3:.0f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()
