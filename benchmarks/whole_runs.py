"""Whole runs in turns: ours, the peer and the floor on the same url list with the same options."""

from __future__ import annotations

import statistics

from contestants import FLOOR, OURS, Contestant, Outcome, cache_folder, environment, run
from measure import measure
from sections import MakeSection, Section, Setup, Verdict, progress, ratio_verdict, seconds_verdict, spread
from workloads import (
    FLOOR_TARGET,
    HELP_SECONDS,
    OPTIONS,
    QUICK,
    TEN_URLS_SECONDS,
    WORKLOADS,
    Workload,
    http_urls,
)

Outcomes = dict[str, list[Outcome]]


def versus(workload: Workload) -> MakeSection:
    """The section for a workload."""

    def section(setup: Setup) -> Section:
        outcomes = run_in_turns(setup, workload)
        rows = [
            (
                name,
                spread([o.cpu_ms for o in runs]),
                spread([o.rate for o in runs], 0),
                spread([o.took.wall for o in runs]),
                spread([o.took.peak_rss for o in runs], 0),
                f"{statistics.median(o.images for o in runs):.0f}",
            )
            for name, runs in outcomes.items()
        ]
        header = ("", "CPU ms/image", "images/s", "wall s", "peak RSS MB", f"images of {workload.count}")
        return Section(title=workload.title, header=header, rows=rows, verdicts=_verdicts(workload, outcomes))

    return section


def run_in_turns(setup: Setup, workload: Workload) -> Outcomes:
    """Some rounds of everyone who takes part."""
    urls = workload.urls(setup.servers, setup.names, workload.count)
    field: list[Contestant] = [setup.peer, OURS, *([FLOOR] if workload.has_floor else [])]
    outcomes: Outcomes = {contestant.name: [] for contestant in field}
    for _ in range(setup.rounds):
        for contestant in field:
            outcome = run(contestant, urls, {**OPTIONS, **workload.options}, setup.servers.ca_bundle)
            progress(f"{workload.title}: {contestant.name} {outcome.cpu_ms:.1f} ms/image, {outcome.rate:.0f} images/s")
            outcomes[contestant.name].append(outcome)
    return outcomes


def _verdicts(workload: Workload, outcomes: Outcomes) -> list[Verdict]:
    values = {name: [workload.value(o) for o in runs] for name, runs in outcomes.items()}
    title = f"{workload.metric}, {workload.title}"
    verdicts = [ratio_verdict(f"{title}: ours / peer", values["ours"], values["peer"], workload.target)]
    if workload.has_floor:
        verdicts.append(ratio_verdict(f"{title}: ours / floor", values["ours"], values["floor"], FLOOR_TARGET))
    ours, theirs = (min(o.images for o in outcomes[name]) for name in ("ours", "peer"))
    if ours < theirs:
        text = f"{ours} of {theirs}"
        verdicts.append(Verdict(target=f"images, {workload.title}", measured=text, wanted="all", is_reached=False))
    return verdicts


def start(setup: Setup) -> Section:
    """What a person waits for before anything happens."""
    urls = http_urls(setup.servers, setup.names, 10)
    folder = cache_folder("runs")
    contestants = (setup.peer, OURS)
    ten: dict[str, list[float]] = {c.name: [] for c in contestants}
    helps: dict[str, list[float]] = {c.name: [] for c in contestants}
    for _ in range(setup.rounds):
        for contestant in contestants:
            variables = environment(setup.servers.ca_bundle) | contestant.environment
            helps[contestant.name].append(measure([*contestant.command, "--help"], variables, folder).wall)
            ten[contestant.name].append(run(contestant, urls, OPTIONS, setup.servers.ca_bundle).took.wall)
    return Section(
        title="Start, wall-clock seconds",
        header=("", "10 URLs", "`--help`"),
        rows=[(c.name, spread(ten[c.name], 2), spread(helps[c.name], 2)) for c in contestants],
        verdicts=[
            seconds_verdict("10 URLs", ten["ours"], TEN_URLS_SECONDS),
            seconds_verdict("`--help`", helps["ours"], HELP_SECONDS),
        ],
    )


quick = versus(QUICK)
SECTIONS: dict[str, MakeSection] = {name: versus(workload) for name, workload in WORKLOADS.items()} | {"start": start}
