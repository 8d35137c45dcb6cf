"""The breakable proxy in front of an echo server: each way to break it, and that it heals."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy
from tests.faults.trip import trip
from tests.waiting import wait_until


class Echo:
    """Says back what it hears; counts who is connected."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.connected = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self.connected += 1
        try:
            with connection:
                while data := connection.recv(4096):
                    self.heard.append(data)
                    connection.sendall(data)
        except OSError:
            pass
        finally:
            self.connected -= 1


@pytest.fixture
def echo() -> Iterator[Echo]:
    """An echo server."""
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    """A whole proxy in front of it."""
    with Proxy(echo.port) as one:
        yield one


def client(proxy: Proxy) -> socket.socket:
    """A connection that gives up after a second."""
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=1.0)


def said(connection: socket.socket, data: bytes = b"hello") -> bytes:
    """What comes back."""
    connection.sendall(data)
    return connection.recv(4096)


def test_passes_on_and_ends_with_either_side(proxy: Proxy, echo: Echo) -> None:
    """Both ways; a client that leaves is gone from the server."""
    with client(proxy) as connection:
        assert said(connection) == b"hello"
    wait_until(lambda: echo.connected == 0 and proxy.connections == 0, what="both ends")


def test_down_closes_and_refuses_until_healed(proxy: Proxy) -> None:
    """Live connections end; new ones are refused on the same port, which is there again afterwards."""
    with client(proxy) as connection:
        assert said(connection) == b"hello"
        proxy.down()
        assert connection.recv(10) == b""
    with pytest.raises(ConnectionRefusedError):
        client(proxy)
    proxy.heal()
    with client(proxy) as connection:
        assert said(connection) == b"hello"


def test_black_hole_takes_everything_and_says_nothing(proxy: Proxy, echo: Echo) -> None:
    """Old and new connections hang, also after it healed; the server hears of nothing; new ones work again."""
    with client(proxy) as old:
        assert said(old) == b"hello"
        proxy.black_hole()
        with client(proxy) as new:
            for connection in (old, new):
                with pytest.raises(TimeoutError):
                    said(connection, b"lost")
            proxy.heal("dead")
            with pytest.raises(TimeoutError):
                said(old, b"lost")
        with client(proxy) as fresh:
            assert said(fresh) == b"hello"
    assert echo.heard == [b"hello", b"hello"]


def test_black_hole_hides_that_the_client_left_until_it_is_over(proxy: Proxy, echo: Echo) -> None:
    """Half open: the server still sees a connection."""
    connection = client(proxy)
    assert said(connection) == b"hello"
    proxy.black_hole()
    connection.close()
    with client(proxy) as other, pytest.raises(TimeoutError):
        said(other)
    assert echo.connected == 1
    proxy.heal()
    wait_until(lambda: echo.connected == 0, what="the server to hear of it")


def test_heal_can_reset_what_went_through_a_black_hole(proxy: Proxy) -> None:
    """RST to connections from before and from within."""
    with client(proxy) as old:
        assert said(old) == b"hello"
        proxy.black_hole()
        with client(proxy) as new:
            new.sendall(b"lost")
            wait_until(lambda: proxy.unheard == 1, what="the new connection to be taken")
            proxy.heal("reset")
            for connection in (old, new):
                with pytest.raises(ConnectionResetError):
                    connection.recv(10)


def test_reset_is_an_rst_and_passes(proxy: Proxy) -> None:
    """The next connection works."""
    with client(proxy) as connection:
        assert said(connection) == b"hello"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            connection.recv(10)
    with client(proxy) as connection:
        assert said(connection) == b"hello"


@pytest.mark.parametrize("mode", ["latency", "slow"])
def test_latency_and_slow_take_time(proxy: Proxy, mode: str) -> None:
    """0.1 s each way; 1,000 bytes a second each way for 100 bytes."""
    with client(proxy) as connection:
        assert said(connection) == b"hello"
        if mode == "latency":
            proxy.latency(0.1)
        else:
            proxy.slow(1000)
        began = time.monotonic()
        assert said(connection, b"x" * 100) == b"x" * 100
        assert 0.19 < time.monotonic() - began < 0.9


@pytest.mark.parametrize(
    ("hold", "extra_bytes", "server_hears"),
    [("before", 0, b"begin "), ("after", 0, b"begin COMMIT"), ("after", 3, b"begin COMMIT an")],
)
def test_a_trip_stops_what_the_client_says(
    proxy: Proxy, echo: Echo, hold: str, extra_bytes: int, server_hears: bytes
) -> None:
    """Up to the byte; the rest comes when released."""
    wire = proxy.arm(trip(rb"COPY", rb"COM+IT", hold=hold, extra_bytes=extra_bytes))  # type: ignore[arg-type]
    with client(proxy) as connection:
        assert said(connection, b"COMMIT alone") == b"COMMIT alone"
        assert said(connection, b"COPY") == b"COPY"
        connection.sendall(b"begin COMMIT and more")
        assert connection.recv(4096) == server_hears
        assert wire.fired.is_set()
        proxy.release()
        assert server_hears + connection.recv(4096) == b"begin COMMIT and more"
    assert b"".join(echo.heard) == b"COMMIT aloneCOPYbegin COMMIT and more"


def test_a_trip_keeps_answers_back(proxy: Proxy, echo: Echo) -> None:
    """The server hears everything, the client nothing more; when it leaves, the server sees that."""
    wire = proxy.arm(trip(rb"COMMIT", hold="answer"))
    with client(proxy) as connection:
        with pytest.raises(TimeoutError):
            said(connection, b"COMMIT")
        assert wire.fired.is_set()
        assert echo.heard == [b"COMMIT"]
    wait_until(lambda: echo.connected == 0, what="the server to see it leave")


def test_what_a_trip_keeps_back_is_lost_with_its_client(proxy: Proxy, echo: Echo) -> None:
    """As if it had never been sent."""
    proxy.arm(trip(rb"COMMIT", hold="before"))
    with client(proxy) as connection:
        connection.sendall(b"rows COMMIT")
        assert connection.recv(4096) == b"rows "
    wait_until(lambda: echo.connected == 0, what="the server to see it leave")
    assert echo.heard == [b"rows "]
