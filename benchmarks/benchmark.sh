#!/usr/bin/env bash
# The 10,000 image benchmark: photos from servers on this machine, to folders of files and to webdataset.
#
#     benchmarks/benchmark.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

make bench BENCH_ARGS="--only ten_thousand --rounds 1"
