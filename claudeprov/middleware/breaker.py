"""No calls to a service that keeps failing."""

from __future__ import annotations

from collections.abc import Iterable

from claudeprov.chain import Call, Next
from claudeprov.errors import CallTimeoutError, ProviderError
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.state import Circuits, Verdict
from claudeprov.stream import Outcome, Stream


class Breaker:
    """Refuses a route's calls for ``open_for`` seconds once ``failures`` of them have failed within ``window`` seconds.

    A route is an endpoint and a group of models (``call.route``); each has a circuit of its own. With ``failure_rate``
    in place of ``failures`` it is a share of the calls, of which there must be ``minimum_calls``. After that it lets
    ``trials`` calls through at a time: one that succeeds closes it, one that fails opens it again. A call that was let
    through asks again before every further attempt.

    The verdict on a call is given at its stream's end. Only errors whose ``code``, or whose class's, is among
    ``counts`` are failures. Other errors are neither failure nor success; nor are calls that their reader has cancelled
    or abandoned. A call whose time is up has failed if the service owed it the beginning of a stream: one that is still
    answering then is not to blame. Posts ``breaker.changed``.

    Raises:
        CircuitOpenError: It is open; ``retry_after`` says for how long, or, while enough calls are on trial, when to
            ask again.
    """

    def __init__(self, settings: BreakerSettings, *, circuits: Circuits) -> None:
        self._counts = frozenset(settings.counts)
        self._circuits = circuits

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        verdict = await self._circuits.admit(call.route)

        def end(outcome: Outcome) -> None:
            codes = _codes(outcome.error)
            if outcome.kind == "read":
                verdict.succeed()
            elif _OUT_OF_TIME in codes:
                verdict.withdraw()
            else:
                self._judge(verdict, codes)

        call.checks.append(verdict.check)
        try:
            stream = await call_next(call)
        except BaseException as error:
            # The deadline cancels as a reader does; the attempt that it cut short tells which it was.
            cut_short = bool(call.attempts) and call.attempts[-1].error_code == _OUT_OF_TIME
            self._judge(verdict, (_OUT_OF_TIME, CallTimeoutError.code) if cut_short else _codes(error))
            raise
        finally:
            call.checks.remove(verdict.check)
        stream.on_end(end)
        return stream

    def _judge(self, verdict: Verdict, codes: Iterable[str]) -> None:
        if self._counts.isdisjoint(codes):
            verdict.withdraw()
        else:
            verdict.fail()


_OUT_OF_TIME = "deadline_exceeded"


def _codes(error: BaseException | None) -> tuple[str, ...]:
    return (error.code, type(error).code) if isinstance(error, ProviderError) else ()
