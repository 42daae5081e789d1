"""Replay: a transport that answers from cassettes, and has nothing else to answer from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from itertools import accumulate

import httpx2
from vcr.cassette import Cassette

from claudeprov.cassette import command_to_record
from claudeprov.cassette.interaction import LOCAL, Details, Interaction, interactions
from claudeprov.cassette.match import Sent, draft_of, nearest, sent_of
from claudeprov.cassette.rules import NO_RULES, Rules
from claudeprov.clock import Clock
from claudeprov.errors import CassetteError, CassetteMissError
from claudeprov.paths import conf_dir

_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding"})

_GRACE = 1_000_000
"""Microseconds of silence after what a reader had when it went away; one with a time limit goes away again."""

_SHOWN = 3
"""Differences from the nearest recording that a miss tells."""


class ReplayTransport(httpx2.AsyncBaseTransport):
    """Answers each request as its recording was answered: the same chunks, and the same break where there was one.

    A request's recording is the one with the same method, path and JSON body; the n-th request of several equal ones
    gets the n-th recording. Cassettes that other programs recorded with vcrpy are replayed in one chunk.

    Args:
        cassettes: Where the recordings are, in this order.
        clock: Where waiting happens.
        speed: Pace: 0 at once, 1 as recorded, 2 twice as fast.
        suite: The suite or test that is run, by which a miss tells how to record it; that of the recording if left out.
        rules: Which requests are the same.
    """

    def __init__(
        self,
        cassettes: Sequence[Cassette],
        *,
        clock: Clock,
        speed: float = 0.0,
        suite: str | None = None,
        rules: Rules = NO_RULES,
    ) -> None:
        self._cassettes = cassettes
        self._clock = clock
        self._speed = speed
        self._suite = suite
        self._rules = rules
        self.missed = 0
        """Requests that were not recorded."""
        self._interactions = [interaction for cassette in cassettes for interaction in interactions(cassette)]
        self._recorded: defaultdict[bytes, list[Interaction]] = defaultdict(list)
        for interaction in self._interactions:
            self._recorded[sent_of(interaction.request, rules).key].append(interaction)
        self._next: defaultdict[bytes, int] = defaultdict(int)

    @property
    def played(self) -> int:
        """Recordings that a request has got."""
        return sum(cassette.play_count for cassette in self._cassettes)

    @property
    def unplayed(self) -> list[Interaction]:
        """Recordings that no request has got."""
        return [item for item in self._interactions if not item.cassette.play_counts[item.index]]

    @property
    def note(self) -> str:
        """Whose answers these are, in one line for a person."""
        details = [interaction.details for interaction in self._interactions]
        days = sorted({known.recorded_at[:10] for known in details if known})
        servers = sorted({known.server for known in details if known}) or ["a server that the cassette does not name"]
        asked = sorted({known.model for known in details if known and known.model})
        what = f"answers to {', '.join(asked)}" if asked else "answers"
        when = f", recorded {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""
        where = f"{len(self._cassettes)} cassettes" if len(self._cassettes) > 1 else str(self._cassettes[0].path)
        ignored = f", {', '.join(self._rules.ignore)} of requests ignored" if self._rules.ignore else ""
        return f"replaying {where}: {what} from {', '.join(servers)}{when}{ignored}; nothing is sent"

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer *request* from its recording.

        Raises:
            CassetteMissError: It was not recorded, or less often than it is asked; the message names the nearest.
            httpx2.RequestError: The recorded request got no answer either.
        """
        await request.aread()
        sent = draft_of(request, self._rules)
        recorded = self._recorded.get(sent.key, [])
        ordinal = self._next[sent.key]
        if ordinal >= len(recorded):
            self.missed += 1
            raise self._miss(sent, recorded)
        self._next[sent.key] += 1
        interaction = recorded[ordinal]
        interaction.cassette.play_counts[interaction.index] += 1
        details = interaction.details
        pace = _Pace(details, self._clock, self._speed) if details and self._speed else None
        if pace:
            await pace.wait()
        if details and not details.answered:
            raise _ending(interaction, details)
        return httpx2.Response(
            interaction.status,
            headers=[(name, value) for name, value in interaction.headers if name.lower() not in _FRAMING_HEADERS],
            stream=_ReplayedStream(interaction, pace),
        )

    def _miss(self, sent: Sent, recorded: Sequence[Interaction]) -> CassetteMissError:
        found: Interaction | None
        if recorded:
            found = recorded[-1]
            why = f"it was recorded {len(recorded)}x, last as {found.place}, and is asked for once more"
        else:
            best = nearest(sent, (sent_of(interaction.request, self._rules) for interaction in self._interactions))
            if best is None:
                found, why = None, f"none of the {len(self._interactions)} recordings is of {sent.method} {sent.path}"
            else:
                found = self._interactions[best[0]]
                differences = list(map(str, best[1][:_SHOWN]))
                if (more := len(best[1]) - _SHOWN) > 0:
                    differences.append(f"and at {more} more")
                why = f"the nearest is {found.place}, which differs at {'; '.join(differences)}"
        model = f" to {sent.model}" if sent.model else ""
        return CassetteMissError(
            f"this {sent.method} {sent.path}{model} was not recorded: {why}. {_advice(sent, found, self._suite)}",
            context={"model": sent.model, "nearest": found and found.place},
        )


class _Pace:
    """The moments of a recording, one after another, as far from the request's start as they were."""

    def __init__(self, details: Details, clock: Clock, speed: float) -> None:
        waits = list(details.waits)
        if details.end == "cancelled":
            waits[-1] += _GRACE
        self._clock = clock
        self._start = clock.monotonic()
        self._dues = (due / 1_000_000 / speed for due in accumulate(waits))

    async def wait(self) -> None:
        """Wait for the next moment, unless it is past: a slow reader finds what came meanwhile."""
        left = self._start + next(self._dues) - self._clock.monotonic()
        if left > 0:
            await self._clock.sleep(left)


class _ReplayedStream(httpx2.AsyncByteStream):
    def __init__(self, interaction: Interaction, pace: _Pace | None) -> None:
        self._interaction = interaction
        self._pace = pace

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body, details, pace = self._interaction.body, self._interaction.details, self._pace
        start = 0
        for size in details.sizes if details else [len(body)] if body else []:
            if pace:
                await pace.wait()
            yield body[start : start + size]
            start += size
        if pace:
            await pace.wait()
        if details and details.end != "complete":
            raise _ending(self._interaction, details)


def _ending(interaction: Interaction, details: Details) -> Exception:
    """What a recording that is not complete ends with."""
    if details.error is None:
        return CassetteError(
            f"the recording stops here, its reader went away: {interaction.place}. If it was a time limit that ended "
            "it, cassette.speed=1 lets it do so again",
            code="recording_cancelled",
        )
    name, _, message = details.error.partition(": ")
    kind = getattr(httpx2, name, None)
    if isinstance(kind, type) and issubclass(kind, httpx2.RequestError):
        return kind(message)
    return CassetteError(f"{name!r} is no error of httpx2: {interaction.place}", code="malformed")


def _advice(sent: Sent, found: Interaction | None, suite: str | None) -> str:
    """How to record what was missed: by the suite or test that is run, or else as what came nearest was recorded."""
    details = found.details if found else None
    suite = suite or (details.suite if details else None)
    if suite and "::" in suite:
        return f"To record it: {command_to_record(suite)}"
    words = [f"model={sent.model}"] if sent.model else []
    if details and details.model == sent.model and details.server.endswith(LOCAL):
        words += ["endpoint=compatible", f"endpoint.base_url={details.server.removesuffix(LOCAL)}"]
    path = found.cassette.path if found else "FILE"
    if suite:
        packaged = (conf_dir() / "suite" / f"{suite}.yaml").is_file()
        words[:0] = [f"suite={suite}"] if packaged else ["suite.path=FILE", f"cassette.path={path}"]
        told = "" if packaged else f", FILE being that of the suite {suite}"
        return f"To record it: claudeprov record {' '.join(words)}{told}"
    return f"To record it, run the same with: cassette=record cassette.path={path} {' '.join(words)}"
