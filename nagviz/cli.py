"""The command line: `nagviz COMMAND ...`, with an entry of `COMMANDS` for each command.

What a command needs is imported when it runs, so that `nagviz --help` answers at once.

    $ nagviz run experiments/digits.toml --set optimizers.0.momentum=0.99
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

REFUSED = 2  # as argparse does for a wrong command line
INTERRUPTED = 128 + 2  # as a shell tells SIGINT
UNHEARD = 128 + 13  # and SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
      argv: the words after `nagviz`; by default those of the process.

    Returns:
      The exit code: 0, 2 for what is refused, 130 when interrupted, 141 when nobody reads the output.
    """
    try:
        code = _executed(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _refused("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Python flushes again when it exits, and would complain (its documentation of SIGPIPE).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNHEARD
    except ImportError as error:
        if not error.name or error.name.partition(".")[0] == "nagviz":
            raise
        return _refused(f"{error}: install what it needs with pip install 'nagviz[experiments]'")
    return code


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


def _declare_trust(words: argparse.ArgumentParser) -> None:
    words.add_argument(
        "--trust", action="store_true", help="import the model or loss of your own that the config names, and run it"
    )


def _run(args: argparse.Namespace) -> int:
    from nagviz.experiment.config import ConfigError, load

    try:
        config = load(args.config, args.set)
    except ConfigError as error:  # before jax is loaded: mistakes are told at once
        return _refused(error)

    from nagviz.experiment.pipeline import run
    from nagviz.experiment.report import Refusal

    folder = args.out or Path("runs") / config.name
    try:
        run(config, folder, resume=args.resume, overwrite=args.overwrite, trust=args.trust)
    except Refusal as error:
        return _refused(error)
    except OSError as error:
        return _refused(
            f"{error.filename or folder}: {error.strerror or error}\nmake room or give access; {_going_on(folder)}"
        )
    except KeyboardInterrupt as stopped:
        reason = f" ({stopped})" if str(stopped) else ""
        return _refused(f"interrupted{reason}; {_going_on(folder)}", INTERRUPTED)
    return 0


def _going_on(folder: Path) -> str:
    if not (folder / "config.toml").is_file():
        return "nothing was written"
    return f"what is done is kept: nagviz run {folder / 'config.toml'} --out {folder} --resume goes on with it"


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


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 2^32 - 1, got {text}")
    return int(text)


def _declare_slice(words: argparse.ArgumentParser) -> None:
    words.add_argument("folder", type=Path, metavar="RUN", help="the folder of a finished run")
    words.add_argument(
        "--plane",
        choices=("pca", "random", "hessian", "points"),
        default="pca",
        help="principal components of the paths (default), filter-normalised random directions, eigenvectors of the "
        "largest curvatures, or through the ends of three paths",
    )
    words.add_argument("--grid", type=_odd, default=51, metavar="N", help="points on each side, odd (default: 51)")
    words.add_argument("--problem", metavar="NAME", help="which of the run's problems (default: the last)")
    words.add_argument(
        "--around", metavar="NAME", help="the optimizer at whose end the plane stands (default: the first)"
    )
    words.add_argument("--range", type=_positive, dest="reach", metavar="R", help="from the origin to each side")
    words.add_argument("--seed", type=_seed, default=0, help="of random directions (default: 0)")
    words.add_argument("--overwrite", action="store_true", help="begin anew where tiles of another cut stand")
    _declare_trust(words)


def _slice(args: argparse.Namespace) -> int:
    from nagviz.experiment.config import ConfigError
    from nagviz.experiment.cutting import Request, cut_run
    from nagviz.experiment.problems import Standpoint
    from nagviz.experiment.report import Refusal

    request = Request(Standpoint(args.plane, args.around, args.reach, args.seed), args.grid, args.problem)
    try:
        cut_run(args.folder, request, overwrite=args.overwrite, trust=args.trust)
    except (ConfigError, Refusal) as error:
        return _refused(error)
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
}
