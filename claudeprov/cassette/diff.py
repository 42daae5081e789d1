"""How two recordings differ in meaning: a change of the API told apart from one of the model's words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice
from typing import Any, Literal, get_args

from vcr.cassette import Cassette

from claudeprov.cassette.answer import Answer, answer_of, call_text
from claudeprov.cassette.grammar import grammar_changes, stream_problem
from claudeprov.cassette.interaction import Interaction, interactions
from claudeprov.cassette.match import differences, nearest, sent_of
from claudeprov.cassette.rules import NO_RULES, Rules

Kind = Literal["grammar", "requests", "parameters", "outcome", "model", "tools", "stop", "words", "usage", "timing"]
"""``grammar``: the API's answers are made otherwise. ``requests``: one is in one recording only. ``parameters``: of a
request. ``outcome``: status, or how the exchange ended. ``model``: which one served. ``tools``, ``stop``, ``words``:
what the model did. ``usage``, ``timing``: what it took."""

_NOTABLE = 1.5
"""A time that is longer or shorter by less than this factor is no change: no two recordings are equally fast."""

_NEAR = 50
"""Requests among which the most alike is looked for: recordings keep the order of their requests, or nearly."""

_MOST = 20
"""Differences told of one request, or of one answer that is no message."""

_WORDS = 2000
"""Words of a text that are compared; the time grows with their square."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing in which two recordings differ."""

    kind: Kind
    place: str
    """Where: an interaction, or a kind of event."""
    text: str
    """What, for a person."""


def changes(old: Cassette, new: Cassette, *, rules: Rules = NO_RULES) -> list[Change]:
    """Say how *new* differs from *old* in meaning: the API's grammar first, then interaction by interaction.

    Equal requests are compared with each other, in their order; of the others those that are most alike. *rules* say
    which parts of a request do not count.
    """
    pairs, gone, added = _paired(list(interactions(old)), list(interactions(new)), rules)
    answers = [(answer_of(was), answer_of(now)) for was, now in pairs]
    whole = [both for pair, both in zip(pairs, answers, strict=True) if _are_alike(*pair, *both)]
    found = [
        Change("grammar", place, text)
        for place, text in grammar_changes((was for was, _ in whole), (now for _, now in whole))
    ]
    for (was, now), (old_answer, new_answer) in zip(pairs, answers, strict=True):
        place = f"interaction {now.index + 1}"
        found += [Change(kind, place, text) for kind, text in _differences(was, now, old_answer, new_answer, rules)]
    found += [Change("requests", f"interaction {item.index + 1}", f"is gone: {_name(item)}") for item in gone]
    found += [Change("requests", f"interaction {item.index + 1}", f"is new: {_name(item)}") for item in added]
    return found


def summary(changes: Iterable[Change]) -> str:
    """Say in one line what *changes* come to: those of the API's grammar one by one, the others counted."""
    counts: Counter[str] = Counter()
    grammar: list[str] = []
    for change in changes:
        counts[change.kind] += 1
        if change.kind == "grammar":
            grammar.append(f"{change.place}: {change.text}")
    if not counts:
        return "no change in meaning"
    told = [f"{kind} {counts[kind]}" for kind in get_args(Kind) if counts[kind] and kind != "grammar"]
    first = f"the API's grammar changed ({'; '.join(grammar)})" if grammar else "the API's grammar is the same"
    return "; ".join([first, *([f"changes by kind: {', '.join(told)}"] if told else [])])


def _paired(
    old: Sequence[Interaction], new: Sequence[Interaction], rules: Rules
) -> tuple[list[tuple[Interaction, Interaction]], list[Interaction], list[Interaction]]:
    """Pair the interactions of two recordings; return the pairs, and what is left of the old and of the new one."""
    waiting: defaultdict[bytes, list[Interaction]] = defaultdict(list)
    for item in old:
        waiting[sent_of(item.request, rules).key].append(item)
    pairs, unknown, added = [], [], []
    for item in new:
        equal = waiting[sent_of(item.request, rules).key]
        if equal:
            pairs.append((equal.pop(0), item))
        else:
            unknown.append(item)
    gone = sorted((item for items in waiting.values() for item in items), key=lambda item: item.index)
    for item in unknown:
        found = nearest(sent_of(item.request, rules), [sent_of(other.request, rules) for other in gone[:_NEAR]])
        if found is None:
            added.append(item)
        else:
            pairs.append((gone.pop(found[0]), item))
    return sorted(pairs, key=lambda pair: pair[1].index), gone, added


def _are_alike(old: Interaction, new: Interaction, was: Answer, now: Answer) -> bool:
    """Whether two answers should have the same grammar: whole ones, both streams or both none."""
    kinds = ((item.status, _end(item), bool(answer.events)) for item, answer in ((old, was), (new, now)))
    return len(set(kinds)) == 1 and _end(old) == "complete" and not (_has_failed(was) or _has_failed(now))


def _has_failed(answer: Answer) -> bool:
    return any(event.get("type") == "error" for event in answer.events)


def _differences(
    old: Interaction, new: Interaction, was: Answer, now: Answer, rules: Rules
) -> Iterator[tuple[Kind, str]]:
    yield from (("parameters", text) for text in _parameters(old, new, rules))
    if was.events and now.events:
        problem = stream_problem(new.body, whole=_end(new) == "complete")
        if problem and stream_problem(old.body, whole=_end(old) == "complete") is None:
            yield "grammar", problem
    compared: tuple[tuple[Kind, str, str], ...] = (
        ("outcome", f"status {old.status}", f"status {new.status}"),
        ("outcome", _end(old), _end(new)),
        ("model", _served(old, was), _served(new, now)),
        ("tools", _tools(was), _tools(now)),
        ("stop", _stop(was), _stop(now)),
    )
    for kind, before, after in compared:
        if before != after:
            yield kind, f"{before} → {after}"
    yield from (("words", text) for text in _words(was, now))
    yield from (("usage", text) for text in _unlike(was.usage.raw, now.usage.raw))
    yield from (("timing", text) for text in _timing(old, new))


def _parameters(old: Interaction, new: Interaction, rules: Rules) -> Iterator[str]:
    was, now = sent_of(old.request, rules), sent_of(new.request, rules)
    yield from _unlike(was.body, now.body)
    for name in ("anthropic-version", "anthropic-beta"):
        before, after = (item.request.headers.get(name) for item in (old, new))
        if before != after:
            yield f"{name}: {before} → {after}"


def _unlike(old: Any, new: Any) -> Iterator[str]:
    for difference in islice(differences(old, new), _MOST):
        before, after = difference.shown
        yield f"{difference.path.removeprefix('$.')}: {before} → {after}"


def _words(was: Answer, now: Answer) -> Iterator[str]:
    if was.message is None or now.message is None:
        if not (was.message or now.message):
            yield from _unlike(was.document, now.document)
        return
    for kind in ("text", "thinking"):
        before, after = was.text(kind), now.text(kind)
        if before != after:
            [difference] = _unlike(before, after)
            yield f"{kind} {_likeness(before, after):.0%} alike, {difference.removeprefix('$: ')}"


def _likeness(old: str, new: str) -> float:
    return SequenceMatcher(None, old.split()[:_WORDS], new.split()[:_WORDS], autojunk=False).ratio()


def _tools(answer: Answer) -> str:
    calls = [block for block in answer.blocks if str(block.get("type")).endswith("tool_use")]
    return ", ".join(map(call_text, calls)) or "no tool call"


def _stop(answer: Answer) -> str:
    return str((answer.message or {}).get("stop_reason"))


def _served(interaction: Interaction, answer: Answer) -> str:
    details = interaction.details
    return str((details and details.served) or (answer.message or {}).get("model"))


def _end(interaction: Interaction) -> str:
    return interaction.details.end if interaction.details else "complete"


def _timing(old: Interaction, new: Interaction) -> Iterator[str]:
    was, now = (item.details for item in (old, new))
    if was is None or now is None:
        return
    for name, before, after in ("first chunk", was.first_chunk, now.first_chunk), ("total", was.total, now.total):
        if before is not None and after is not None and max(before, after) > _NOTABLE * min(before, after):
            yield f"{name} {before:.3g} s → {after:.3g} s"


def _name(interaction: Interaction) -> str:
    sent = sent_of(interaction.request)
    return " ".join(filter(None, (sent.method, sent.path, sent.model)))
