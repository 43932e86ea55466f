"""What travels: lines of JSON between chat apps, and the values in them, checked."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from limits import MAX_ERROR, MAX_ID, MAX_TEXT

MALFORMED, TOO_LARGE, LATER = 1, 2, 3
"""Codes of refusals and resets; see PROTOCOL.md."""
PERMANENT = (MALFORMED, TOO_LARGE)
"""Codes after which sending the same message again is pointless."""


class Bad(Exception):
    """A line that is not what it should be; `code` says how."""

    def __init__(self, code: int, reason: str) -> None:
        """With the code to refuse with, and the reason for people."""
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Message:
    """One message of a conversation. `state` is `received`, `sent` (waits here), `delivered` or `failed`. `code` says
    with `sent` why it still waits, as a number of Polypeer's."""

    peer: str
    id: str
    outgoing: bool
    text: str
    at: int
    state: str
    error: str | None = None
    code: int | None = None

    def shown(self, me: str) -> dict[str, Any]:
        """As the control protocol tells it; `me` is this node's id."""
        line: dict[str, Any] = {
            "id": self.id,
            "from": me if self.outgoing else self.peer,
            "text": self.text,
            "at": self.at,
            "state": self.state,
        }
        if self.error is not None:
            line["error"] = self.error
        if self.code is not None:
            line["code"] = self.code
        return line


def new_id() -> str:
    """An id nobody else chooses: 128 random bits in hex."""
    return secrets.token_hex(16)


def line(document: dict[str, Any]) -> bytes:
    """A document as one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def document(data: bytes) -> dict[str, Any]:
    """The document a line is. Raises `Bad`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise Bad(MALFORMED, "the line is not JSON") from None
    if not isinstance(value, dict):
        raise Bad(MALFORMED, "the line is not a JSON object")
    return value


def text_of(value: dict[str, Any]) -> str:
    """The field `text`, within its limit. Raises `Bad`."""
    text = value.get("text")
    if not isinstance(text, str) or not text:
        raise Bad(MALFORMED, "expected a text")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Bad(MALFORMED, "the text holds half a character") from None
    if size > MAX_TEXT:
        raise Bad(TOO_LARGE, f"the text has {size} bytes; the limit is {MAX_TEXT}. Send it as a file")
    return text


def id_of(value: dict[str, Any], field: str = "id") -> str:
    """The id in a field. Raises `Bad`."""
    id = value.get(field)
    if not isinstance(id, str) or not 0 < len(id) <= MAX_ID or not id.isascii() or not id.isprintable():
        raise Bad(MALFORMED, f"expected an id of at most {MAX_ID} characters")
    return id


def time_of(value: dict[str, Any], now: int) -> int:
    """The field `at`, unix seconds, moved into what is possible: not after `now`. Raises `Bad`."""
    at = value.get("at")
    if not isinstance(at, int) or isinstance(at, bool) or at < 0:
        raise Bad(MALFORMED, "expected a time")
    return min(at, now)


def error_of(value: dict[str, Any]) -> str:
    """The field `error`, cut, for people."""
    error = value.get("error")
    return error[:MAX_ERROR] if isinstance(error, str) else "no reason given"
