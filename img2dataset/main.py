"""Wires the stages into a run: `download`, and the command line on top of it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from img2dataset._version import __version__
from img2dataset.errors import OptionsError, ShardError
from img2dataset.options import (
    INCREMENTAL_MODES,
    ROBOTS_DIRECTIVES,
    FetchOptions,
    ReadOptions,
    ResizeOptions,
    RunOptions,
    WriteOptions,
    require_one_of,
)
from img2dataset.stats import RunStats
from img2dataset.streams import open_closed_streams, secure_standard_streams

if TYPE_CHECKING:
    from img2dataset.downloader import Downloader
    from img2dataset.filesystem import Folder
    from img2dataset.filesystem.lock import Lock
    from img2dataset.reader import Reader
    from img2dataset.resume.plan import ResumePlan
    from img2dataset.shards import Shard

logger = logging.getLogger(__name__)

PATIENCE = 3  # times the longest that one URL may take, and
FLUSH = 300  # seconds for a shard to reach the disk or the store: a worker silent for longer than both is stuck
DONE, SHARD_FAILED, WRONG_OPTIONS, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
SUBCOMMANDS = ("verify", "report")

Group = TypeVar("Group", ReadOptions, FetchOptions, ResizeOptions, WriteOptions, RunOptions)


def download(
    url_list: str,
    image_size: int = 256,
    output_folder: str = "images",
    processes_count: int = 1,
    resize_mode: str = "border",
    resize_only_if_bigger: bool = False,
    output_format: str = "files",
    input_format: str | None = None,
    url_col: str = "url",
    caption_col: str | None = None,
    thread_count: int = 256,
    number_sample_per_shard: int = 10_000,
    save_metadata: bool = True,
    *,
    timeout: float = 10.0,
    retries: int = 1,
    http_client: str = "curl",
    resolver: str = "c-ares",
    max_download_bytes: int = 64 * 1024 * 1024,
    user_agent: str | None = None,
    user_agent_token: str | None = None,
    headers: Mapping[str, str] | None = None,
    ignore_ssl_certificate: bool = False,
    max_connections_per_host: int | None = None,
    block_private_networks: bool = False,
    respect_robots_txt: bool = False,
    disallowed_header_directives: Sequence[str] = ROBOTS_DIRECTIVES,
    upscale_interpolation: str = "lanczos",
    downscale_interpolation: str = "area",
    encode_format: str = "jpg",
    encode_quality: int | None = None,
    skip_reencode: bool = False,
    disable_all_reencoding: bool = False,
    min_image_size: int = 0,
    max_image_area: float = math.inf,
    max_aspect_ratio: float = math.inf,
    max_image_memory: int = 512 * 1024 * 1024,
    bbox_col: str | None = None,
    extract_exif: bool = True,
    compute_hash: str | None = "sha256",
    verify_hash: Sequence[str] | None = None,
    save_additional_columns: Sequence[str] | None = None,
    save_fetch_details: bool = False,
    oom_shard_count: int = 5,
    incremental_mode: str = "auto",
    retry_statuses: Sequence[str] | None = None,
    max_shard_retry: int = 1,
    distributor: str = "multiprocessing",
) -> RunStats:
    """Turn a list of image URLs into an image dataset.

    Every row of the list is fetched, resized and written, or recorded with the reason why not. The dataset grows by
    whole shards; the same call again does what is missing.

    Args:
        url_list: File with the URLs, or folder of such files, taken in sorted order. Any path or URL that fsspec
            opens; a compressed file (.gz, .bz2, .xz, .zip, .zst) is read as it is.
        image_size: Side in pixels that resize_mode brings images to.
        output_folder: Where the dataset goes: a local folder, or any URL that fsspec writes to, as s3://bucket/name.
            What happens when it has shards already is up to incremental_mode.
        processes_count: Processes that fetch and resize, each a shard at a time. One for each core is a good number.
        resize_mode: no (keep the size), border (fit into a white square of image_size), keep_ratio (the shorter side
            becomes image_size), keep_ratio_largest (the longer side does) or center_crop (the shorter side does, and
            the square in the middle is kept).
        resize_only_if_bigger: Leave an image as it is, neither enlarged nor padded nor cropped, when the side that
            resize_mode goes by is not above image_size.
        output_format: files (a folder of images a shard), webdataset (a tar a shard), parquet (images as a column of
            the metadata file) or dummy (only counts, to measure the rest).
        input_format: txt (a URL a line, taken verbatim), csv or parquet. Not given, the file's extension tells, and
            txt is assumed where it does not.
        url_col: Column of a csv or parquet list that holds the URLs.
        caption_col: Column that holds the captions; every image then gets a .txt.
        thread_count: Downloads under way at once in each process.
        number_sample_per_shard: Rows of the list in one shard.
        save_metadata: Write a .json for every image, and one .parquet a shard with a row for every input row.
        timeout: Seconds that one attempt at a URL may take in all, from the name lookup to the last byte.
        retries: How often a URL is tried again after a failure that may pass within seconds, such as a connection
            reset or an answer of 503. Timeouts and answers of 404 are final.
        http_client: curl (libcurl, the faster one) or requests (pure Python).
        resolver: c-ares (many lookups at once, kept in a cache) or system (the operating system's own lookup).
        max_download_bytes: Size in bytes above which a file is given up.
        user_agent: Replaces the whole User-Agent header.
        user_agent_token: Name of your crawler, added to the User-Agent and looked for in robots directives.
        headers: More request headers; a JSON object on the command line.
        ignore_ssl_certificate: Accept any https certificate.
        max_connections_per_host: Downloads under way at once from one host, in each process. None sets no limit.
        block_private_networks: Refuse every address that is not on the public internet, loopback included: for lists
            that strangers wrote. Link-local addresses are refused in any case.
        respect_robots_txt: Ask each host's robots.txt, once, and leave out what it disallows.
        disallowed_header_directives: Directives of an X-Robots-Tag header that leave an image out. [] ignores them.
        upscale_interpolation: Filter that enlarges: nearest, bilinear, bicubic, area or lanczos.
        downscale_interpolation: Filter that reduces, of the same names.
        encode_format: Format of the saved images: jpg, png, webp or avif.
        encode_quality: For jpg 1 to 100, for webp and avif 0 to 100, for png the compression level, 0 to 9. None means
            95, 95, 90 and 1.
        skip_reencode: Keep a file's own bytes when it has the right format already and no pixel would change.
        disable_all_reencoding: Keep every file as it was fetched, only checked to be an image; nothing is resized.
        min_image_size: Leave out images whose shorter side has fewer pixels.
        max_image_area: Leave out images of more pixels than this, width times height.
        max_aspect_ratio: Leave out images whose longer side is more than this many times the shorter.
        max_image_memory: Bytes of memory that one image may take; it is left out if it would need more.
        bbox_col: Column with boxes to blur in each image: a list of [x_min, y_min, x_max, y_max], each from 0 to 1; as
            JSON in a csv list.
        extract_exif: Put the file's EXIF tags into the metadata, as JSON text.
        compute_hash: Hash of the fetched bytes in the metadata: md5, sha256 or sha512. None leaves it out.
        verify_hash: Column with the hash that the fetched bytes must have, and its kind: ["hash_column", "md5"]. An
            image with another one is left out.
        save_additional_columns: Columns of the list to take over into the metadata.
        save_fetch_details: Add the HTTP status, the URL after redirects and the number of attempts to the metadata.
        oom_shard_count: Digits of the shard number in file names: 5 gives 00000.
        incremental_mode: What to do in a folder that has shards. auto finishes them if they come from this list, and
            adds new ones if not; incremental only finishes; extend only adds; retry_failed finishes and tries again
            what failed for a passing reason; overwrite starts from nothing.
        retry_statuses: The error messages that retry_failed tries again, as ["timed out", "http 404"]. None means those
            that may pass.
        max_shard_retry: How often a shard that failed as a whole is tried again.
        distributor: Who does the shards: multiprocessing (processes of this machine).

    Returns:
        What the run has done, as counts.

    Raises:
        OptionsError: an option is wrong, the list cannot be read or the folder cannot be written; nothing was done.
        ShardError: shards could not be finished; all others are.
    """
    arguments = dict(locals())
    arguments["headers"] = dict(headers or {})
    lists = ("disallowed_header_directives", "save_additional_columns")
    arguments |= {name: _texts(arguments[name]) or () for name in lists}
    arguments |= {name: _texts(arguments[name]) for name in ("verify_hash", "retry_statuses")}
    require_one_of("incremental_mode", incremental_mode, INCREMENTAL_MODES)
    _check_names(arguments)
    read, write = _group(ReadOptions, arguments), _group(WriteOptions, arguments)
    fetch, resize = _group(FetchOptions, arguments), _group(ResizeOptions, arguments)
    if incremental_mode == "retry_failed" and not (save_metadata and output_format != "dummy"):
        raise OptionsError("incremental_mode is retry_failed, which needs the metadata to know what failed")
    if bbox_col and disable_all_reencoding:
        raise OptionsError(
            "bbox_col blurs images, and disable_all_reencoding keeps them as they are; choose one of them"
        )
    _check_encoder(resize)
    patience = PATIENCE * fetch.timeout * (fetch.retries + 1) + FLUSH
    run = _group(RunOptions, arguments | {"shard_patience": patience})

    from img2dataset.downloader import Downloader

    downloader = Downloader(read=read, fetch=fetch, resize=resize, write=write)
    return _run(downloader, run, incremental_mode)


def _texts(value: Sequence[str] | None) -> tuple[str, ...] | None:
    """A list of texts, of which a single one may be given as it is."""
    return (value,) if isinstance(value, str) else tuple(value) if value else None


def _group(kind: type[Group], arguments: Mapping[str, Any]) -> Group:
    return kind(**{field.name: arguments[field.name] for field in dataclasses.fields(kind) if field.name in arguments})


def _check_encoder(options: ResizeOptions) -> None:
    """See that the installed Pillow writes the format."""
    if options.encode_format != ResizeOptions.encode_format:
        from img2dataset.images.encoder import Encoder

        Encoder(options.encode_format, options.encode_quality)


def _check_names(arguments: Mapping[str, Any]) -> None:
    """The names of formats and engines stand in the tables of their packages."""
    from img2dataset.distributor import DISTRIBUTORS
    from img2dataset.fetcher import FETCHERS
    from img2dataset.formats import FORMATS
    from img2dataset.reader import READERS

    for option, table in (("output_format", FORMATS), ("http_client", FETCHERS), ("distributor", DISTRIBUTORS)):
        require_one_of(option, arguments[option], tuple(table))
    if arguments["input_format"] is not None:
        require_one_of("input_format", arguments["input_format"], tuple(READERS))


def _run(downloader: Downloader, options: RunOptions, incremental_mode: str) -> RunStats:
    from img2dataset.filesystem import open_folder
    from img2dataset.filesystem.lock import locked
    from img2dataset.reader import Reader
    from img2dataset.resume.plan import make_plan, overwrite

    open_closed_streams()
    reader = Reader(downloader.read)
    reader.check()
    folder = open_folder(downloader.write.output_folder)
    _make(folder)
    with locked(folder) as lock:
        _recover(folder)
        if incremental_mode == "overwrite":
            overwrite(folder)
        output_options = _output_options(downloader)
        try:
            plan = make_plan(folder, reader, incremental_mode, output_options)
        except OSError as error:
            raise OptionsError(f"{folder} cannot be read: {error}") from error
        try:
            return _follow(plan, reader, dataclasses.replace(downloader, output_options=output_options), options, lock)
        finally:
            if lock.is_held:
                _sweep(folder)


def _recover(folder: Folder) -> None:
    """Finish and remove what a run left that was killed."""
    try:
        folder.recover()
    except OSError as error:
        raise OptionsError(f"what a killed run left in {folder} cannot be finished or removed: {error}") from error


def _sweep(folder: Folder) -> None:
    """Finish and remove what workers left that were killed."""
    try:
        folder.recover()
    except (OSError, OptionsError) as error:
        logger.warning("temporary files stay in %s until the next run: %s", folder, error)


def _make(folder: Folder) -> None:
    try:
        folder.make()
    except OSError as error:
        raise OptionsError(
            f"output_folder is {str(folder)!r}, which cannot be written: {error.strerror or error}"
        ) from error


def _output_options(downloader: Downloader) -> dict[str, Any]:
    """The options that change what is on disk, as JSON knows them: compared when a run comes back to the folder."""
    read, write = dataclasses.asdict(downloader.read), dataclasses.asdict(downloader.write)
    names = ("number_sample_per_shard", "caption_col", "bbox_col", "save_additional_columns")
    options = {name: read[name] for name in names} | write | dataclasses.asdict(downloader.resize)
    del options["output_folder"], options["max_image_memory"]  # which changes what is left out, as `timeout` does
    plain = {name: None if value == math.inf else value for name, value in options.items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def _follow(plan: ResumePlan, reader: Reader, downloader: Downloader, options: RunOptions, lock: Lock) -> RunStats:
    """Do what remains, show it, and tell how it went. Raises `ShardError` when a shard failed."""
    from img2dataset.distributor import distribute
    from img2dataset.loggers.terminal import ProgressLogger

    with ProgressLogger(lambda: reader.rows_read) as progress:
        progress.stats.output_folder = downloader.write.output_folder
        progress.stats.processes_count = options.processes_count
        if plan.line:
            progress.say(plan.line)
        for shards in plan.stages(reader):
            if not plan.done:
                shards = _telling(shards, lambda count: progress.hint(count, options.processes_count))
            with contextlib.closing(distribute(shards, downloader, options)) as events:
                for event in events:
                    lock.check()
                    progress.add(event)
            if progress.stats.failed_shards:
                break
    failed = progress.stats.failed_shards
    if failed:
        numbers = ", ".join(str(failure.shard_id) for failure in failed[:20])
        raise ShardError(f"{len(failed)} shards failed ({numbers}); run the same command again to do what is missing")
    return progress.stats


def _telling(shards: Iterator[Shard], at_the_end: Callable[[int], None]) -> Iterator[Shard]:
    """The same shards; when they are used up, tell how many there were."""
    count = 0
    for shard in shards:
        count += 1
        yield shard
    at_the_end(count)


class _Terminated(BaseException):
    """SIGTERM arrived."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The console script. Ends the process with one of the exit codes above."""
    secure_standard_streams()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _command(list(sys.argv[1:] if argv is None else argv))
    except OptionsError as error:
        _end(WRONG_OPTIONS, f"img2dataset: {error}")
    except (ShardError, OSError) as error:
        _end(SHARD_FAILED, f"img2dataset: {error}")
    except KeyboardInterrupt:
        _end(INTERRUPTED, "img2dataset: stopped; the same command again does what is missing")
    except _Terminated:
        _end(TERMINATED, "img2dataset: terminated; the same command again does what is missing")
    sys.exit(DONE)


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def _end(code: int, line: str) -> NoReturn:
    print(line, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)  # a thread that a hung server holds must not keep the process


def _command(argv: list[str]) -> None:
    from img2dataset.command_line import call, help_text
    from img2dataset.verify import verify

    subcommand = argv[0] if argv and argv[0] in SUBCOMMANDS else None
    function = verify if subcommand == "verify" else download
    if argv == ["--version"]:
        print(__version__)
    elif not argv or {"--help", "-h"} & set(argv):
        print(help_text(function, "img2dataset verify" if function is verify else "img2dataset"))
    elif subcommand == "report":
        raise OptionsError("'report' is a subcommand of a later version; for a list of that name write ./report")
    elif function is verify:
        _tell(call(verify, argv[1:]))
    else:
        call(download, argv)


def _tell(broken: Mapping[str, str]) -> None:
    for name, problem in broken.items():
        print(f"{name}: {problem}")
    if broken:
        raise ShardError(f"{len(broken)} shards are broken")
    print("every shard is sound")
