"""An error that OpenSSL has noted for one connection does not break another."""

import _ssl
import contextlib
import ctypes
import errno
import socket
import ssl

import pytest
from distributed.security import Security

from solvers.sweep import tls  # noqa: F401

ERR_LIB_SYS = 2


def leave_an_error() -> None:
    """Do to OpenSSL's queue of this thread what OpenSSL 3.4 does at a connection that the other side has closed."""
    openssl = ctypes.CDLL(_ssl.__file__)
    openssl.ERR_new()
    openssl.ERR_set_error(ERR_LIB_SYS, errno.EPIPE, None)


@pytest.fixture
def connection():
    """Both ends of a TLS connection in this thread, of sockets that do not wait."""
    security = Security.temporary()
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    client = security.get_connection_args("client")["ssl_context"].wrap_socket(ends[0], do_handshake_on_connect=False)
    server = security.get_listen_args("scheduler")["ssl_context"].wrap_socket(ends[1], server_side=True,
                                                                              do_handshake_on_connect=False)
    with client, server:
        yield client, server


def shake_hands(connection) -> None:
    waiting = set(connection)
    while waiting:
        for end in list(waiting):
            with contextlib.suppress(ssl.SSLWantReadError):
                leave_an_error()
                end.do_handshake()
                waiting.remove(end)


def test_connections_take_no_notice(connection):
    client, server = connection
    shake_hands(connection)
    buffer = bytearray(100)
    for read in client.read, lambda: client.recv(100), lambda: client.recv_into(buffer):
        leave_an_error()
        with pytest.raises(ssl.SSLWantReadError):
            read()
    sent = 0
    with pytest.raises(ssl.SSLWantWriteError):  # the buffers of the kernel are full
        while True:
            leave_an_error()
            sent += server.send(bytes(1 << 14))
    received = 0
    while received < sent:
        received += len(client.recv(1 << 14))
    assert received == sent
