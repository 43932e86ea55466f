"""Listeners: incoming streams and calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Callable, TypeVar

from . import _messages as m
from . import _types
from ._errors import ErrorCode, NodeClosed, PolypeerError, Refused, cut
from ._inbox import Inbox
from ._limits import FIRST_CODE, MAX_CALLS, MAX_PAYLOAD, MAX_UNCLAIMED, SERVE_CONCURRENCY
from ._types import Origin

if TYPE_CHECKING:
    from ._node import Node
    from ._session import Session
    from ._stream import Stream

log = logging.getLogger("polypeer")


class Call:
    """An incoming request, the argument of the handler of :meth:`Listener.serve_requests`."""

    def __init__(self, origin: Origin, protocol: str, payload: bytes) -> None:
        self.origin = origin
        """The peer or local plugin that sent it."""
        self.protocol = protocol
        self.payload = payload
        """At most 64 KiB."""

    @property
    def peer(self) -> str | None:
        """The asking peer's node id; ``None`` for a plugin of this node."""
        return self.origin.peer


StreamHandler = Callable[["Stream"], Awaitable[None]]
CallHandler = Callable[[Call], Awaitable[bytes]]
_Announced = tuple["Session", m.EventStream]
_Called = tuple["Session", m.EventCall]
T = TypeVar("T")


class Listener:
    """Serves one protocol, to peers or (``local``) to plugins of this node. Made by :meth:`Node.listen`; survives
    restarts of netcore. Use :meth:`accept`, iteration or :meth:`serve`; :meth:`close` stops serving."""

    def __init__(self, node: Node, protocol: str, local: bool, *, requests_only: bool = False) -> None:
        self.protocol = protocol
        self.local = local
        """Whether it serves plugins of this node instead of peers."""
        self.calls_as_events = requests_only
        """For the node: whether calls arrive as events instead of streams."""
        self._requests_only = requests_only
        self._node = node
        self._streams: Inbox[_Announced] = Inbox(MAX_UNCLAIMED)
        self._calls: Inbox[_Called] = Inbox(MAX_CALLS)
        self._answering: dict[int, asyncio.Task[None]] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<polypeer.Listener {self.protocol}{' local' if self.local else ''}>"

    # Streams.

    async def accept(self) -> Stream:
        """The next stream, open. Calls arrive as streams, too, unless :meth:`serve_requests` handles them: read the
        request up to its end and write the reply up to its end.

        Raises :class:`NodeClosed` after :meth:`close` or when the node is closed, and the reason when this plugin may
        no longer serve. Streams withdrawn before they were accepted are skipped. A cancel refuses the stream that was
        being accepted and leaves the listener open.
        """
        while True:
            announced = await self._streams.get()
            stream = await self._claim(announced)
            if stream is not None:
                return stream

    async def _claim(self, announced: _Announced) -> Stream | None:
        try:
            return await self._node.claim(*announced)
        except (PolypeerError, OSError) as error:
            log.debug("stream for %s was withdrawn before it was accepted: %s", self.protocol, error)
            return None

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> Stream:
        """As :meth:`accept`; the iteration ends when the listener or the node is closed."""
        try:
            return await self.accept()
        except NodeClosed as closed:
            if closed.code == ErrorCode.SHUTTING_DOWN:
                raise StopAsyncIteration from None
            raise

    async def serve(self, handler: StreamHandler, *, concurrency: int = SERVE_CONCURRENCY) -> None:
        """Runs ``handler(stream)`` for each stream, at most ``concurrency`` at once; further ones stay unaccepted, so
        their openers wait. When a handler returns, its stream is closed. When it raises :class:`Refused`, the stream is
        reset with its code, below 65,536; after any other exception, which is logged, with ``handler failed``. Serving
        continues.

        Returns when the listener is closed, raises as :meth:`accept` otherwise. A cancel cancels the handlers, resets
        their streams and waits for them; the listener stays open.
        """

        async def run(announced: _Announced) -> None:
            stream = await self._claim(announced)
            if stream is not None:
                await _run(handler, stream)

        await self._each(self._streams, run, concurrency)

    async def each_announced(self, accept: Callable[[Session, m.EventStream], Awaitable[None]]) -> None:
        """For servers: runs ``accept`` for each announced stream until the listener is closed."""

        async def run(announced: _Announced) -> None:
            await accept(*announced)

        await self._each(self._streams, run, SERVE_CONCURRENCY)

    async def _each(self, inbox: Inbox[T], run: Callable[[T], Awaitable[None]], concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError("concurrency is at least 1")
        tasks: set[asyncio.Task[None]] = set()
        slots = asyncio.Semaphore(concurrency)

        def done(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            slots.release()

        async def start(item: T) -> None:
            await run(item)

        try:
            while True:
                await slots.acquire()
                try:
                    item = await inbox.get()
                except BaseException:
                    slots.release()
                    raise
                task = asyncio.ensure_future(start(item))
                tasks.add(task)
                task.add_done_callback(done)
        except NodeClosed as closed:
            if closed.code != ErrorCode.SHUTTING_DOWN:
                raise
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # Calls.

    async def serve_requests(self, handler: CallHandler, *, concurrency: int = SERVE_CONCURRENCY) -> None:
        """Answers each request with what ``handler(call)`` returns, at most 64 KiB (else the caller gets
        :class:`TooLarge`, and it is logged). While this runs, requests do not
        arrive as streams; :meth:`serve` may run at the same time for streams. (Without streams, use
        :meth:`Node.handle`: it never receives a request as a stream.) A handler that raises :class:`Refused` declines
        with its code, below 65,536, and message; any other exception is logged and declines as ``handler failed``.

        Returns when the listener is closed; raises as :meth:`accept` and :meth:`Node.listen`. A cancel cancels the
        handlers and declines their calls.
        """
        try:
            if not self.calls_as_events:
                self.calls_as_events = True
                await self._node.register(self)

            async def run(called: _Called) -> None:
                session, event = called
                task = asyncio.current_task()
                assert task is not None, "handlers run in tasks"
                self._answering[event.call] = task
                try:
                    await _answer(handler, session, event)
                finally:
                    self._answering.pop(event.call, None)

            await self._each(self._calls, run, concurrency)
        finally:
            self._decline_waiting("this plugin stopped answering")
            if not self._requests_only:
                self.calls_as_events = False
                if not self._closed:
                    self._node.register_again(self)

    def _decline_waiting(self, message: str) -> None:
        while True:
            called = self._calls.take_oldest()
            if called is None:
                return
            called[0].decline(called[1].call, m.Failure(ErrorCode.REFUSED, message))

    # The end.

    async def close(self) -> None:
        """Stops serving the protocol; accepted streams continue. When this returns, another plugin may serve it.
        Idempotent. Raises nothing; after a cancel the listener is closed as well."""
        if self._closed:
            return
        self.end(NodeClosed(f"the listener for {self.protocol} is closed"))
        await self._node.unregister(self)

    def end_serving(self) -> None:
        """For servers: as :meth:`close`, without waiting."""
        if not self._closed:
            self.end(NodeClosed(f"the listener for {self.protocol} is closed"))
            self._node.unregister_soon(self)

    def end(self, reason: PolypeerError) -> None:
        """For the node: ends the listener, for this reason."""
        self._closed = True
        self._streams.close(reason)
        self._calls.close(reason)
        self._decline_waiting("this plugin stopped answering")

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Callbacks of the node.

    def on_stream(self, session: Session, event: m.EventStream) -> None:
        """Queues or refuses an announced stream."""
        if self._requests_only:
            refusal = m.Failure(ErrorCode.REFUSED, "only requests are answered here, no streams")
        elif self._streams.put((session, event)):
            return
        else:
            refusal = m.Failure(ErrorCode.REFUSED, "too many streams wait to be accepted")
        session.tell(m.RequestRefuseStream(event.stream, refusal))

    def on_stream_gone(self, stream: int) -> None:
        """Removes a withdrawn stream."""
        self._streams.remove(lambda announced: announced[1].stream == stream)

    def on_call(self, session: Session, event: m.EventCall) -> None:
        """Queues or declines a call."""
        if not self.calls_as_events or not self._calls.put((session, event)):
            session.decline(event.call, m.Failure(ErrorCode.REFUSED, "no handler answers requests now"))

    def on_call_gone(self, call: int) -> None:
        """Removes a cancelled call, or cancels its handler."""
        self._calls.remove(lambda called: called[1].call == call)
        task = self._answering.get(call)
        if task is not None:
            task.cancel()

    def on_session_lost(self) -> None:
        """Removes the streams and calls of the lost session."""
        self._streams.remove(lambda _: True)
        self._calls.remove(lambda _: True)
        for task in self._answering.values():
            task.cancel()


async def _run(handler: StreamHandler, stream: Stream) -> None:
    try:
        await handler(stream)
    except asyncio.CancelledError:
        stream.abort()
        raise
    except Refused as refused:
        stream.abort(_own(refused.code))
    except (ConnectionError, PolypeerError) as error:
        log.info("handler for %s ended: %s: %s", stream, type(error).__name__, error)
        stream.abort(ErrorCode.HANDLER_FAILED)
    except Exception:
        log.exception("handler for %s failed", stream)
        stream.abort(ErrorCode.HANDLER_FAILED)
    else:
        stream.close()


async def _answer(handler: CallHandler, session: Session, event: m.EventCall) -> None:
    call = Call(_types.origin(event.origin), event.protocol, event.payload)
    try:
        reply = await handler(call)
        if len(reply) > MAX_PAYLOAD:
            log.error("the reply for %s to %s has %d bytes; at most 64 KiB", event.protocol, call.origin, len(reply))
        await session.answer(event.call, reply)
    except asyncio.CancelledError:
        session.decline(event.call, m.Failure(ErrorCode.REFUSED, "this plugin stopped answering"))
        raise
    except Refused as refused:
        session.decline(event.call, m.Failure(_own(refused.code), cut(refused.message)))
    except Exception:
        log.exception("handler for %s calls from %s failed", event.protocol, call.origin)
        session.decline(event.call, m.Failure(ErrorCode.HANDLER_FAILED, ""))


def _own(code: int) -> int:
    """A refusal's code as a plugin may send it: ``refused`` in place of the others of Polypeer."""
    return code if code < FIRST_CODE else int(ErrorCode.REFUSED)
