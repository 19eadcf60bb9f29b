"""What is measured: url lists, options, and how much better than the peer we want to be."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from contestants import Outcome
from servers import TLS_HOSTS, Servers, http_host

PROCESSES = 2
THREADS = 64
OPTIONS: Mapping[str, object] = {
    "processes_count": PROCESSES,
    "thread_count": THREADS,
    "image_size": 256,
    "input_format": "txt",
    "output_format": "webdataset",
    "number_sample_per_shard": 1000,
    "timeout": 10,
    "retries": 0,
}
TLS_SHARE = 0.62
TRICKLE_SECONDS = 240
"""A trickling server could go on for ever, and the peer with it: it ends for the benchmark's sake."""

MakeUrls = Callable[[Servers, list[str], int], list[str]]
"""(servers, file names of the corpus, number of URLs) → URLs"""


def http_urls(servers: Servers, names: list[str], count: int) -> list[str]:
    """Every URL on another host."""
    return [f"http://{http_host(n)}:{servers.http}/{names[n % len(names)]}?{n}" for n in range(count)]


def https_urls(servers: Servers, names: list[str], count: int) -> list[str]:
    """The shape of lists from the web: 62 % https, two thousand hosts."""
    draw = random.Random(1)
    urls = []
    for number in range(count):
        host = draw.randrange(len(TLS_HOSTS))
        is_tls = draw.random() < TLS_SHARE
        origin = f"https://{TLS_HOSTS[host]}:{servers.https}" if is_tls else f"http://{http_host(host)}:{servers.http}"
        urls.append(f"{origin}/{names[number % len(names)]}?{number}")
    return urls


def hard_urls(servers: Servers, names: list[str], count: int) -> list[str]:
    """5 % of the servers are silent or trickle."""
    urls = http_urls(servers, names, count)
    draw = random.Random(2)
    for place, number in enumerate(draw.sample(range(count), count // 20)):
        path = f"trickle/{TRICKLE_SECONDS}" if place % 2 else "silent"
        urls[number] = f"http://{http_host(number)}:{servers.unruly}/{path}/{number}"
    return urls


def internet_urls(servers: Servers, names: list[str], count: int) -> list[str]:
    """Answers take 50 to 800 ms; 4 % of the hosts do not resolve, 2 % are silent, 8 % answer with an error."""
    draw = random.Random(3)
    urls = []
    for number in range(count):
        kind = draw.random()
        host = f"h{number}.test" if servers.has_names else http_host(number)
        path = f"slow/{draw.randint(50, 800)}/{names[number % len(names)]}"
        if kind < 0.04:
            urls.append(f"http://h{number}.invalid/" if servers.has_names else f"http://{host}:1/")
            continue
        if kind < 0.06:
            path = "silent"
        elif kind < 0.14:
            path = f"error/{draw.choice((403, 404, 404, 404, 410, 500, 503))}"
        urls.append(f"http://{host}:{servers.unruly}/{path}?{number}")
    return urls


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Ours against the peer in one run; ``target`` is the most that ours may be of the peer's ``metric``."""

    title: str
    urls: MakeUrls
    count: int
    target: float
    options: Mapping[str, object] = field(default_factory=dict)
    metric: str = "CPU"
    has_floor: bool = False

    def value(self, outcome: Outcome) -> float:
        """CPU milliseconds for an image, or wall-clock seconds."""
        return outcome.cpu_ms if self.metric == "CPU" else outcome.took.wall


NETWORK_ONLY = {"disable_all_reencoding": True, "output_format": "dummy"}
WORKLOADS = {
    "https": Workload(title="62 % https, 2,000 hosts", urls=https_urls, count=4000, target=1 / 3, has_floor=True),
    "http": Workload(
        title="http, every URL on another host", urls=http_urls, count=4000, target=1 / 1.8, has_floor=True
    ),
    "network": Workload(
        title="network only, 62 % https", urls=https_urls, count=4000, target=1 / 8, options=NETWORK_ONLY
    ),
    "hard": Workload(
        title="5 % silent or trickling, timeout=5",
        urls=hard_urls,
        count=2000,
        target=1 / 8,
        options={"timeout": 5},
        metric="wall clock",
    ),
}
QUICK = replace(WORKLOADS["https"], count=800, target=1 / 2, options={"number_sample_per_shard": 200}, has_floor=False)
FLOOR_TARGET = 1.10
TEN_URLS_SECONDS = 1.5
HELP_SECONDS = 0.5
