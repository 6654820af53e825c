"""An instance that reads requests as leniently as any server might, and remembers what it saw."""

import asyncio
import contextlib
import re
import threading
from collections import defaultdict
from dataclasses import dataclass

CASE = re.compile(rb"/case-(\w+)")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Seen:
    """A request that was complete in the eyes of this reader."""

    target: bytes
    body: bytes


class Recorder:
    """Listens on a port in a thread of its own. `answers`: raw responses by case, in place of a plain 200; the
    connection ends after them."""

    def __init__(self, port: int, answers: dict[str, bytes]) -> None:
        self._port, self._answers = port, answers
        self._seen: dict[str, list[Seen]] = defaultdict(list)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join()

    def seen(self, case: str) -> list[Seen]:
        return list(self._seen[case])

    def _run(self) -> None:
        serving = asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=8 * 1024 * 1024)
        self._loop.run_until_complete(serving)
        self._loop.run_forever()

    def _stop(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = await read_head(reader)
        body = await read_body(reader, lines)
        target = (lines[0].split(b" ") + [b""])[1]
        found = CASE.search(target)
        case = found.group(1).decode() if found else "unknown"
        self._seen[case].append(Seen(target, body))
        answer = self._answers.get(case)
        writer.write(ANSWER if answer is None else answer)
        await writer.drain()
        return answer is None


async def read_head(reader: asyncio.StreamReader) -> list[bytes]:
    """Lines that end with CRLF or LF, up to an empty one; empty ones before the first are skipped."""
    lines: list[bytes] = []
    while True:
        line = (await reader.readuntil(b"\n")).rstrip(b"\r\n")
        if line:
            lines.append(line)
        elif lines:
            return lines


async def read_body(reader: asyncio.StreamReader, lines: list[bytes]) -> bytes:
    fields = [tuple(part.strip() for part in line.lower().partition(b":")[::2]) for line in lines[1:]]
    if any(name == b"transfer-encoding" and b"chunked" in value for name, value in fields):
        return await read_chunks(reader)
    lengths = [int(value) for name, value in fields if name == b"content-length"]
    return await reader.readexactly(lengths[0]) if lengths else b""


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = int((await reader.readuntil(b"\n")).partition(b";")[0], 16)
        if size == 0:
            while (await reader.readuntil(b"\n")).strip():
                pass
            return body
        body += await reader.readexactly(size)
        await reader.readuntil(b"\n")
