"""The dataset card: the README.md by which the Hub and its library open a folder, and people know how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

from img2dataset._version import __version__
from img2dataset.filesystem import Folder
from img2dataset.shards import DATA_FOLDER, is_stats_file, parse_shard_file
from img2dataset.stats import Origin, RunStats, ShardStats

CARD = "README.md"
MARK = "# Written by img2dataset at the end of each run. Without this line the file is yours, and stays as it is."
_TEXT = """---
{mark}
configs:
- config_name: default
  data_files:
  - split: train
    path: {data}/train-*.parquet
---

# Images from a list of URLs

{successes:,} images of {count:,} URLs, in {shards:,} shards.

```python
from datasets import load_dataset

dataset = load_dataset("path/to/this/folder", split="train")
dataset[0]["image"]  # a picture of Pillow's
```

`{data}/` has a row for each image: the picture in the column `image`, and beside it what is known of it. The parquet
files next to this card have a row for each URL, those that failed too, with the reason in `error_message`.

| | rows |
| --- | --- |
| `success` | {successes:,} |
| `failed_to_download` | {failed_to_download:,} |
| `failed_to_resize` | {failed_to_resize:,} |

## How it was made

With [img2dataset](https://github.com/rom1504/img2dataset) {version} and these options:

{options}

## Licence

Each image has the licence of whoever published it, of which img2dataset knows nothing. Before this dataset is passed
on, say here what you know, and put a `license` into the head of this card.
"""


def is_card(folder: Folder) -> bool:
    """Whether the folder has a card that img2dataset wrote and nobody made their own."""
    try:
        return folder.read(CARD, 4 + len(MARK)) == f"---\n{MARK}".encode()
    except (FileNotFoundError, IsADirectoryError):
        return False


def write_card(folder: Folder) -> None:
    """Write the card of what is in the folder, unless there is one that is not img2dataset's, or no finished shard."""
    names = folder.names()
    if CARD in names and not is_card(folder):
        return
    total, origin = RunStats(), Origin()
    for stats in _finished(folder, names):
        total.add(stats)
        origin = stats.origin
    if total.shards:
        folder.write(CARD, _text(total, origin).encode("utf-8", "replace"))


def _finished(folder: Folder, names: list[str]) -> Iterator[ShardStats]:
    """What the stats files say, but for those that are damaged, which `verify` names."""
    for name, data in folder.read_each(filter(is_stats_file, names)):
        with suppress(ValueError, RecursionError):
            yield ShardStats.from_json(json.loads(data), parse_shard_file(name) or 0)


def _text(total: RunStats, origin: Origin) -> str:
    options = {name: value for name, value in origin.options.items() if value not in (None, [], False)}
    return _TEXT.format(
        mark=MARK,
        data=DATA_FOLDER,
        successes=total.successes,
        count=total.count,
        shards=total.shards,
        failed_to_download=total.failed_to_download,
        failed_to_resize=total.failed_to_resize,
        version=__version__,
        options="\n".join(f"* `{name}`: `{json.dumps(value)}`" for name, value in options.items()),
    )
