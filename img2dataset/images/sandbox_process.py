"""The process of a `Sandbox`: it forks children that decode, each until an image is the end of it."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from img2dataset.errors import Reason, ResizeError
from img2dataset.images.resized import ResizedImage
from img2dataset.images.resizer import Resizer
from img2dataset.images.source import open_source, preload

SECONDS = 2.0  # of CPU time that any image may use, and more
PIXELS_A_SECOND = 10_000_000  # for its pixels: slow decoders, as of JPEG 2000, do twice as many
BYTES_A_SECOND = 10_000_000  # and for its bytes


def main(descriptor: int) -> None:
    """Serve the `Sandbox` at the other end of a connection until that is closed."""
    with Connection(descriptor) as connection:
        options = connection.recv()
        resizer = Resizer(options)
        preload()
        while connection.poll(None):  # also true when the other end is closed, which only reading tells
            child = os.fork()
            if not child:
                _serve(connection, resizer, options.max_image_memory)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status >= 0:
                return  # the other end was closed, or the child made a mistake
            connection.send(signal.Signals(-status))


def _serve(connection: Connection, resizer: Resizer, memory: int) -> None:
    already = _virtual_memory()
    with suppress(EOFError):
        while True:
            # Not pickled: after a child that was killed in the middle of a body, the rest of it may be taken for this.
            boxes, body = json.loads(connection.recv_bytes()), connection.recv_bytes()
            _limit_memory(already + memory + len(body) if already else 0)
            answer = _answer(resizer, body, boxes)
            _limit_time(0)
            _limit_memory(0)
            connection.send(answer)
            del body, answer  # an error holds on to all that was there when it was raised


def _answer(resizer: Resizer, body: bytes, boxes: Sequence[Sequence[float]] | None) -> ResizedImage | Exception:
    _limit_time(SECONDS + len(body) / BYTES_A_SECOND)
    try:
        source = open_source(body)
        left, _ = signal.getitimer(signal.ITIMER_PROF)
        _limit_time(left + source.width * source.height / PIXELS_A_SECOND)
        return resizer.resize(source, boxes)
    except MemoryError:
        return ResizeError(Reason.IMAGE_MEMORY)
    except ResizeError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the caller's, and not every error can be sent as it is
        return RuntimeError(f"{type(error).__name__}: {error}")


def _limit_time(seconds: float) -> None:
    """Let SIGPROF end this process when it has used so much CPU time; 0: never."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory(size: int) -> None:
    """Let this process have `size` bytes of memory; 0: as many as it likes."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(ValueError):  # the system's own limit is lower
        resource.setrlimit(resource.RLIMIT_AS, (size or hard, hard))


def _virtual_memory() -> int:
    """The bytes of memory that this process has, as the limit counts them; 0 where the system does not tell."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    return 0
