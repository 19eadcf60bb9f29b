"""The usual limit of open files does not stop many threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fetching import ENGINES
from mockserver import MockServer

PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (200, int(sys.argv[3])))
from fetching import fetch_all
urls = [f"http://127.{n // 250}.{n % 250}.9:{sys.argv[1]}/photo/8x8.png?row={n}" for n in range(1, 601)]
print({result.error for result in fetch_all(urls, http_client=sys.argv[2], thread_count=64, timeout=20.0)})
"""


@pytest.mark.parametrize("hard_limit", [500, 4000])
@pytest.mark.parametrize("http_client", ENGINES)
def test_kept_connections_stay_below_the_limit_of_open_files(
    many_hosts: MockServer, http_client: str, hard_limit: int
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(many_hosts.port), http_client, str(hard_limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd=Path(__file__).parent)
    assert done.stdout == "{None}\n"
