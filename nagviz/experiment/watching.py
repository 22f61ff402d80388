"""Whether the other processes are still there: each notices at once when one ends, whatever it waits for.

Every other process has a connection to the first one, which the system closes with it. (jax notices too, after a minute
or two: where a machine is lost as a whole, or no connection can be had, that is what is left.)
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from nagviz.landscape.peers import agreed, everyone

_PATIENCE = 10.0  # seconds for a connection


def watch(host: str | None, lost: Callable[[], None]) -> Event:
    """Begin to watch; all processes call this.

    Args:
        host: where the others reach the first one; by its name if left out.
        lost: called, in a thread, when another one ends before the work is over.

    Returns:
        What is to be set when the work is over.
    """
    team, over, key = everyone(), Event(), secrets.token_hex(16)
    listener = _listener(host) if team.number == 0 else None
    port = listener.getsockname()[1] if listener else None
    host, port, key = agreed(team, lambda: [host or socket.gethostname(), port, key])
    if listener:
        _begin(_admit, listener, key.encode(), lambda connection: _await_end(connection, over, lost))
    elif port is not None:
        with suppress(OSError):
            connection = socket.create_connection((host, port), _PATIENCE)
            connection.sendall(key.encode())
            _begin(_await_end, connection, over, lost)
    return over


def _listener(host: str | None) -> socket.socket | None:
    for address in (host or "", ""):
        with suppress(OSError):
            return socket.create_server((address, 0))
    return None


def _begin(work: Callable[..., None], *given: object) -> None:
    Thread(target=work, args=given, daemon=True).start()


def _admit(listener: socket.socket, key: bytes, watched: Callable[[socket.socket], None]) -> None:
    """Watch whoever brings the key; the others are of no concern."""
    while True:
        connection, _ = listener.accept()
        connection.settimeout(_PATIENCE)
        with suppress(OSError):
            if connection.recv(len(key), socket.MSG_WAITALL) == key:
                _begin(watched, connection)


def _await_end(connection: socket.socket, over: Event, lost: Callable[[], None]) -> None:
    connection.settimeout(None)
    with suppress(OSError):
        connection.recv(1)  # never sent
    if not over.is_set():
        lost()
