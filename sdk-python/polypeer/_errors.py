"""Exceptions. Every one of this package is a :class:`PolypeerError` with a stable ``code`` and a ``message`` for
people. Many also inherit from the standard library's exception (``ConnectionError``, ``TimeoutError``,
``PermissionError``), so that code without knowledge of Polypeer handles them."""

from __future__ import annotations

import asyncio
import sys
from enum import IntEnum
from typing import TypeVar

from ._limits import FIRST_CODE, MAX_MESSAGE

_T = TypeVar("_T")


class ErrorCode(IntEnum):
    """The stable numbers of ``ipc-protocol/SPEC.md``. Codes below ``0x10000`` belong to applications."""

    COMPLETE = FIRST_CODE
    """No failure: everything written, and its end, has arrived at the other node."""
    MALFORMED = FIRST_CODE + 1
    UNAUTHORISED = FIRST_CODE + 2
    UNSUPPORTED_VERSION = FIRST_CODE + 3
    UNSUPPORTED = FIRST_CODE + 4
    NOT_GRANTED = FIRST_CODE + 5
    PEER_NOT_ALLOWED = FIRST_CODE + 6
    BLOCKED = FIRST_CODE + 7
    UNKNOWN_PEER = FIRST_CODE + 8
    UNREACHABLE = FIRST_CODE + 9
    NOT_SERVED = FIRST_CODE + 10
    ALREADY_SERVED = FIRST_CODE + 11
    TOO_MANY_STREAMS = FIRST_CODE + 12
    BUSY = FIRST_CODE + 13
    TOO_LARGE = FIRST_CODE + 14
    TIMED_OUT = FIRST_CODE + 15
    CANCELLED = FIRST_CODE + 16
    CONNECTION_LOST = FIRST_CODE + 17
    SUPERSEDED = FIRST_CODE + 18
    NO_SUCH_STREAM = FIRST_CODE + 19
    SHUTTING_DOWN = FIRST_CODE + 20
    REFUSED = FIRST_CODE + 21
    INTERNAL = FIRST_CODE + 22
    BAD_ARGUMENT = FIRST_CODE + 23
    PEER_MISBEHAVED = FIRST_CODE + 24
    HANDLER_FAILED = FIRST_CODE + 25
    """The other plugin failed while it handled the stream or request; its log says why."""


_TEXTS: dict[int, str] = {code.value: code.name.lower().replace("_", " ") for code in ErrorCode}
_TEXTS[ErrorCode.NOT_SERVED] = "protocol not served"
_TEXTS[ErrorCode.ALREADY_SERVED] = "protocol already served"
_TEXTS[ErrorCode.INTERNAL] = "internal error"


def describe(code: int) -> str:
    """The name of a code: from the table for Polypeer's, the number for an application's."""
    known = _TEXTS.get(code)
    if known is not None:
        return known
    return f"application code {code}" if code < FIRST_CODE else f"unknown code {code}"


def cut(message: str) -> str:
    """``message`` cut to the limit of a failure, at a character boundary."""
    return message.encode("utf-8", "replace")[:MAX_MESSAGE].decode("utf-8", "ignore")


class PolypeerError(Exception):
    """Base of all exceptions. ``code`` is a stable number (:class:`ErrorCode`, one that a later version added, or an
    application's own); ``message`` says what, where and what to do."""

    default_code: int = ErrorCode.INTERNAL

    def __init__(self, message: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.code: int = self.default_code if code is None else code
        self.message: str = message

    def __str__(self) -> str:
        name = describe(self.code)
        return f"{name}: {self.message}" if self.message else name


class NotStartedByPolypeer(PolypeerError):
    """``POLYPEER_GATEWAY`` or ``POLYPEER_TOKEN`` is absent or not usable."""

    default_code = ErrorCode.BAD_ARGUMENT


class BadArgument(PolypeerError, ValueError):
    """An invalid value: a peer that is neither a node id nor a ticket, a protocol without a version."""

    default_code = ErrorCode.BAD_ARGUMENT


class TooLarge(PolypeerError, ValueError):
    """A request or reply of more than 64 KiB; more than this belongs on a stream."""

    default_code = ErrorCode.TOO_LARGE


class Unsupported(PolypeerError):
    """Netcore does not know the request, or speaks no version of the gateway protocol that this SDK does."""

    default_code = ErrorCode.UNSUPPORTED


class ProtocolError(PolypeerError):
    """Netcore or the peer broke its protocol."""

    default_code = ErrorCode.MALFORMED


class Unauthorised(PolypeerError, PermissionError):
    """The token is not that of this launch."""

    default_code = ErrorCode.UNAUTHORISED


class NotAllowed(PolypeerError, PermissionError):
    """Not granted, a peer outside the grant, or a block. The operator can change each."""

    default_code = ErrorCode.NOT_GRANTED


class Unreachable(PolypeerError, ConnectionError):
    """The peer is not known, or no address of it answered."""

    default_code = ErrorCode.UNREACHABLE


class Refused(PolypeerError, ConnectionRefusedError):
    """The other plugin declined, or nothing serves the protocol there. ``code`` may be the application's own."""

    default_code = ErrorCode.REFUSED


class HandlerFailed(PolypeerError):
    """The other plugin failed while it handled the request; its operator sees why in its log."""

    default_code = ErrorCode.HANDLER_FAILED


class AlreadyServed(PolypeerError):
    """Another listener of this node serves the protocol."""

    default_code = ErrorCode.ALREADY_SERVED


class Busy(PolypeerError):
    """Too many streams or requests at once; worth another try later."""

    default_code = ErrorCode.BUSY


if sys.version_info >= (3, 11):
    _Timeout = TimeoutError
else:

    class _Timeout(TimeoutError, asyncio.TimeoutError):
        """Both of the two that later versions of Python made one."""


class TimedOut(PolypeerError, _Timeout):
    """No answer within the time allowed."""

    default_code = ErrorCode.TIMED_OUT


class Cancelled(PolypeerError):
    """The other side cancelled the operation. Unlike ``asyncio.CancelledError``, which a cancelled task raises."""

    default_code = ErrorCode.CANCELLED


class ConnectionLost(PolypeerError, ConnectionResetError):
    """The network core, the peer or the link was lost while an answer was awaited."""

    default_code = ErrorCode.CONNECTION_LOST


class StreamLost(ConnectionLost):
    """The stream was cut before its end; what was read so far is incomplete."""


class StreamReset(StreamLost):
    """The other end aborted the stream with ``code``; what was read so far is incomplete."""


class StreamStopped(PolypeerError, BrokenPipeError):
    """The other end has stopped reading, with ``code``; what is written now is discarded."""


class NodeClosed(PolypeerError):
    """This :class:`~polypeer.Node` is closed: by ``close``, or for the reason in ``code`` (``superseded``, …)."""

    default_code = ErrorCode.SHUTTING_DOWN


class Superseded(NodeClosed):
    """Another session of the same plugin launch took over. The SDK does not take it back."""

    default_code = ErrorCode.SUPERSEDED


_CLASSES: dict[int, type[PolypeerError]] = {
    ErrorCode.MALFORMED: ProtocolError,
    ErrorCode.UNAUTHORISED: Unauthorised,
    ErrorCode.UNSUPPORTED_VERSION: Unsupported,
    ErrorCode.UNSUPPORTED: Unsupported,
    ErrorCode.NOT_GRANTED: NotAllowed,
    ErrorCode.PEER_NOT_ALLOWED: NotAllowed,
    ErrorCode.BLOCKED: NotAllowed,
    ErrorCode.UNKNOWN_PEER: Unreachable,
    ErrorCode.UNREACHABLE: Unreachable,
    ErrorCode.NOT_SERVED: Refused,
    ErrorCode.ALREADY_SERVED: AlreadyServed,
    ErrorCode.TOO_MANY_STREAMS: Busy,
    ErrorCode.BUSY: Busy,
    ErrorCode.TOO_LARGE: TooLarge,
    ErrorCode.TIMED_OUT: TimedOut,
    ErrorCode.CANCELLED: Cancelled,
    ErrorCode.CONNECTION_LOST: ConnectionLost,
    ErrorCode.SUPERSEDED: Superseded,
    ErrorCode.NO_SUCH_STREAM: Refused,
    ErrorCode.SHUTTING_DOWN: Refused,
    ErrorCode.REFUSED: Refused,
    ErrorCode.BAD_ARGUMENT: BadArgument,
    ErrorCode.PEER_MISBEHAVED: ProtocolError,
    ErrorCode.HANDLER_FAILED: HandlerFailed,
}


def from_code(code: int, message: str) -> PolypeerError:
    """The exception for a failure that arrived. An application's own code is a refusal; a code of a later version is a
    plain :class:`PolypeerError`."""
    kind = Refused if code < FIRST_CODE else _CLASSES.get(code, PolypeerError)
    return kind(message, code)


def reset_from_code(code: int) -> StreamLost:
    """The exception a reader gets when the other end, or netcore, resets the stream with ``code``."""
    if code == ErrorCode.CONNECTION_LOST:
        return StreamLost("the stream was cut", code)
    return StreamReset("the stream was reset", code)


def expect_bytes(data: object, what: str) -> None:
    """Raises :class:`BadArgument` unless ``data`` is bytes; text must be encoded first."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise BadArgument(f"{what} is bytes, not {type(data).__name__}")


def expect(response: object, kind: type[_T]) -> _T:
    """``response`` if it is of this kind. Raises :class:`ProtocolError`: netcore answered something else."""
    if not isinstance(response, kind):
        raise ProtocolError(f"netcore answered with {type(response).__name__}")
    return response
