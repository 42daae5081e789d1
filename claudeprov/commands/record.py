"""``claudeprov record``: make real calls, and keep the traffic as cassettes."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from claudeprov.bench.run import request_of
from claudeprov.bench.suite import cassettes_of, chosen_suite
from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.errors import ConfigurationError, ProviderError
from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.settings import Settings

if TYPE_CHECKING:
    import httpx2
    from vcr.cassette import Cassette

    from claudeprov.cassette.interaction import Interaction
    from claudeprov.cassette.plan import Call, Step
    from claudeprov.cassette.rules import Rules
    from claudeprov.compose import Composition

HELP = "record what is missing or stale of a suite, or of cassettes, to be replayed without network and credentials"
EXAMPLE = "claudeprov record suite=code endpoint=compatible endpoint.base_url=http://127.0.0.1:8085 model=qwen"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    parser.add_argument("--plan", action="store_true", help="print what would be recorded at what cost; send nothing")


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Record the chosen suite; or, where only ``cassette.path`` was given, the requests of its cassettes again.

    Returns 1 if a call failed. An interruption keeps what was answered.
    """
    again = settings.cassette.path is not None and not _chooses_suite(args.composition)
    jobs = list(_jobs_of_cassettes(settings)) if again else [_job_of_suite(settings)]
    plans = [asyncio.run(_plan(job)) for job in jobs]
    told = (line for plan in plans for line in _told(plan))
    (sys.stdout if args.plan else sys.stderr).writelines(told)
    return 0 if args.plan else max([asyncio.run(_record(plan)) for plan in plans])


@dataclass(frozen=True)
class _Job:
    """What is recorded in one session."""

    settings: Settings
    rules: Rules
    path: Path
    """File or folder to record into."""
    suite: str | None
    calls: Sequence[Call]
    whole: bool
    """Whether the calls are all that there are of the suite, so that its other recordings can go."""


@dataclass(frozen=True)
class _Plan:
    job: _Job
    steps: Sequence[Step]
    old: Mapping[Path, Cassette]
    """The cassettes that there are."""

    @property
    def due(self) -> list[Step]:
        """The steps that are to be taken."""
        return [step for step in self.steps if step.reason is not None]

    @property
    def dropped(self) -> dict[Path, int]:
        """How many recordings of the suite belong to no call of it any more, by file."""
        from claudeprov.cassette.interaction import interactions

        counts = {file: sum(not self.keeps(item) for item in interactions(old)) for file, old in self.old.items()}
        return {file: count for file, count in counts.items() if count}

    def keeps(self, earlier: Interaction) -> bool:
        """Whether a recording stays, unless a new one takes its place."""
        from claudeprov.cassette.match import sent_of

        if not self.job.whole or earlier.details is None or earlier.details.suite != self.job.suite:
            return True
        return sent_of(earlier.request, self.job.rules).key in {step.key for step in self.steps}


def _chooses_suite(composition: Composition) -> bool:
    ours = ("conf/config.yaml", f"conf/suite/{composition.choices['suite']}.yaml")
    origins = [origin for key, origin in composition.origins.items() if key.startswith("suite.")]
    return any(origin not in ours for origin in (composition.chosen_by["suite"], *origins))


def _job_of_suite(settings: Settings) -> _Job:
    from claudeprov.cassette.plan import Call
    from claudeprov.cassette.rules import Rules

    suite = chosen_suite(settings.suite)
    path = Path(settings.cassette.path) if settings.cassette.path else cassettes_of(suite.name, replay=False)
    return _Job(
        settings,
        Rules(settings.cassette.ignore, settings.cassette.scrub),
        path,
        suite.name,
        [Call(task.id, "message", request_of(task)) for task in suite.tasks],
        whole=settings.suite.tasks is None,
    )


def _jobs_of_cassettes(settings: Settings) -> Iterator[_Job]:
    from claudeprov.cassette.file import files_below, load
    from claudeprov.cassette.interaction import interactions
    from claudeprov.cassette.plan import calls_of
    from claudeprov.cassette.rules import Rules

    path = Path(str(settings.cassette.path))
    if not path.exists():
        raise ConfigurationError(f"cassette.path: there is no {path} to record again; choose a suite to record into it")
    rules = Rules(settings.cassette.ignore, settings.cassette.scrub)
    for file in files_below(path):
        cassette = load(file)
        suites = {item.details.suite: None for item in interactions(cassette) if item.details}
        yield _Job(settings, rules, file, next(iter(suites), None), list(calls_of(cassette)), whole=False)


async def _plan(job: _Job) -> _Plan:
    from claudeprov.cassette.file import load
    from claudeprov.cassette.match import draft_of
    from claudeprov.cassette.plan import plan
    from claudeprov.cassette.recording import file_of

    drafts = await _drafts(job)
    files = {file_of(job.path, job.suite, draft_of(request).model) for _, request in drafts}
    old = {file: load(file) for file in sorted(files) if file.exists()}
    now = SYSTEM_CLOCK.now()
    steps = plan(drafts, old, path=job.path, suite=job.suite, settings=job.settings, rules=job.rules, now=now)
    return _Plan(job, steps, old)


async def _drafts(job: _Job) -> list[tuple[Call, httpx2.Request]]:
    """The requests that the calls make, as they would leave; none is sent, and no credentials are looked for."""
    from claudeprov.cassette.plan import DraftTransport, NotSentError

    transport = DraftTransport()
    live = job.settings.cassette.model_copy(update={"mode": "live"})
    settings = job.settings.model_copy(update={"chain": (), "cassette": live})
    drafts = []
    async with AnthropicClaudeProvider(settings, transport=transport) as provider:
        for call in job.calls:
            with suppress(NotSentError):
                await _make(provider, call)
            assert transport.request is not None
            drafts.append((call, transport.request))
    return drafts


def _told(plan: _Plan) -> Iterator[str]:
    """The plan for a person, line by line."""
    from claudeprov.cassette import command_to_record
    from claudeprov.cassette.estimate import total

    job, endpoint = plan.job, plan.job.settings.endpoint
    where = endpoint.base_url or f"endpoint={endpoint.kind}"
    of = f"of {job.suite}" if job.suite else "recorded"
    yield f"{job.path}: {len(plan.due)} of {len(plan.steps)} call(s) {of} are to be recorded, from {where}\n"
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for step in plan.due:
        reasons[str(step.reason)].append(step.call.name)
    yield from (f"  {reason}: {', '.join(names)}\n" for reason, names in reasons.items())
    if plan.due:
        yield f"  estimated cost: {total(step.estimate for step in plan.due)}\n"
    elif not job.settings.cassette.all:
        yield "  cassette.all=true records them again\n"
    yield from (
        f"  {count} recording(s) of {file} belong to no call any more\n" for file, count in plan.dropped.items()
    )
    if job.suite and "::" in job.suite:
        yield f"  it belongs to a test, which may ask for something else by now: {command_to_record(job.suite)}\n"


async def _record(plan: _Plan) -> int:
    """Take the steps that are due; 1 if a call failed. Where all of them failed, nothing is written."""
    from claudeprov.cassette.file import new_cassette
    from claudeprov.cassette.merge import merge
    from claudeprov.cassette.recording import RecordingTransport

    job = plan.job
    if not plan.due:
        for file in plan.dropped:
            merge(new_cassette(file), plan.keeps)
            sys.stdout.write(f"{file}: {_outcome(file, plan.old.get(file))}\n")
        return 0
    cassette = job.settings.cassette.model_copy(update={"mode": "record", "new_only": False, "path": str(job.path)})
    settings = job.settings.model_copy(update={"cassette": cassette})
    async with AnthropicClaudeProvider(settings, suite=job.suite) as provider:
        transport = provider.cassette
        assert isinstance(transport, RecordingTransport)
        transport.keeps = plan.keeps
        try:
            failed = await _make_all(provider, [step.call for step in plan.due])
        except BaseException:
            transport.discard(transport.failed)
            raise
        if failed:
            _tell(f"{failed} of {len(plan.due)} call(s) failed")
        if failed == len(plan.due):
            transport.discard()
            _tell("nothing was written")
        spared = transport.failed & {step.key for step in plan.due if step.answered}
        if spared:
            transport.discard(spared)
            _tell(f"{len(spared)} recorded answer(s) were kept, since their calls failed")
    for file in transport.written:
        sys.stdout.write(f"{file}: {_outcome(file, plan.old.get(file))}\n")
    return 1 if failed else 0


async def _make_all(provider: AnthropicClaudeProvider, calls: Sequence[Call]) -> int:
    """Make *calls*, ``concurrency`` at a time, and tell of each; return how many failed."""
    pending = iter(calls)
    done = failed = 0

    async def work() -> None:
        nonlocal done, failed
        for call in pending:
            try:
                came = await _make(provider, call)
            except ProviderError as error:
                failed += 1
                came = error.message
            done += 1
            _tell(f"{done}/{len(calls)} {call.name}: {came}")

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(provider.settings.concurrency, len(calls))):
            workers.create_task(work())
    return failed


async def _make(provider: AnthropicClaudeProvider, call: Call) -> str:
    """Make one call, and say what came of it."""
    match call.kind:
        case "count":
            count = await provider.count_tokens(call.request)
            return f"{count.input_tokens} input tokens ({count.source})"
        case "models":
            return f"{len(await provider.list_models(live=True))} known models"
    response = await provider.send_message(call.request)
    cost = "cost unknown" if response.cost.total_usd is None else f"${response.cost.total_usd:.6f}"
    return f"{response.usage.output_tokens} output tokens, {cost}"


def _outcome(file: Path, old: Cassette | None) -> str:
    """Say what is in *file* now, and how that differs in meaning from what was there."""
    from claudeprov.cassette.diff import changes, summary
    from claudeprov.cassette.file import load

    new = load(file)
    if old is None:
        return f"{len(new)} recording(s), all new"
    return f"{len(new)} recording(s), {len(old)} before; {summary(changes(old, new))}"


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
