"""Resizes images in a process beside this one, under limits of CPU time and memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from types import TracebackType

from img2dataset.errors import Reason, ResizeError, ShardError
from img2dataset.images.resized import ResizedImage
from img2dataset.interpreter import command
from img2dataset.options import ResizeOptions

PATIENCE = 120.0  # seconds for one image: three times the most CPU time that any may use, for a busy machine
_GRACE = 1.0  # seconds that the process gets to end by itself

_DEATHS = {
    signal.SIGPROF: Reason.DECODING_TOO_SLOW,  # the timer that `sandbox_process` sets
    signal.SIGKILL: Reason.IMAGE_MEMORY,  # nobody but the system's out-of-memory killer does that
}


class Sandbox:
    """A child process that is started when the first image comes, and again after an image was its end.

    It costs an image that is too slow, too large or deadly its own row, and nothing else.
    """

    def __init__(self, options: ResizeOptions) -> None:
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._has_answered = False

    def __call__(self, body: bytes, boxes: Sequence[Sequence[float]] | None = None) -> ResizedImage:
        """Resize an encoded image as `Resizer` does.

        Raises:
            ResizeError: as `Resizer`, or ``decoding too slow``, ``image needs too much memory``, ``decoder crashed``.
            ShardError: there can be no such process.
        """
        answer = self._ask(body, boxes)
        if isinstance(answer, signal.Signals):
            raise ResizeError(_DEATHS.get(answer, Reason.DECODER_CRASHED))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _ask(
        self, body: bytes, boxes: Sequence[Sequence[float]] | None
    ) -> ResizedImage | BaseException | signal.Signals:
        connection = self._connection or self._start()
        try:
            connection.send_bytes(json.dumps(boxes, default=str).encode())
            connection.send_bytes(body)
            if not connection.poll(PATIENCE):
                self._kill()
                return signal.SIGPROF
            answer: ResizedImage | BaseException | signal.Signals = connection.recv()
        except (EOFError, OSError) as error:
            self._kill()
            if not self._has_answered:
                raise ShardError(f"no process can be started to decode images in: {error or 'it ended'}") from error
            return signal.SIGABRT
        self._has_answered = True
        return answer

    def _start(self) -> Connection:
        self._connection, theirs = Pipe()
        try:
            with theirs:
                # In a session of its own: a terminal's Ctrl-C is not for it, and it can be killed with its child.
                self._process = subprocess.Popen(
                    command("img2dataset.images.sandbox_process", theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # what libtiff says of each odd tag
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            self._connection.send(self._options)
        except OSError as error:
            self._kill()
            raise ShardError(f"no process can be started to decode images in: {error}") from error
        return self._connection

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """End the process, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
