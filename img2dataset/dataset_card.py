"""The dataset card: the README.md by which the Hub and its library open a folder, and people know how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from img2dataset._version import __version__
from img2dataset.filesystem import Folder
from img2dataset.formats import load_format
from img2dataset.shards import STATS_SUFFIX, is_stats_file, parse_shard_file, shard_count
from img2dataset.stats import Origin, RunStats, ShardStats

if TYPE_CHECKING:
    import pyarrow as pa

CARD = "README.md"
MARK = "# Written by img2dataset at the end of each run. Without this line the file is yours, and stays as it is."
_TEXT = """---
{mark}
{head}
---

# Images from a list of URLs

{successes:,} images of {count:,} URLs, in {shards}.

```python
from datasets import load_dataset

dataset = load_dataset("path/to/this/folder", split="train")
dataset[0]["{image}"]  # a picture of Pillow's
```

The library gives a row for each image, with what is known of it. The parquet files next to this card have a row for
each URL, those that failed too, with the reason in `error_message`.

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
        folder.write(CARD, _text(total, origin, _head(origin, _schema(folder, names))).encode("utf-8", "replace"))


def _finished(folder: Folder, names: list[str]) -> Iterator[ShardStats]:
    """What the stats files say, but for those that are damaged, which `verify` names."""
    for name, data in folder.read_each(filter(is_stats_file, names)):
        with suppress(ValueError, RecursionError):
            yield ShardStats.from_json(json.loads(data), parse_shard_file(name) or 0)


def _schema(folder: Folder, names: list[str]) -> pa.Schema | None:
    """The columns of the metadata; None where none is kept."""
    import pyarrow.parquet as pq

    for name in names:
        if name.endswith(".parquet") and name.removesuffix(".parquet") + STATS_SUFFIX in names:
            with folder.open(name) as file, suppress(ValueError):
                return pq.read_schema(file)
    return None


def _head(origin: Origin, metadata: pa.Schema | None) -> str:
    """What the library reads: JSON, which is YAML too."""
    kind = load_format(origin.output_format or "files")
    files = [{"split": "train", "path": kind.card_files(origin.options)}]
    config: dict[str, Any] = {"config_name": "default", "data_files": files}
    head: dict[str, Any] = {"configs": [config]}
    if features := kind.card_features(origin.options, metadata):
        config["features"] = features  # for a folder of images
        head["dataset_info"] = {"features": features}  # for tars
    return "\n".join(f"{name}: {json.dumps(value)}" for name, value in head.items())


def _text(total: RunStats, origin: Origin, head: str) -> str:
    options = {name: value for name, value in origin.options.items() if value not in (None, [], False)}
    return _TEXT.format(
        mark=MARK,
        head=head,
        image=origin.options["encode_format"] if origin.output_format == "webdataset" else "image",
        successes=total.successes,
        count=total.count,
        shards=shard_count(total.shards),
        failed_to_download=total.failed_to_download,
        failed_to_resize=total.failed_to_resize,
        version=__version__,
        options="\n".join(f"* `{name}`: `{json.dumps(value)}`" for name, value in options.items()),
    )
