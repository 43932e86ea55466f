"""One control session on the event loop: requests, responses and events. ``_reconnect.py`` starts a new one when it is
lost; ``_protocol.py`` encodes and decodes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Callable, cast

from . import _messages as m
from . import _types
from ._errors import ConnectionLost, PolypeerError
from ._limits import CONTROL_BATCH, CONTROL_SEND_HIGH, MAX_REQUESTS, MAX_UNJUDGED
from ._protocol import Answered, ControlMachine, HelloRefused, Welcomed

OnEvent = Callable[["Session", m.Event], None]


class Session(asyncio.Protocol):
    """A control session, from its connection to its end."""

    def __init__(self, token: bytes, on_event: OnEvent) -> None:
        loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[m.Welcome] = loop.create_future()
        """The welcome, or the reason why there is none."""
        self.lost: asyncio.Future[PolypeerError] = loop.create_future()
        """Why the session ended, once it has."""
        self._loop = loop
        self._machine = ControlMachine(token)
        self._on_event = on_event
        self._answers: dict[int, asyncio.Future[m.Response]] = {}
        self._later: deque[m.Request] = deque()
        self._reason: PolypeerError | None = None
        self._transport: asyncio.Transport | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._unsent: list[bytes] = []  # frames of this turn of the loop
        self._unsent_size = 0
        self._flushing: asyncio.Handle | None = None
        self._at_once = True  # whether the next frame goes alone

    @property
    def secret(self) -> bytes:
        """Authorises data connections for as long as this session lasts."""
        return self.welcomed.result().secret

    @property
    def skipped(self) -> int:
        """Messages of a later netcore that were skipped."""
        return self._machine.skipped

    async def ask(self, request: m.Request) -> m.Response:
        """The answer to a request. Raises the failure that is the answer, :class:`ConnectionLost` when the session ends
        first, :class:`Busy` while 256 requests are unanswered. A cancel cancels the request at netcore, which may have
        carried it out already."""
        if not self._room.is_set():
            await self._room.wait()
        self._check_alive()
        id, data = self._machine.request(request)
        self._send(data)
        answer: asyncio.Future[m.Response] = self._loop.create_future()
        self._answers[id] = answer
        try:
            response = await answer
        except asyncio.CancelledError:
            self._send(self._machine.cancel(id))
            raise
        finally:
            self._answers.pop(id, None)
        if isinstance(response, m.ResponseFailed):
            raise _types.failure(response.value)
        return response

    async def answer(self, call: int, payload: bytes) -> None:
        """Answers a call; over 64 KiB the caller gets ``too large``. Does nothing when the session has ended."""
        data = self._machine.answer(call, payload)
        if not self._room.is_set():
            await self._room.wait()
        self._send(data)

    def decline(self, call: int, failure: m.Failure) -> None:
        """Declines a call; does nothing when the session has ended."""
        self._send(self._machine.decline(call, failure))

    def tell(self, request: m.Request) -> bool:
        """Sends a request and ignores the answer. ``False`` when the session has ended or too many requests are
        unanswered."""
        if self._transport is None or self.lost.done():
            return False
        try:
            _, data = self._machine.request(request)
        except PolypeerError:
            return False
        self._send(data)
        return True

    def tell_later(self, request: m.Request) -> bool:
        """As :meth:`tell`; queues the request while too many are unanswered. ``False`` when the session has ended or
        256 are queued."""
        if self.tell(request):
            return True
        if self._transport is None or self.lost.done() or len(self._later) >= MAX_UNJUDGED:
            return False
        self._later.append(request)
        return True

    def _tell_waiting(self) -> None:
        while self._later and self._machine.unanswered < MAX_REQUESTS:
            self.tell(self._later.popleft())

    def close(self) -> None:
        """Sends what is buffered, then ends the session."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _check_alive(self) -> None:
        if self._transport is None or self.lost.done():
            raise self._reason or ConnectionLost("the network core disconnected")

    def _send(self, data: bytes) -> None:
        """Sends a frame with the others of this turn of the event loop: one system call, and one wake-up of netcore,
        for all of them. What answers a message that came alone goes at once."""
        if not data or self._transport is None or self.lost.done():
            return
        if self._at_once and not self._unsent:
            self._at_once = False
            self._transport.write(data)
            return
        self._unsent.append(data)
        self._unsent_size += len(data)
        if self._unsent_size >= CONTROL_BATCH:
            self._flush()
        elif self._flushing is None:
            self._flushing = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._unsent and self._transport is not None:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_size = 0

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=CONTROL_SEND_HIGH)
        self._transport.write(self._machine.hello())

    def data_received(self, data: bytes | bytearray | memoryview) -> None:
        try:
            events = self._machine.receive(data)
        except PolypeerError as error:
            self._fail(error)
            return
        for event in events:
            if isinstance(event, Answered):
                answer = self._answers.get(event.id)
                if answer is not None and not answer.done():
                    answer.set_result(event.response)
            elif isinstance(event, Welcomed):
                if not self.welcomed.done():
                    self.welcomed.set_result(event.welcome)
            elif isinstance(event, HelloRefused):
                self._fail(_types.failure(event.failure))
            elif isinstance(event.event, m.EventHeartbeat):
                self._send(self._machine.alive())  # from the event loop: a blocked one does not answer
            else:
                if isinstance(event.event, m.EventClosing):
                    self._reason = _types.failure(event.event.value)
                self._on_event(self, event.event)
        self._tell_waiting()
        self._at_once = len(events) == 1

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = self._reason or ConnectionLost("the network core disconnected")
        self._room.set()
        if not self.lost.done():
            self.lost.set_result(reason)
        if not self.welcomed.done():
            self.welcomed.set_exception(reason)
            self.welcomed.exception()  # the waiter may have been cancelled
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionLost(f"the session ended before the answer: {reason}"))
        self._transport = None

    def _fail(self, reason: PolypeerError) -> None:
        if self._reason is None:
            self._reason = reason
        if self._transport is not None:
            self._transport.abort()
