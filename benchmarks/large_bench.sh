#!/usr/bin/env bash
# The large benchmark: a real list of many millions, for those who have the network for it.
#
#     benchmarks/large_bench.sh LIST OUTPUT_FOLDER [FLAGS]
#
# LIST is a folder of parquet files with the columns URL and TEXT, as the lists of 18 million and more come; FLAGS go to
# img2dataset and stand above those below (--url_col=url --thread_count=512). Called again, it goes on where it was cut.
# Before the start see that names are resolved near by and that files may be open: docs tell how, and the last lines
# of the run say what was its limit.
set -euo pipefail

list=${1:?"which list? $0 LIST OUTPUT_FOLDER [FLAGS]"}
output=${2:?"where to? $0 LIST OUTPUT_FOLDER [FLAGS]"}
shift 2

ulimit -n "$(ulimit -Hn)"
time img2dataset --url_list="$list" --output_folder="$output" \
    --input_format=parquet --url_col=URL --caption_col=TEXT --output_format=webdataset \
    --processes_count="$(nproc)" --thread_count=256 --image_size=256 "$@"
