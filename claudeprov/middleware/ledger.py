"""A row of each call."""

from __future__ import annotations

import asyncio
import logging

from claudeprov.chain import Call, Next
from claudeprov.ledger.outbox import Outbox
from claudeprov.ledger.row import row_of
from claudeprov.notice import Notices
from claudeprov.response import MessageResponse
from claudeprov.stream import Outcome, Stream, response_of

_log = logging.getLogger(__name__)


class Ledger:
    """Enters each call into a ledger: the row is with the operating system before the call's end is told.

    Notices: ``ledger.behind`` (``reason``) at the first call after the database went away, and again with ``reason``
    ``None`` when it is back; ``ledger.lost`` (``reason``) for a call whose row could not be written at all.

    Args:
        outbox: Where rows go; it is closed with the layer.
        notices: Where troubles are told.
        replayed: Whether cassettes answer.
    """

    def __init__(self, outbox: Outbox, *, notices: Notices, replayed: bool = False) -> None:
        self._outbox = outbox
        self._notices = notices
        self._replayed = replayed
        self._told: str | None = None

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        asked = call.request.model
        try:
            stream = await call_next(call)
        except Exception as error:
            self._enter(call, asked, Outcome("failed", error), response_of(call, None))
            raise
        except BaseException:
            self._enter(call, asked, Outcome("cancelled"), response_of(call, None))
            raise
        stream.on_end(lambda outcome: self._enter(call, asked, outcome, stream.response))
        return stream

    async def close(self) -> None:
        """Move what can be moved into the database."""
        await asyncio.to_thread(self._outbox.close)

    def _enter(self, call: Call, asked: str | None, outcome: Outcome, response: MessageResponse) -> None:
        try:
            self._outbox.put(row_of(call, asked, outcome, response, replayed=self._replayed))
        except Exception as error:  # a full disk is no reason to lose an answer
            _log.exception("no row of the call %s could be written", call.id)
            self._notices.post("ledger.lost", call.id, reason=str(error))
        if self._outbox.trouble != self._told:
            self._told = self._outbox.trouble
            self._notices.post("ledger.behind", call.id, reason=self._told)
