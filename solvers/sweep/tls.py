"""Mends TLS in Python: a connection that breaks takes no other connection with it. To import this module is enough.

OpenSSL notes what went wrong in a queue that all connections of a thread share, and wants it empty when an operation begins.
Python does not empty it after some errors (cpython#148594, open for all versions). From OpenSSL 3.4 on, a connection that its
other side has closed leaves such an error. Each other connection that then waits for data is taken for broken, too: a sweep
would lose its scheduler whenever a worker comes or goes.
"""

import contextlib
import ssl

_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _forget_errors() -> None:
    """Empty the queue of this thread: Python does so when OpenSSL refuses ciphers, in 7 microseconds."""
    with contextlib.suppress(ssl.SSLError):
        _CONTEXT.set_ciphers("-")


class Socket(ssl.SSLSocket):
    """A TLS connection that reads and sends with an empty queue of errors (handshakes empty it themselves)."""

    def read(self, *arguments):  # recv() and recv_into() call this
        _forget_errors()
        return super().read(*arguments)

    def send(self, *arguments):
        _forget_errors()
        return super().send(*arguments)


ssl.SSLContext.sslsocket_class = Socket
