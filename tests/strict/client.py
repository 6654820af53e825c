"""A client that sends bytes as they are and reads what comes."""

import contextlib
import socket
from dataclasses import dataclass

# A relay that has not answered by then, though the instance answers at once, waits for more of the request.
SILENCE_S = 3.0


@dataclass(frozen=True)
class Answer:
    """One response. `complete`: its framing says so."""

    status: int
    body: bytes
    complete: bool


def exchange(port: int, raw: bytes, expected: int, head: bool = False) -> list[Answer]:
    """Sends `raw` and reads until `expected` responses are there, the connection ends, or nothing more comes."""
    received = b""
    closed = False
    with socket.create_connection(("127.0.0.1", port), timeout=SILENCE_S) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(raw)
        while len(complete(answers(received, closed, head))) < expected:
            try:
                more = connection.recv(1 << 20)
            except OSError:
                break
            if not more:
                closed = True
                break
            received += more
    return answers(received, closed, head)


def complete(found: list[Answer]) -> list[Answer]:
    return [answer for answer in found if answer.complete]


def answers(data: bytes, closed: bool, head: bool) -> list[Answer]:
    found = []
    while b"\r\n\r\n" in data:
        fields, _, data = data.partition(b"\r\n\r\n")
        status_line, *lines = fields.split(b"\r\n")
        status = read_status(status_line)
        if status is None:
            return [*found, Answer(0, b"", False)]
        if status != 101 and status < 200:
            continue
        answer, data = read_body(status, lines, data, closed, head)
        found.append(answer)
    return found


def read_status(line: bytes) -> int | None:
    """None if it is no status line."""
    parts = line.split(b" ")
    valid = parts[0].startswith(b"HTTP/1.") and len(parts) > 1 and parts[1].isdigit()
    return int(parts[1]) if valid else None


def read_body(status: int, lines: list[bytes], data: bytes, closed: bool, head: bool) -> tuple[Answer, bytes]:
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if head or status in (101, 204, 304):
        return Answer(status, b"", True), data
    if b"transfer-encoding" in fields:
        return read_chunks(status, data)
    if b"content-length" in fields:
        length = int(fields[b"content-length"])
        return Answer(status, data[:length], len(data) >= length), data[length:]
    return Answer(status, data, closed), b""


def read_chunks(status: int, data: bytes) -> tuple[Answer, bytes]:
    body = b""
    while b"\r\n" in data:
        size, _, data = data.partition(b"\r\n")
        try:
            length = int(size.partition(b";")[0], 16)
        except ValueError:
            break
        if length == 0:
            end = data.find(b"\r\n") if data.startswith(b"\r\n") else data.find(b"\r\n\r\n") + 2
            return Answer(status, body, end >= 0 and data[end : end + 2] == b"\r\n"), data[end + 2 :]
        body, data = body + data[:length], data[length + 2 :]
    return Answer(status, body, False), b""
