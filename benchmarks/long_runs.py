"""Whole runs that show a tendency: over processes, over threads, over time, and at the ends of shards."""

from __future__ import annotations

import os
import random
import statistics

from contestants import OURS, Outcome, run
from sections import Section, Setup, Verdict, progress, ratio_verdict
from workloads import OPTIONS, http_urls, https_urls, internet_urls

TEN_THOUSAND = 10_000
SCALING_COUNT = 2000
THREAD_COUNTS = (16, 64, 256, 1024)
THREADS_URLS = 3000
MEMORY_SHARDS, MEMORY_SHARD_ROWS = 50, 200
MEMORY_GROWTH = 1.1
SHARD_END_SECONDS = 70
SHARD_END_TARGET = 1.15
SILENT_SHARE = 0.02


def _ours(setup: Setup, urls: list[str], **options: object) -> Outcome:
    outcome = run(OURS, urls, {**OPTIONS, **options}, setup.servers.ca_bundle)
    progress(f"ours: {len(urls)} URLs in {outcome.took.wall:.1f} s, {outcome.images} images, {options}")
    return outcome


def ten_thousand(setup: Setup) -> Section:
    """The 10,000 image benchmark."""
    urls = https_urls(setup.servers, setup.names, TEN_THOUSAND)
    rows = []
    for output_format in ("files", "webdataset"):
        outcome = _ours(setup, urls, output_format=output_format)
        rows.append((output_format, f"{outcome.took.wall:.1f}", f"{outcome.rate:.0f}", f"{outcome.cpu_ms:.1f}"))
    header = ("output_format", "wall s", "images/s", "CPU ms/image")
    return Section(title="10,000 images, 62 % https", header=header, rows=rows)


def scaling(setup: Setup) -> Section:
    """One process, two, up to the number of cores."""
    urls = http_urls(setup.servers, setup.names, SCALING_COUNT)
    rows = []
    for count in range(1, (os.cpu_count() or 1) + 1):
        outcome = _ours(setup, urls, processes_count=count, number_sample_per_shard=SCALING_COUNT // 8)
        rows.append((count, f"{outcome.rate:.0f}", f"{outcome.cpu_ms:.1f}", f"{outcome.took.peak_rss:.0f}"))
    header = ("processes_count", "images/s", "CPU ms/image", "peak RSS MB")
    return Section(title="Processes (the server shares the cores)", header=header, rows=rows)


def threads(setup: Setup) -> Section:
    """More threads against servers that keep one waiting."""
    urls = internet_urls(setup.servers, setup.names, THREADS_URLS)
    rows = []
    for count in THREAD_COUNTS:
        row: list[object] = [count]
        for contestant in (setup.peer, OURS):
            outcome = run(contestant, urls, {**OPTIONS, "thread_count": count}, setup.servers.ca_bundle)
            progress(f"{contestant.name}: {count} threads, {outcome.rate:.0f} images/s")
            row += [f"{outcome.rate:.0f}", f"{outcome.cpu_ms:.1f}", f"{outcome.took.peak_rss:.0f}", outcome.images]
        rows.append(row)
    measured = ("images/s", "CPU ms/image", "peak RSS MB", "images")
    header = ("thread_count", *(f"{name} {what}" for name in ("peer", "ours") for what in measured))
    unresolvable = "do not resolve" if setup.servers.has_names else "refuse the connection (no name server here)"
    title = f"Threads: answers after 50–800 ms, 4 % of hosts {unresolvable}, 2 % silent, 8 % errors"
    return Section(title=title, header=header, rows=rows)


def memory(setup: Setup) -> Section:
    """What is held while one shard follows the other."""
    urls = http_urls(setup.servers, setup.names, MEMORY_SHARDS * MEMORY_SHARD_ROWS)
    rss = _ours(setup, urls, number_sample_per_shard=MEMORY_SHARD_ROWS).took.rss
    tenth = len(rss) // 10
    means = [statistics.mean(size for _, size in rss[tenth * n : tenth * (n + 1)]) for n in range(10)]
    growth = statistics.mean(means[-2:]) / statistics.mean(means[2:4])
    verdict = Verdict(
        target=f"memory over {MEMORY_SHARDS} shards: the last fifth / the second fifth",
        measured=f"{growth:.2f}",
        wanted=f"≤ {MEMORY_GROWTH}",
        is_reached=growth <= MEMORY_GROWTH,
    )
    return Section(
        title=f"Memory over {MEMORY_SHARDS} shards",
        header=("", *(f"{10 * (n + 1)} %" for n in range(10))),
        rows=[("RSS MB", *(f"{mean:.0f}" for mean in means))],
        verdicts=[verdict],
    )


def shard_ends(setup: Setup) -> Section:
    """2 % silent URLs must cost little: the next shard's downloads go on while they time out."""
    count, clean = 20_000, None
    for _ in range(2):
        clean = _ours(setup, http_urls(setup.servers, setup.names, count)[count // 50 :])
        if clean.took.wall >= SHARD_END_SECONDS:
            break
        count = round(count * 1.1 * SHARD_END_SECONDS / clean.took.wall)
    assert clean is not None
    urls = http_urls(setup.servers, setup.names, count)
    for number in random.Random(4).sample(range(count), round(count * SILENT_SHARE)):
        urls[number] = urls[number].replace(f":{setup.servers.http}/", f":{setup.servers.unruly}/silent/")
    silent = _ours(setup, urls)
    return Section(
        title="Ends of shards: 1,000 URLs each, 2 % of them silent, timeout=10",
        header=("", "wall s", "images"),
        rows=[
            ("without the silent ones", f"{clean.took.wall:.1f}", clean.images),
            ("with them", f"{silent.took.wall:.1f}", silent.images),
        ],
        verdicts=[
            ratio_verdict(
                "wall clock with 2 % silent / without", [silent.took.wall], [clean.took.wall], SHARD_END_TARGET
            )
        ],
    )


SECTIONS = {
    "ten_thousand": ten_thousand,
    "shard_ends": shard_ends,
    "memory": memory,
    "scaling": scaling,
    "threads": threads,
}
