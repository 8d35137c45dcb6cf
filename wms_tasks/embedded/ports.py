"""Whether the ports we want are free, and who has them if not. Used by services.py and commands/up.py."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass

import psutil

from wms_tasks.errors import EmbeddedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A loopback port, who wants it, and the variable that changes it."""

    number: int
    wanted_by: str
    variable: str


def check_ports(ports: tuple[Port, ...]) -> None:
    """
    Fail before anything is started.

    Raises:
        EmbeddedError: one line: the port, who has it, and which variable changes it.
    """
    seen: dict[int, Port] = {}
    for port in ports:
        other = seen.setdefault(port.number, port)
        if other is not port:
            both = f"{other.variable} and {port.variable}"
            raise EmbeddedError(f"port {port.number} is wanted twice, by {both}: change one of them")
        reason = _why_not(port.number)
        if reason:
            raise EmbeddedError(
                f"port {port.number}, wanted by {port.wanted_by}, {reason}", hint=f"{port.variable}=… takes another"
            )


def _why_not(number: int) -> str:
    """Why nobody can listen on 127.0.0.1:`number`, or nothing. The services set SO_REUSEADDR too."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"is in use{_holder(number)}"
            return f"cannot be had: {os.strerror(error.errno or 0)}"
    return ""


def _holder(number: int) -> str:
    """The process that listens there, as far as we may see it: other users' are hidden from us."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            here = connection.laddr and connection.laddr.port == number
            if here and connection.status == psutil.CONN_LISTEN and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass  # no right to look: the line is true without it
    return ""
