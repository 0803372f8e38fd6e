"""An origin that responds to each request with the bytes registered for its path."""

import dataclasses
import itertools
import re
import socket
import struct
import threading
import time

# Delay between the two writes of a split response, long enough for the reader to run.
PAUSE_SECONDS = 0.01


@dataclasses.dataclass
class Answer:
    response: bytes
    end: str
    # Position at which the response is split into two writes: None, "head" (before its last byte) or "body".
    split: str | None
    requests: int = 0


class Origin:
    """Listens on a loopback port until it is closed."""

    def __init__(self, port):
        self.answers = {}
        self.numbers = itertools.count()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def register(self, response, end, split):
        """Registers a response. Returns its path and its state."""
        path = f"/answer-{next(self.numbers)}"
        self.answers[path.encode()] = answer = Answer(response, end, split)
        return path, answer

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        with stream:
            try:
                stream.settimeout(5)
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                request = b""
                while b"\r\n\r\n" not in request:
                    part = stream.recv(65536)
                    if not part:
                        return
                    request += part
                path = re.search(rb"/answer-\d+", request)
                if path is not None:
                    self.answer(stream, self.answers[path[0]])
            except OSError:
                # The gateway has closed the connection.
                return

    def answer(self, stream, answer):
        answer.requests += 1
        data = answer.response
        if answer.split:
            middle = data.find(b"\r\n\r\n") + {"head": 3, "body": 4}[answer.split]
            stream.sendall(data[:middle])
            time.sleep(PAUSE_SECONDS)
            data = data[middle:]
        stream.sendall(data)
        if answer.end == "reset":
            # Wait until the data is delivered, because a reset discards queued data.
            time.sleep(PAUSE_SECONDS)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        stream.shutdown(socket.SHUT_WR)
        while stream.recv(65536):
            pass

    def close(self):
        # close() does not unblock accept().
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
