"""Who is measured: this checkout, the peer from its package, and the bare loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from measure import Measurement, RunError, measure

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"
PEER = "img2dataset==1.47.0"
PEER_NAME = PEER.replace("==", " ")


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A program that takes img2dataset's command line."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run: what it took, and how many images it made."""

    took: Measurement
    images: int

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds for one image."""
        return 1000 * self.took.cpu / max(1, self.images)

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.took.wall


CHECKOUT = {"PYTHONPATH": str(HERE.parent)}
OURS = Contestant(name="ours", command=(sys.executable, "-m", "img2dataset"), environment=CHECKOUT)
FLOOR = Contestant(name="floor", command=(sys.executable, str(HERE / "floor.py")))


def cache_folder(name: str) -> Path:
    """A folder that is kept from run to run and that git ignores."""
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    return folder


def peer() -> Contestant:
    """The peer in a virtual environment of its own, made when it is not there yet."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache_folder(f"{PEER}-python{version}")
    program = folder / "bin" / "img2dataset"
    if not program.exists():
        print(f"installing {PEER} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-qq", PEER], check=True)
    return Contestant(name="peer", command=(str(program),))


def environment(ca_bundle: Path) -> dict[str, str]:
    """The same, small environment for all: what a machine happens to have set must not change the result."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "SSL_CERT_FILE": str(ca_bundle),
        "NO_ALBUMENTATIONS_UPDATE": "1",  # the peer's image library asks for its newest version on every import
        "WANDB_MODE": "disabled",
    }


def run(contestant: Contestant, urls: list[str], options: Mapping[str, object], ca_bundle: Path) -> Outcome:
    """Run a contestant over `urls`, in a folder that is removed afterwards. Raises `RunError`."""
    with tempfile.TemporaryDirectory(dir=cache_folder("runs"), prefix=contestant.name) as name:
        folder = Path(name)
        url_list, output = folder / "urls.txt", folder / "output"
        url_list.write_text("".join(f"{url}\n" for url in urls))
        flags = [f"--{name}={value}" for name, value in options.items()]
        command = [*contestant.command, f"--url_list={url_list}", f"--output_folder={output}", *flags]
        took = measure(command, {**environment(ca_bundle), **contestant.environment}, folder)
        stats = [json.loads(path.read_text()) for path in output.glob("*_stats.json")]
    if sum(shard["count"] for shard in stats) != len(urls):
        raise RunError(f"{contestant.name} has lost rows: {[shard['count'] for shard in stats]} of {len(urls)}")
    return Outcome(took=took, images=sum(shard["successes"] for shard in stats))
