"""Several processes as one: the first does what a command does, and calls the others where they are needed.

    the first                           the others
    call("train", problem=0, ...)  -->  heard() == ("train", {"problem": 0, ...})
    all train                           all train
    call(END, code=0)              -->  heard() == (END, {"code": 0})

So nothing but the first one writes a file, draws, or shows a bar. Who loses another ends, and says how to go on.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn, TypeVar

import jax
import numpy as np

from nagviz.experiment.checkpoints import plain, typed
from nagviz.experiment.report import Refusal
from nagviz.experiment.watching import watch
from nagviz.landscape.peers import agreed, everyone, of_all, of_first

END = "end"
T = TypeVar("T")


class Member(NamedTuple):
    """A process as one of several."""

    first: bool
    remedy: Callable[[], str]
    over: threading.Event  # set when the others may end


class Ended(Exception):  # noqa: N818
    """The first process has ended the work that all were at."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


def initialize(asked: str | None, patience: int, remedy: Callable[[], str]) -> Member:
    """Make this process one of several; nothing of jax may have been used before.

    Args:
        asked: "ADDRESS:PORT,COUNT,NUMBER", or None where jax is to find out from the cluster that it runs in.
        patience: seconds to wait for the others. Then the process ends; jax would end it without saying what to do.
        remedy: says what to do where another process is lost.

    Returns:
        What it is of them.

    Raises:
        Refusal: what is asked cannot be understood, or no cluster is found.
    """
    given = () if asked is None else _parsed(asked)
    if given and given[2] == 0:
        _require_free(given[0])
    waits = [threading.Timer(_SOON, _tell_waiting, [patience]), threading.Timer(patience, _give_up, [patience])]
    for wait in waits:
        wait.daemon = True
        wait.start()
    if hasattr(jax.config, "jax_enable_preemption_service"):
        jax.config.update("jax_enable_preemption_service", False)  # or SIGTERM would be noted, and end nothing
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # jax waits in C++, where Python would hear of none
    try:
        jax.distributed.initialize(*given, initialization_timeout=patience + 60)
    except (ValueError, RuntimeError) as error:
        if given:
            raise Refusal(f"--coordinator: {str(error).splitlines()[0]}; give another address for {given[0]}") from None
        raise Refusal(
            f"--distributed: no cluster was found that jax knows (SLURM, MPI, TPU pods, Kubernetes): {error}\n"
            "start each process by hand with --coordinator ADDRESS:PORT,COUNT,NUMBER, the address that of number 0"
        ) from None
    finally:
        signal.signal(signal.SIGINT, interrupt)
        for wait in waits:
            wait.cancel()
    first = jax.process_index() == 0
    if not first:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts all; the first one tells the others
    host = given[0].rpartition(":")[0].strip("[]") if given else None
    return Member(first, remedy, watch(host, lambda: _part(_LOST, remedy)))


def _parsed(asked: str) -> tuple[str, int, int]:
    address, *numbers = asked.split(",")
    host, _, port = address.rpartition(":")
    counts = [int(text) for text in (port, *numbers) if text.isdecimal()]
    named = host and not any(letter.isspace() or letter == "/" for letter in host)
    if not named or len(numbers) != 2 or len(counts) != 3 or not 0 < counts[0] < 2**16 or not counts[2] < counts[1]:
        raise Refusal(
            "--coordinator: must be ADDRESS:PORT,COUNT,NUMBER, PORT from 1 to 65535 and NUMBER from 0 to COUNT - 1, as "
            f"10.0.0.1:1234,2,0, got {asked!r}"
        )
    return address, counts[1], counts[2]


def _require_free(address: str) -> None:
    """Refuse a port that is taken, at which jax 0.12 would crash."""
    try:
        socket.create_server(("", int(address.rpartition(":")[2]))).close()
    except (OSError, OverflowError) as error:
        raise Refusal(f"--coordinator: {address} cannot be listened at: {error}; give all another port") from None


_SOON = 5.0  # seconds after which whoever waits is told so


def _tell_waiting(patience: int) -> None:
    from jax._src.distributed import global_state  # of an address that jax found it tells nobody

    print(f"waiting for the others at {global_state.coordinator_address}, up to {patience} s", file=sys.stderr)


def _give_up(patience: int) -> None:
    from jax._src.distributed import global_state

    address = global_state.coordinator_address
    fault = _unreachable(address) if global_state.process_id else ""
    missed = f"process 0 does not answer ({fault})" if fault else "some of the others did not come"
    print(
        f"--distributed: {missed} at {address} within {patience} s; start all processes with one address that each can "
        "reach, or give more time by --wait; where one was refused, it has said why",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)


def _unreachable(address: str) -> str:
    """Why nobody can be spoken to there; nothing if somebody can."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SOON).close()
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def ended(member: Member, code: int) -> int:
    """Let the processes part: the first one says with which code, of which no other needs to be told."""
    if member.first:
        member.over.set()
        call(END, code=code)
    member.over.set()
    return code


def together(work: Callable[[], T]) -> T:
    """What each process makes of its own; where one is refused, none goes on.

    Raises:
        Refusal: that of each.
    """
    team, made, said = everyone(), None, ""
    if team.count == 1:
        return work()
    try:
        made = work()
    except Refusal as error:
        said = str(error) or "refused"
    longest = int(of_all(team, np.array(len(said.encode()))).max())
    texts = of_all(team, np.frombuffer(said.encode().ljust(longest + 1), np.uint8))
    words = [row.tobytes().decode().strip() for row in texts]
    if not any(words):
        return made
    alike = len(set(words)) == 1
    raise Refusal(words[0] if alike else "\n".join(f"process {i}: {text}" for i, text in enumerate(words) if text))


def alike(mine: Mapping[str, str]) -> None:
    """Refuse processes that were given something else than the first one, which would train on without a word.

    Args:
        mine: by name, as JSON holds it.

    Raises:
        Refusal: that of each that differs, to all.
    """
    firsts = agreed(everyone(), lambda: dict(mine))

    def work():
        keys = [key for key in {**firsts, **mine} if firsts.get(key) != mine.get(key)]
        if keys:
            said = (f"{key} {mine.get(key, 'not set')}, there {firsts.get(key, 'not set')}" for key in keys)
            raise Refusal(f"has not what process 0 has: {'; '.join(said)}; give all processes the same")

    together(work)


def call(word: str, **asked: Any) -> None:
    """Tell the other processes what to do, where there are any; what is asked is plain as JSON has it."""
    agreed(everyone(), lambda: [word, asked])


def heard() -> tuple[str, dict[str, Any]]:
    """What the first process calls this one to."""
    word, asked = agreed(everyone(), list)
    return word, asked


def halted(stop: bool = False) -> bool:
    """Whether to stop in the midst of work, as the first process says.

    Raises:
        Ended: it could not go on.
    """
    said = agreed(everyone(), lambda: stop)
    if isinstance(said, list):
        raise Ended(said[1]["code"])
    return said


def shared(tree: Any) -> Any:
    """Arrays as the first process has them; the others give such of the same tree, shapes and types."""
    leaves, structure = jax.tree.flatten(tree)
    arrays = [plain(leaf) for leaf in leaves]
    raw = np.concatenate([np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays])
    parts = np.split(of_first(everyone(), raw), np.cumsum([array.nbytes for array in arrays])[:-1])
    found = [part.view(array.dtype).reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]
    return jax.tree.unflatten(structure, [typed(a, leaf) for a, leaf in zip(found, leaves, strict=True)])


_LOST = "another process has ended, or cannot be reached any more"


def abandon(member: Member, error: BaseException) -> NoReturn:
    """End this process at once, when the others may wait for it or are lost: they notice, and end too."""
    if isinstance(error, ConnectionError | jax.errors.JaxRuntimeError):
        _part(f"{_LOST} ({(str(error).splitlines() or [''])[0]})", member.remedy)
    if isinstance(error, KeyboardInterrupt):
        _part("interrupted", member.remedy, 128 + 2)
    traceback.print_exception(error)
    _part("this process ends, and all others", member.remedy)


_PARTING = threading.Lock()


def _part(reason: str, remedy: Callable[[], str], code: int = 1) -> NoReturn:
    """Without waiting for others, as jax would at the exit; by the first thread that notices."""
    _PARTING.acquire()
    with suppress(OSError, ValueError):
        print(f"{reason}\n{remedy()}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(code)
