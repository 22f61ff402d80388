"""The command line: `nagviz COMMAND ...`, with an entry of `COMMANDS` for each command.

What a command needs is imported when it runs, so that `nagviz --help` answers at once.

    $ nagviz run experiments/digits.toml --set optimizers.0.momentum=0.99
"""

import argparse
import errno
import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

REFUSED = 2  # as argparse does for a wrong command line
UNWRITTEN = 74  # as sysexits.h tells an error of output
INTERRUPTED = 128 + 2  # as a shell tells SIGINT
UNHEARD = 128 + 13  # and SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
      argv: the words after `nagviz`; by default those of the process.

    Returns:
      The exit code: 0, 2 for what is refused, 74 when the output cannot be written, 130 when interrupted, 141 when
      nobody reads the output.
    """
    output, errors = _Output(sys.stdout), _Output(sys.stderr)
    with redirect_stdout(output), redirect_stderr(errors):
        code = _told(argv)
        output.flush()
        if isinstance(output.fault, BrokenPipeError):
            code = code or UNHEARD
        elif output.fault is not None:
            reason = f"standard output: {output.fault.strerror}; what was to be printed is lost"
            code = _refused(f"{reason}, files are whole" if code == 0 else reason, code or UNWRITTEN)
        errors.flush()
    for each in (output, errors):
        if each.fault is not None:
            _silence(each.stream)
    return code


class _Output:
    """A stream that goes on when it cannot be written, so that what is under way is finished, and keeps the fault."""

    def __init__(self, stream):
        self.stream = stream  # None where the process was started with it closed
        self.fault = None

    def write(self, text: str) -> int:
        """Write, if that can be."""
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, if that can be."""
        if self.stream is not None:
            self._try(lambda: self.stream.flush())

    def isatty(self) -> bool:
        """Whether a terminal is written to."""
        return self.stream is not None and self.stream.isatty()

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def _try(self, action: Callable[[], object]) -> None:
        if self.fault is None:
            try:
                if self.stream is None:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                action()
            except OSError as error:
                self.fault = error


def _silence(stream) -> None:
    """Python flushes again when it exits, and would complain (its documentation of SIGPIPE)."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _told(argv: Sequence[str] | None) -> int:
    try:
        return _executed(argv)
    except KeyboardInterrupt:
        return _refused("interrupted", INTERRUPTED)
    except ImportError as error:
        if not error.name or error.name.partition(".")[0] == "nagviz":
            raise
        return _refused(f"{error}: install what it needs with pip install 'nagviz[experiments]'")


def _executed(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has answered: with the help, or with what is wrong
        return int(stop.code or 0)
    return args.execute(args)


def _refused(reason: object, code: int = REFUSED) -> int:
    print(reason, file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nagviz",
        description="See what Nesterov's look-ahead does on a real loss landscape.",
        **_closing(COMMANDS["run"].example),
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        words = commands.add_parser(
            name, help=command.help, description=command.description, **_closing(command.example)
        )
        command.declare(words)
        words.set_defaults(execute=command.execute)
    return parser


def _closing(example: str) -> dict[str, Any]:
    # The raw formatter keeps the example in one piece, to be copied.
    raw = argparse.RawDescriptionHelpFormatter
    return {"epilog": f"example:\n  {example}", "formatter_class": raw, "allow_abbrev": False}


class _Version(argparse.Action):
    """Asks for the version when it is wanted: a checkout that is not installed has none."""

    def __call__(self, parser, *_):
        import nagviz

        print(f"nagviz {nagviz.__version__}")
        parser.exit()


class Command(NamedTuple):
    """What `nagviz NAME` is."""

    help: str  # for the list of commands
    description: str
    example: str  # a line that works
    declare: Callable[[argparse.ArgumentParser], None]  # its arguments
    execute: Callable[[argparse.Namespace], int]  # returns the exit code


def _declare_run(words: argparse.ArgumentParser) -> None:
    words.add_argument("config", type=Path, metavar="CONFIG", help="a TOML file, which asks one question")
    words.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a key over the file, as steps=100 or optimizers.0.momentum=0.99; may be repeated",
    )
    words.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: runs/NAME)")
    _declare_trust(words)
    existing = words.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    existing.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    _declare_devices(words)


def _declare_devices(words: argparse.ArgumentParser) -> None:
    words.add_argument(
        "--devices",
        type=_devices,
        metavar="N",
        help="how many devices of each process share batches and the points of a slice, or all (default: 1, of several "
        "processes all); what was begun on some goes on on fewer or more, each step the same to rounding",
    )
    words.add_argument(
        "--distributed",
        action="store_true",
        help="be one of several processes, each started with these words, and use the devices of all; jax finds the "
        "others by SLURM, MPI, a TPU pod or Kubernetes. The first one alone writes the run's folder",
    )
    words.add_argument(
        "--coordinator",
        metavar="ADDRESS:PORT,COUNT,NUMBER",
        help="in place of --distributed where it cannot: address of process 0, how many there are, which this is",
    )
    words.add_argument(
        "--wait", type=_counted, default=300, metavar="SECONDS", help="for the other processes to come (default: 300)"
    )


def _devices(text: str) -> int | str:
    if text == "all" or (text.isdecimal() and int(text) >= 1):
        return text if text == "all" else int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, or all, got {text}")


def _declare_trust(words: argparse.ArgumentParser) -> None:
    words.add_argument(
        "--trust", action="store_true", help="import the model or loss of your own that the config names, and run it"
    )


def _run(args: argparse.Namespace) -> int:
    from nagviz.experiment.config import ConfigError, load

    try:
        config = load(args.config, args.set)
    except ConfigError as error:  # before jax is loaded: mistakes are told at once
        return _withdrawn(args, error)

    folder = args.out or Path("runs") / config.name
    return _jointly(args, lambda: _carried_out(args, config, folder), lambda: _going_on(folder, args))


def _carried_out(args: argparse.Namespace, config: Any, folder: Path) -> int:
    from nagviz.experiment.helping import as_one
    from nagviz.experiment.pipeline import run
    from nagviz.experiment.report import Refusal

    kept = {"resume": args.resume, "overwrite": args.overwrite}
    work = partial(run, config, folder, **kept, trust=args.trust)
    try:
        return as_one(args.devices, config, args.trust, kept, lambda mesh: work(mesh=mesh))
    except Refusal as error:
        return _refused(error)
    except ConnectionError:
        raise
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        return _refused(f"{reason}\nmake room or give access; {_going_on(folder, args)}")
    except KeyboardInterrupt as stopped:
        if _is_joint(args) and not str(stopped):
            raise  # in the midst of what others take part in
        reason = f" ({stopped})" if str(stopped) else ""
        return _refused(f"interrupted{reason}; {_going_on(folder, args)}", INTERRUPTED)


def _jointly(args: argparse.Namespace, action: Callable[[], int], remedy: Callable[[], str]) -> int:
    """What a process does by itself, or as one of several, none of which is left waiting for one that has ended."""
    if not _is_joint(args):
        return action()
    from nagviz.experiment.processes import abandon, ended, initialize
    from nagviz.experiment.report import Refusal

    try:
        member = initialize(args.coordinator, args.wait, remedy)
    except Refusal as error:
        return _refused(error)
    try:
        return ended(member, action())
    except BaseException as error:
        abandon(member, error)


def _withdrawn(args: argparse.Namespace, error: Exception) -> int:
    """Refuse before work; the other processes, which would wait for this one, come to know why."""
    _refused(error)
    if not _is_joint(args):
        return REFUSED
    from nagviz.experiment.helping import withdraw

    return _jointly(args, lambda: withdraw(str(error)), lambda: str(error))


def _is_joint(args: argparse.Namespace) -> bool:
    return args.distributed or args.coordinator is not None


def _going_on(folder: Path, args: argparse.Namespace) -> str:
    if not (folder / "config.toml").is_file():
        if _is_joint(args):
            return f"this process sees no run in {folder}; start all again, with --resume if process 0 says so"
        return "nothing was written"
    words = ["nagviz", "run", str(folder / "config.toml"), "--out", str(folder), "--resume"]
    words += ["--devices", str(args.devices)] if args.devices else []
    words += ["--coordinator", args.coordinator] if args.coordinator else ["--distributed"] * args.distributed
    words += ["--trust"] * args.trust
    return f"what is done is kept: {shlex.join(words)} goes on with it"


def _odd(text: str) -> int:
    if not text.isdecimal() or int(text) < 3 or int(text) % 2 == 0:
        raise argparse.ArgumentTypeError(f"must be an odd number of at least 3, got {text}")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
    return number


def _counted(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 2^32 - 1, got {text}")
    return int(text)


def _declare_slice(words: argparse.ArgumentParser) -> None:
    words.add_argument("folder", type=Path, metavar="RUN", help="the folder of a finished run")
    words.add_argument(
        "--plane",
        choices=("pca", "random", "hessian", "points", "projection"),
        help="principal components of the paths (default), filter-normalised random directions, eigenvectors of the "
        "largest curvatures, through the ends of three paths, or the plane of the run's [projection] (its default)",
    )
    words.add_argument("--grid", type=_odd, default=51, metavar="N", help="points on each side, odd (default: 51)")
    words.add_argument("--problem", metavar="NAME", help="which of the run's problems (default: the last)")
    words.add_argument(
        "--around", metavar="NAME", help="the optimizer at whose end the plane stands (default: the first)"
    )
    words.add_argument("--range", type=_positive, dest="reach", metavar="R", help="from the origin to each side")
    words.add_argument(
        "--seed", type=_seed, help="of random directions, and of the vectors that hessian starts from (default: 0)"
    )
    words.add_argument("--overwrite", action="store_true", help="begin the cut anew where tiles of it stand")
    _declare_devices(words)
    _declare_trust(words)


def _slice(args: argparse.Namespace) -> int:
    from nagviz.experiment.config import ConfigError, load
    from nagviz.experiment.report import Refusal, require_run

    try:
        config = load(require_run(args.folder))
    except (ConfigError, Refusal) as error:
        return _withdrawn(args, error)
    remedy = "start all of them again: the tiles that are finished are kept"
    return _jointly(args, lambda: _cut(args, config), lambda: remedy)


def _cut(args: argparse.Namespace, config: Any) -> int:
    from nagviz.experiment.cutting import Request, cut_run
    from nagviz.experiment.helping import as_one
    from nagviz.experiment.problems import Standpoint
    from nagviz.experiment.report import Refusal

    stand = {"plane": args.plane, "around": args.around, "range": args.reach, "seed": args.seed}
    words = {**stand, "grid": args.grid, "problem": args.problem, "overwrite": args.overwrite}
    request = Request(Standpoint(*stand.values()), args.grid, args.problem)
    work = partial(cut_run, args.folder, request, overwrite=args.overwrite, trust=args.trust)
    try:
        return as_one(args.devices, config, args.trust, words, lambda mesh: work(mesh=mesh))
    except Refusal as error:
        return _refused(error)
    except ConnectionError:
        raise
    except OSError as error:
        return _refused(f"{error.filename or args.folder}: {error.strerror or error}; make room or give access")


def _declare_figure(words: argparse.ArgumentParser) -> None:
    words.add_argument("folder", type=Path, metavar="RUN", help="the folder of a run")
    words.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="landscape, curves, step, slice-..., by nagviz show (default: all but those on demand)",
    )
    words.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: the run's folder)")
    words.add_argument(
        "--format",
        action="append",
        default=[],
        choices=("png", "pdf", "svg", "gif", "mp4", "html", "md", "vts"),
        help="of the files; may be repeated (default: those that a run writes)",
    )
    words.add_argument("--width", type=_positive, metavar="INCHES", help="of the figures (default: their own)")
    words.add_argument("--at", type=_counted, metavar="N", help="which step to take apart, for step (default: 10)")
    words.add_argument("--with", type=Path, metavar="RUN", help="another run, for compare and cuts")
    words.add_argument(
        "--optimizer",
        metavar="NAME",
        help="whose, for step (default: the first that looks ahead), or from whose end, for cuts (default: the first)",
    )
    words.add_argument(
        "--problem", metavar="NAME", help="which of the run's problems, for those on demand (default: the last)"
    )
    _declare_trust(words)


def _figure(args: argparse.Namespace) -> int:
    from nagviz.experiment.config import ConfigError
    from nagviz.experiment.drawing import draw
    from nagviz.experiment.report import Refusal

    asked = {key: getattr(args, key) for key in ("width", "at", "with", "optimizer", "problem", "trust")}
    ways = {key: value for key, value in asked.items() if value not in (None, False)}
    try:
        written = draw(args.folder, args.names, out=args.out, formats=args.format, ways=ways)
    except (ConfigError, Refusal) as error:
        return _refused(error)
    except OSError as error:
        reason = f"{error.filename or args.out or args.folder}: {error.strerror or error}"
        return _refused(f"{reason}; make room or give access, or name another folder by --out")
    print(*written, sep="\n")
    return 0


def _declare_list(words: argparse.ArgumentParser) -> None:
    folder = Path("experiments")
    words.add_argument("folder", type=Path, nargs="?", default=folder, metavar="FOLDER", help="by default experiments")
    words.add_argument("--long", action="store_true", help="tell what is expected as well")


def _list(args: argparse.Namespace) -> int:
    from nagviz.experiment.listing import read_experiments, told

    found = read_experiments(args.folder)
    if not found:
        return _refused(f"{args.folder} has no *.toml in it; name a folder that has, as nagviz list FOLDER")
    print(*told(found, shutil.get_terminal_size().columns, long=args.long), sep="\n")
    return 0


def _declare_show(words: argparse.ArgumentParser) -> None:
    words.add_argument("folder", type=Path, metavar="RUN", help="the folder of a run, finished or not")


def _show(args: argparse.Namespace) -> int:
    from nagviz.experiment.report import Refusal
    from nagviz.experiment.showing import told

    try:
        print(*told(args.folder), sep="\n")
    except Refusal as error:
        return _refused(error)
    return 0


def _declare_schema(words: argparse.ArgumentParser) -> None:
    words.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: standard output)")


def _schema(args: argparse.Namespace) -> int:
    from nagviz.experiment.schema import config_schema

    text = json.dumps(config_schema(), indent=2) + "\n"
    if args.out is None:
        print(text, end="")
        return 0
    try:
        args.out.write_text(text, encoding="utf-8")
    except OSError as error:
        return _refused(f"{args.out}: {error.strerror}; name another file by --out")
    return 0


COMMANDS = {
    "run": Command(
        "train, slice and draw what a TOML file describes",
        "Run the experiment that a TOML file describes, into a folder of its own.",
        "nagviz run experiments/digits.toml --set optimizers.0.momentum=0.99",
        _declare_run,
        _run,
    ),
    "slice": Command(
        "cut a finished run by a plane of your choice",
        "Cut the loss of a finished run by a plane, draw it, and say what it hides.",
        "nagviz slice runs/digits --plane random --grid 101",
        _declare_slice,
        _slice,
    ),
    "figure": Command(
        "draw the figures of a run again, without training",
        "Draw the figures of a run from the numbers that its folder keeps.",
        "nagviz figure runs/digits landscape cuts --format svg --width 7",
        _declare_figure,
        _figure,
    ),
    "list": Command(
        "list experiments and the question each asks",
        "List the experiments of a folder and the question that each asks; a file that is no run, with its fault.",
        "nagviz list experiments --long",
        _declare_list,
        _list,
    ),
    "show": Command(
        "tell what is in a run's folder",
        "Tell a run's question, config, state, results, files and versions, and how to go on where it is not finished.",
        "nagviz show runs/digits",
        _declare_show,
        _show,
    ),
    "schema": Command(
        "write the JSON Schema of a config, for editors",
        "Write the JSON Schema of a config. Editors with taplo, as VS Code with Even Better TOML, complete and check\n"
        "a file by it that says so in a comment before its first key; the path goes from that file:\n\n"
        "  # What does it ask?\n"
        "  #:schema nagviz.schema.json",
        "nagviz schema --out nagviz.schema.json",
        _declare_schema,
        _schema,
    ),
}
