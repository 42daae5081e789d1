"""What a call is known by in the logs of whoever reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, NamedTuple
from weakref import ref

from structlog.contextvars import bind_contextvars

from claudeprov.chain import Call
from claudeprov.notice import Notice
from claudeprov.response import MessageResponse
from claudeprov.stream import Outcome, Stream
from claudeprov.telemetry import Observer
from claudeprov.telemetry.scrub import without_secrets_within

_TAGS = ("run", "task")


class Names(Observer):
    """Binds ``call_id``, ``model``, ``attempt``, ``request_id``, and the tags ``run`` and ``task``, to structlog's
    context variables, from a call's opening to its end.

    They stand in the context of whoever opens and reads it, until it ends or he leaves it. Where calls are open at once
    in one context, the names are those of the latest; once that has ended, of the one before it, and at last whatever
    the application had bound under them. No task can reach into another's context: one that has neither read a stream
    to its end nor left it keeps the names until its next call.
    While a tool runs, in its task or thread, ``call_id`` is the id of the run of tools that called it.
    """

    def opening(self, call: Call) -> AbstractContextManager[None]:
        """Bind them; ``ended`` is told of a call that cannot be opened, too."""
        call.leaving.append(partial(_forget, call.id))
        _add(call.id, call.tags, model=without_secrets_within(call.request.model))
        return nullcontext()

    def attempting(self, call: Call) -> AbstractContextManager[None]:
        """Tell attempts apart; the service's id of one stands until the next begins."""
        return _Attempting(call)

    def opened(self, call: Call, stream: Stream) -> None:
        """Take down how to tell that it has ended."""
        for named in _open():
            if named.call_id == call.id:
                named.stream = ref(stream)

    def ended(self, call: Call, outcome: Outcome, answered: Callable[[], MessageResponse]) -> None:
        """Unbind them, where this is the reader's context."""
        _forget(call.id)

    def noticed(self, notice: Notice) -> None:
        """Name the run of tools in the context of each of its tools, which ends with that."""
        if notice.name == "tool.started" and notice.call_id is not None:
            _add(notice.call_id, notice.fields)


class _Attempting:
    """Names one attempt of a call."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        call = self._call
        model = without_secrets_within(call.request.model)
        _rename(call, attempt=len(call.attempts) + 1, model=model, request_id=None)

    def __exit__(self, *_: object) -> None:
        _rename(self._call, request_id=without_secrets_within(self._call.attempts[-1].request_id))


class _Named:
    """A call, in every context that it was opened in or that was copied from there."""

    __slots__ = ("call_id", "names", "stream")

    def __init__(self, call_id: str, names: dict[str, Any]) -> None:
        self.call_id = call_id
        self.names = names
        self.stream: ref[Stream] | None = None
        """``None`` while it is being opened."""

    @property
    def is_over(self) -> bool:
        if self.stream is None:
            return False
        stream = self.stream()
        return stream is None or stream.outcome is not None


class _Shown(NamedTuple):
    """What is bound in one context."""

    open: tuple[_Named, ...] = ()
    """The calls, the latest last."""
    names: Mapping[str, Any] = {}
    own: Mapping[str, Any] = {}
    """What the application had bound under those names."""


_NOTHING = _Shown()
_shown = ContextVar("claudeprov_names", default=_NOTHING)


def _open() -> tuple[_Named, ...]:
    """The calls of this context, without those that have ended elsewhere."""
    return tuple([named for named in _shown.get().open if not named.is_over])


def _add(call_id: str, tags: Mapping[str, Any], **names: Any) -> None:
    told = {name: without_secrets_within(tags[name]) for name in _TAGS if name in tags}
    _show((*_open(), _Named(call_id, {"call_id": call_id, **names, **told})))


def _forget(call_id: str) -> None:
    if _shown.get().open:
        _show(tuple(named for named in _open() if named.call_id != call_id))


def _rename(call: Call, **changes: Any) -> None:
    for named in _shown.get().open:
        if named.call_id == call.id:
            changed = [name for name, value in changes.items() if named.names.get(name) != value]
            named.names |= changes
            _show(_open(), changed)


def _show(calls: tuple[_Named, ...], changed: Iterable[str] | None = None) -> None:
    """Bind the names of the last of *calls* in place of those that are bound, or what the application had there.

    Where it was the last before, only those of its names that have *changed* need to be looked at.
    """
    before = _shown.get()
    names = calls[-1].names if calls else {}
    own = dict(before.own)
    if changed is None or not calls or calls[-1] is not before.open[-1]:
        changed = _VARIABLES
    for name in changed:
        variable = _VARIABLES[name]
        bound = variable.get(_UNBOUND)
        if name not in own or bound is not before.names.get(name, own[name]):
            own[name] = bound  # the application's
        value = names.get(name)
        if value is None:
            value = own[name]
        if value is not bound:
            variable.set(value)
    _shown.set(_Shown(calls, dict(names), own) if calls else _NOTHING)


def _variables() -> Iterator[tuple[str, ContextVar[Any]]]:
    """The variables in which structlog keeps our names: setting them through its functions costs ten times as much."""
    names = dict.fromkeys(("call_id", "model", "attempt", "request_id", *_TAGS))
    for name, token in copy_context().run(bind_contextvars, **names).items():
        yield name, token.var


_VARIABLES = dict(_variables())
_UNBOUND = ...
"""What structlog takes for nothing."""
