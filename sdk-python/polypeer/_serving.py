"""The listeners of a node, by protocol and scope: dispatches incoming streams and calls, and restores listeners in each
session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _messages as m
from ._errors import AlreadyServed, ErrorCode, NotAllowed, PolypeerError
from ._names import allows_any
from ._restore import Wanted
from ._types import Grants

if TYPE_CHECKING:
    from ._listener import Listener
    from ._session import Session


class Serving:
    """At most one listener for each protocol and scope."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, bool], Listener] = {}

    def add(self, listener: Listener) -> None:
        """Raises :class:`AlreadyServed`."""
        key = (listener.protocol, listener.local)
        if key in self._listeners:
            raise AlreadyServed(f"this plugin has a listener for {listener.protocol}; close it first")
        self._listeners[key] = listener

    def remove(self, listener: Listener) -> bool:
        """Removes a listener; ``False`` when it was not registered."""
        key = (listener.protocol, listener.local)
        if self._listeners.get(key) is not listener:
            return False
        del self._listeners[key]
        return True

    def wanted(self) -> list[Wanted]:
        """What to request in a new session; a listener that is refused for good ends with the reason."""

        def each(listener: Listener) -> Wanted:
            key = (listener.protocol, listener.local)

            def give_up(reason: PolypeerError) -> None:
                self.remove(listener)
                listener.end(reason)

            return Wanted(
                f"a listener for {listener.protocol}",
                lambda: listen_request(listener),
                lambda: self._listeners.get(key) is listener,
                give_up,
            )

        return [each(listener) for listener in self._listeners.values()]

    def arrived(self, session: Session, event: m.EventStream | m.EventCall) -> None:
        """Dispatches an incoming stream or call."""
        listener = self._listeners.get((event.protocol, isinstance(event.origin, m.OriginLocal)))
        refusal = m.Failure(ErrorCode.REFUSED, "the listener is closed")
        if isinstance(event, m.EventStream):
            if listener is None:
                session.tell(m.RequestRefuseStream(event.stream, refusal))
            else:
                listener.on_stream(session, event)
        elif listener is None:
            session.decline(event.call, refusal)
        else:
            listener.on_call(session, event)

    def stream_gone(self, stream: int) -> None:
        """Removes a withdrawn stream."""
        for listener in self._listeners.values():
            listener.on_stream_gone(stream)

    def call_gone(self, call: int) -> None:
        """Removes a cancelled call."""
        for listener in self._listeners.values():
            listener.on_call_gone(call)

    def session_lost(self) -> None:
        """Removes the streams and calls of the lost session."""
        for listener in self._listeners.values():
            listener.on_session_lost()

    def grants_changed(self, grants: Grants) -> None:
        """Ends the listeners that the grants no longer cover."""
        for listener in list(self._listeners.values()):
            allowed = grants.serve_local if listener.local else grants.serve
            if not allows_any(allowed, listener.protocol):
                self.remove(listener)
                listener.end(NotAllowed(f"the operator withdrew the grant to serve {listener.protocol}"))

    def end(self, reason: PolypeerError) -> None:
        """Ends all listeners."""
        for listener in self._listeners.values():
            listener.end(reason)
        self._listeners.clear()


def _scope(listener: Listener) -> m.Scope:
    return m.ScopeLocal() if listener.local else m.ScopePeers()


def listen_request(listener: Listener) -> m.RequestListen:
    """The request that registers a listener, with its current call mode."""
    calls: m.CallMode = m.CallModeEvents() if listener.calls_as_events else m.CallModeStreams()
    return m.RequestListen(listener.protocol, _scope(listener), calls)


def unlisten_request(listener: Listener) -> m.RequestUnlisten:
    """The request that ends a listener."""
    return m.RequestUnlisten(listener.protocol, _scope(listener))
