"""How requests are read from the network: as uvicorn does it, but with a limit to what is gathered of one."""

import math

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Well above what the guard refuses, which can say so in a better way.
_MOST_BYTES = 65_536


class BoundedProtocol(HttpToolsProtocol):
    """Hangs up on whoever sends a URL or headers without end, all of which would be kept in memory."""

    _gathered: float = 0

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._gathered = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End that: a body is not gathered."""
        self._gathered = -math.inf
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self._gathered += len(data)
        super().data_received(data)
        if self._gathered > _MOST_BYTES and not self.transport.is_closing():
            self.send_400_response("The URL and headers are too long.")
