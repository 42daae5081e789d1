"""Replay: a transport that answers from cassettes, and has nothing else to answer from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from itertools import zip_longest

import httpx2
from vcr.cassette import Cassette

from claudeprov.cassette.interaction import LOCAL, Details, Interaction, interactions
from claudeprov.cassette.match import Sent, nearest, sent_of
from claudeprov.clock import Clock
from claudeprov.errors import CassetteError, CassetteMissError
from claudeprov.paths import conf_dir

_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding"})


class ReplayTransport(httpx2.AsyncBaseTransport):
    """Answers each request as its recording was answered: the same chunks, and the same break where there was one.

    A request's recording is the one with the same method, path and JSON body; the n-th request of several equal ones
    gets the n-th recording. Cassettes that other programs recorded with vcrpy are replayed in one chunk.

    Args:
        cassettes: Where the recordings are, in this order.
        clock: Where waiting happens.
        speed: Pace: 0 at once, 1 as recorded, 2 twice as fast.
    """

    def __init__(self, cassettes: Sequence[Cassette], *, clock: Clock, speed: float = 0.0) -> None:
        self._cassettes = cassettes
        self._clock = clock
        self._speed = speed
        self.missed = 0
        """Requests that were not recorded."""
        self._interactions = [interaction for cassette in cassettes for interaction in interactions(cassette)]
        self._recorded: defaultdict[bytes, list[Interaction]] = defaultdict(list)
        for interaction in self._interactions:
            self._recorded[sent_of(interaction.request).key].append(interaction)
        self._next: defaultdict[bytes, int] = defaultdict(int)

    @property
    def played(self) -> int:
        """Recordings that a request has got."""
        return sum(cassette.play_count for cassette in self._cassettes)

    @property
    def unplayed(self) -> int:
        """Recordings that no request has got."""
        return len(self._interactions) - self.played

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
        return f"replaying {where}: {what} from {', '.join(servers)}{when}; nothing is sent"

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer *request* from its recording.

        Raises:
            CassetteMissError: It was not recorded, or less often than it is asked; the message names the nearest.
            httpx2.RequestError: The recorded request got no answer either.
        """
        sent = Sent(request.method, str(request.url), await request.aread())
        recorded = self._recorded.get(sent.key, [])
        ordinal = self._next[sent.key]
        if ordinal >= len(recorded):
            self.missed += 1
            raise self._miss(sent, recorded)
        self._next[sent.key] += 1
        interaction = recorded[ordinal]
        interaction.cassette.play_counts[interaction.index] += 1
        details = interaction.details
        waits = [wait / 1_000_000 / self._speed for wait in details.waits] if details and self._speed else []
        if waits:
            await self._clock.sleep(waits[0])
        if details and not details.answered:
            raise _ending(interaction, details)
        return httpx2.Response(
            interaction.status,
            headers=[(name, value) for name, value in interaction.headers if name.lower() not in _FRAMING_HEADERS],
            stream=_ReplayedStream(interaction, waits[1:], self._clock),
        )

    def _miss(self, sent: Sent, recorded: Sequence[Interaction]) -> CassetteMissError:
        found: Interaction | None
        if recorded:
            found = recorded[-1]
            why = f"it was recorded {len(recorded)}x, last as {found.place}, and is asked for once more"
        else:
            best = nearest(sent, (sent_of(interaction.request) for interaction in self._interactions))
            if best is None:
                found, why = None, f"none of the {len(self._interactions)} recordings is of {sent.method} {sent.path}"
            else:
                found = self._interactions[best[0]]
                why = f"the nearest is {found.place}, which differs at {best[1][0]}"
                if len(best[1]) > 1:
                    why += f", and at {len(best[1]) - 1} more"
        model = f" to {sent.model}" if sent.model else ""
        return CassetteMissError(
            f"this {sent.method} {sent.path}{model} was not recorded: {why}. {_advice(sent, found)}",
            context={"model": sent.model, "nearest": found and found.place},
        )


class _ReplayedStream(httpx2.AsyncByteStream):
    def __init__(self, interaction: Interaction, waits: Sequence[float], clock: Clock) -> None:
        self._interaction = interaction
        self._waits = waits
        self._clock = clock

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body, details = self._interaction.body, self._interaction.details
        sizes = details.sizes if details else (len(body),) if body else ()
        start = 0
        for size, wait in zip_longest(sizes, self._waits):
            if wait:
                await self._clock.sleep(wait)
            if size is not None:
                yield body[start : start + size]
                start += size
        if details and details.end != "complete":
            raise _ending(self._interaction, details)


def _ending(interaction: Interaction, details: Details) -> Exception:
    """What a recording that is not complete ends with."""
    if details.error is None:
        return CassetteError(
            f"the recording stops here, its reader went away: {interaction.place}", code="recording_cancelled"
        )
    name, _, message = details.error.partition(": ")
    kind = getattr(httpx2, name, None)
    if isinstance(kind, type) and issubclass(kind, httpx2.RequestError):
        return kind(message)
    return CassetteError(f"{name!r} is no error of httpx2: {interaction.place}", code="malformed")


def _advice(sent: Sent, found: Interaction | None) -> str:
    """How to record what was missed, as what came nearest was recorded."""
    details = found.details if found else None
    words = [f"model={sent.model}"] if sent.model else []
    if details and details.model == sent.model and details.server.endswith(LOCAL):
        words += ["endpoint=compatible", f"endpoint.base_url={details.server.removesuffix(LOCAL)}"]
    path = found.cassette.path if found else "FILE"
    if details and details.suite:
        packaged = (conf_dir() / "suite" / f"{details.suite}.yaml").is_file()
        words[:0] = [f"suite={details.suite}"] if packaged else ["suite.path=FILE", f"cassette.path={path}"]
        told = "" if packaged else f", FILE being that of the suite {details.suite}"
        return f"To record it: claudeprov record {' '.join(words)}{told}"
    return f"To record it, run the same with: cassette=record cassette.path={path} {' '.join(words)}"
