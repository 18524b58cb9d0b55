"""What the operating system is asked of a socket, by links of the engine and by connections of the sandbox."""

import socket
import struct
from typing import Final

_ON_FOR_ZERO_SECONDS: Final = struct.pack("ii", 1, 0)


def reset_on_close(sock: socket.socket) -> None:
    """Let the close of a socket drop what was not delivered, and send RST. Raises ``OSError`` if it is closed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ON_FOR_ZERO_SECONDS)
