"""The flat options of `download` become option groups, each named once and by hand, and the run begins."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Annotated, Any

from img2dataset.command_line import main
from img2dataset.errors import OptionsError
from img2dataset.kinds import check, one_of
from img2dataset.options import (
    ROBOTS_DIRECTIVES,
    Courtesy,
    Crawler,
    FetchOptions,
    Limits,
    LogOptions,
    ReadOptions,
    ResizeOptions,
    ResumeOptions,
    RunOptions,
    Trust,
    WriteOptions,
)
from img2dataset.stats import RunStats
from img2dataset.streams import open_closed_streams

if TYPE_CHECKING:
    from img2dataset.reader import Given

__all__ = ["download", "main"]

LATER_DISTRIBUTORS = ("pyspark", "ray")  # 1.47 has them
logger = logging.getLogger(__name__)

PATIENCE = 3  # times the longest that one URL may take, and
FLUSH = 300  # seconds for a shard to reach the disk or the store: a worker silent for longer than both is stuck


def download(
    url_list: Any,
    image_size: int | Sequence[int] | None = 256,
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
    disallowed_header_directives: Sequence[str] | None = ROBOTS_DIRECTIVES,
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
    column_types: Mapping[str, str] | None = None,
    save_fetch_details: bool = False,
    dataset_card: bool | None = None,
    oom_shard_count: int = 5,
    incremental_mode: str = "auto",
    retry_statuses: Sequence[str] | None = None,
    max_shard_retry: int = 1,
    distributor: str = "multiprocessing",
    subjob_size: int = 1000,
    enable_wandb: bool = False,
    wandb_project: str = "img2dataset",
) -> RunStats:
    """Turn a list of image URLs into an image dataset.

    Every row of the list is fetched, resized and written, or recorded with the reason why not. The dataset grows by
    whole shards; the same call again does what is missing.

    Reading the list:
        url_list: File with the URLs, folder or pattern (*.parquet) of such files, taken in sorted order, or - for
            standard input. Any path or URL that fsspec opens; a compressed file (.gz, .bz2, .xz, .zip, .zst) is read
            as it is. In Python also a list of paths or of URLs, a pandas DataFrame or a pyarrow Table.
        input_format: txt (a URL a line, taken verbatim), csv, tsv, json (an array of records, or a record a line),
            jsonl or parquet; with .gz, as csv.gz, where a file is compressed and its name does not say so. Not given,
            the file's extension tells, and txt is assumed where it does not.
        url_col: Column that holds the URLs, of a list that has columns.
        caption_col: Column that holds the captions; every image then gets a .txt.
        bbox_col: Column with boxes to blur in each image: a list of [x_min, y_min, x_max, y_max], each from 0 to 1; as
            JSON in a csv or tsv list.
        verify_hash: Column with the hash that the fetched bytes must have, and its kind: ["hash_column", "md5"]. An
            image with another one is left out.
        save_additional_columns: Columns of the list to take over into the metadata.
        column_types: Arrow types of such columns, as {"x": "string"}. Not given, those of a parquet list are its own,
            and those of a list of text are what its beginning shows.
        number_sample_per_shard: Rows of the list in one shard.

    Fetching:
        thread_count: Downloads under way at once in each process.
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
        disallowed_header_directives: Directives of an X-Robots-Tag header that leave an image out. None means the
            default; [] ignores them.

    Images:
        image_size: Side in pixels that resize_mode brings images to. With resize_mode=no nothing uses it.
        resize_mode: no (keep the size), border (fit into a white square of image_size), keep_ratio (the shorter side
            becomes image_size), keep_ratio_largest (the longer side does) or center_crop (the shorter side does, and
            the square in the middle is kept).
        resize_only_if_bigger: Leave an image as it is, neither enlarged nor padded nor cropped, when the side that
            resize_mode goes by is not above image_size.
        upscale_interpolation: Filter that enlarges: nearest, bilinear, bicubic, area or lanczos.
        downscale_interpolation: Filter that reduces, of the same names.
        encode_format: Format of the saved images: jpg (or jpeg), png, webp or avif.
        encode_quality: For jpg 1 to 100, for webp and avif 0 to 100, for png the compression level, 0 to 9. None means
            95, 95, 90 and 1.
        skip_reencode: Keep a file's own bytes when it has the right format already and no pixel would change.
        disable_all_reencoding: Keep every file as it was fetched, only checked to be an image; nothing is resized, and
            what resize_mode, encode_format, encode_quality and skip_reencode say is ignored.
        min_image_size: Leave out images whose shorter side has fewer pixels.
        max_image_area: Leave out images of more pixels than this, width times height.
        max_aspect_ratio: Leave out images whose longer side is more than this many times the shorter.
        max_image_memory: Bytes of memory that one image may take; it is left out if it would need more.

    Writing:
        output_folder: Where the dataset goes: a local folder, or any URL that fsspec writes to, as s3://bucket/name.
            What happens when it has shards already is up to incremental_mode.
        output_format: files (a folder of images a shard), webdataset (a tar a shard), parquet (images as a column of
            the metadata file), huggingface (parquet that datasets.load_dataset and the Hub open with pictures),
            tfrecord (a tfrecord a shard; needs the extra of that name) or dummy (only counts, to measure the rest).
        save_metadata: Write a .json for every image, and one .parquet a shard with a row for every input row.
        extract_exif: Put the file's EXIF tags into the metadata, as JSON text.
        compute_hash: Hash of the fetched bytes in the metadata: md5, sha256 or sha512. None leaves it out.
        save_fetch_details: Add the HTTP status, the URL after redirects and the number of attempts to the metadata.
        dataset_card: Write a README.md by which datasets.load_dataset and the Hub open the folder with pictures; with
            output_format=files or webdataset. None means with huggingface only.
        oom_shard_count: Digits of the shard number in file names: 5 gives 00000.

    Running:
        processes_count: Processes that fetch and resize, each a shard at a time. One for each core is a good number.
        incremental_mode: What to do in a folder that has shards. auto finishes them if they come from this list, and
            adds new ones if not; incremental only finishes; extend only adds; retry_failed finishes and tries again
            what failed for a passing reason; overwrite starts from nothing.
        retry_statuses: The error messages that retry_failed tries again, as ["timed out", "http 404"]. None means those
            that may pass.
        max_shard_retry: How often a shard that failed as a whole is tried again.
        distributor: Who does the shards: multiprocessing (processes of this machine).
        subjob_size: Shards in one job of a cluster. The processes of one machine take shards one by one.
        enable_wandb: Send counts to Weights & Biases. For now nothing is sent, and one line says so.
        wandb_project: Name of the project there.

    Returns:
        What the run has done, as counts.

    Raises:
        OptionsError: an option is wrong, the list cannot be read or the folder cannot be written; nothing was done.
        ShardError: shards could not be finished; all others are.
    """
    _check_names(input_format, output_format, http_client, resolver, distributor)
    given = _given(url_list, input_format)
    read = ReadOptions(
        url_list=given.name,
        input_format=input_format,
        url_col=url_col,
        caption_col=caption_col,
        bbox_col=bbox_col,
        verify_hash=None if verify_hash is None else _texts(verify_hash),  # type: ignore[arg-type]  # it refuses all but two
        save_additional_columns=() if save_additional_columns is None else _texts(save_additional_columns),
        column_types={} if column_types is None else column_types,
        number_sample_per_shard=number_sample_per_shard,
        retry_statuses=None if retry_statuses is None else _texts(retry_statuses),
    )
    fetch = FetchOptions(
        thread_count=thread_count,
        http_client=http_client,
        resolver=resolver,
        crawler=Crawler(
            user_agent=user_agent, user_agent_token=user_agent_token, headers={} if headers is None else headers
        ),
        limits=Limits(timeout=timeout, retries=retries, max_download_bytes=max_download_bytes),
        courtesy=Courtesy(
            max_connections_per_host=max_connections_per_host,
            respect_robots_txt=respect_robots_txt,
            disallowed_header_directives=(
                ROBOTS_DIRECTIVES if disallowed_header_directives is None else _texts(disallowed_header_directives)
            ),
        ),
        trust=Trust(ignore_ssl_certificate=ignore_ssl_certificate, block_private_networks=block_private_networks),
    )
    encode_format = "jpg" if encode_format == "jpeg" else encode_format
    resize = ResizeOptions(
        image_size=_side(image_size, is_used=resize_mode != "no" and not disable_all_reencoding),
        resize_mode=resize_mode,
        resize_only_if_bigger=resize_only_if_bigger,
        upscale_interpolation=upscale_interpolation,
        downscale_interpolation=downscale_interpolation,
        encode_format=encode_format,
        encode_quality=encode_quality,
        skip_reencode=skip_reencode,
        disable_all_reencoding=disable_all_reencoding,
        min_image_size=min_image_size,
        max_image_area=max_image_area,
        max_aspect_ratio=max_aspect_ratio,
        max_image_memory=max_image_memory,
    )
    write = WriteOptions(
        output_folder=output_folder,
        output_format=output_format,
        encode_format=encode_format,
        save_metadata=save_metadata,
        compute_hash=compute_hash,
        extract_exif=extract_exif,
        save_fetch_details=save_fetch_details,
        dataset_card=dataset_card,
        oom_shard_count=oom_shard_count,
    )
    resume = ResumeOptions(incremental_mode=incremental_mode)
    run_options = RunOptions(
        processes_count=processes_count,
        distributor=distributor,
        subjob_size=subjob_size,
        max_shard_retry=max_shard_retry,
        oom_shard_count=oom_shard_count,
        shard_patience=PATIENCE * timeout * (retries + 1) + FLUSH,
    )
    log = LogOptions(enable_wandb=enable_wandb, wandb_project=wandb_project)
    _check_together(read, resize, write, resume)
    _check_encoder(resize)
    _tell_what_is_ignored(resize, log)

    from img2dataset.downloader import Downloader
    from img2dataset.loggers.terminal import terminal_observers
    from img2dataset.run import run

    open_closed_streams()
    downloader = Downloader(read=read, fetch=fetch, resize=resize, write=write)
    return run(downloader, resume, run_options, terminal_observers(), given)


def _given(url_list: Any, input_format: str | None) -> Given:
    from img2dataset.reader import PATH_EXTENSIONS, Given

    return Given.of(url_list, input_format, PATH_EXTENSIONS)


def _texts(value: Sequence[str]) -> tuple[str, ...]:
    """A list of texts, of which a single one may be given as it is. What is no list is left for its group to refuse."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, (Sequence, Set)) else value


def _side(image_size: int | Sequence[int] | None, *, is_used: bool) -> int:
    """The side of an image; where nothing uses it, 0, None and ``(width, height)`` are as good as the default.

    What is no side is left for its group to refuse.
    """
    is_pair = isinstance(image_size, (list, tuple)) and len(image_size) == 2
    if not is_used and (is_pair or image_size is None or image_size == 0):
        return ResizeOptions.image_size
    return image_size  # type: ignore[return-value]


def _check_names(
    input_format: str | None, output_format: str, http_client: str, resolver: str, distributor: str
) -> None:
    """The names of formats, engines, resolvers and distributors stand in the tables of their packages."""
    from img2dataset.distributor import DISTRIBUTORS
    from img2dataset.fetcher import FETCHERS, RESOLVERS
    from img2dataset.formats import FORMATS
    from img2dataset.reader import INPUT_FORMATS

    if input_format is not None:
        check("input_format", input_format, Annotated[str, one_of(INPUT_FORMATS)])
    check("output_format", output_format, Annotated[str, one_of(FORMATS)])
    check("http_client", http_client, Annotated[str, one_of(FETCHERS)])
    check("resolver", resolver, Annotated[str, one_of(RESOLVERS)])
    if distributor in LATER_DISTRIBUTORS:
        raise OptionsError(f"distributor is {distributor!r}, which a later version has; this one has multiprocessing")
    check("distributor", distributor, Annotated[str, one_of(DISTRIBUTORS)])


def _check_together(read: ReadOptions, resize: ResizeOptions, write: WriteOptions, resume: ResumeOptions) -> None:
    """Options of several groups that contradict each other."""
    from img2dataset.formats import load_format

    load_format(write.output_format).check(read, write)
    has_metadata = write.save_metadata and write.output_format != "dummy"
    if resume.incremental_mode == "retry_failed" and not has_metadata:
        raise OptionsError("incremental_mode is retry_failed, which needs the metadata to know what failed")
    if read.bbox_col and resize.disable_all_reencoding:
        raise OptionsError(
            "bbox_col blurs images, and disable_all_reencoding keeps them as they are; choose one of them"
        )


def _tell_what_is_ignored(resize: ResizeOptions, log: LogOptions) -> None:
    """One line for each option that 1.47 takes and that means nothing here."""
    if resize.ignored:
        logger.warning("disable_all_reencoding keeps images as they came; ignored: %s", ", ".join(resize.ignored))
    if log.enable_wandb:
        logger.warning("enable_wandb is true, and this version sends nothing to Weights & Biases yet")


def _check_encoder(options: ResizeOptions) -> None:
    """See that the installed Pillow writes the format."""
    if options.encode_format != ResizeOptions.encode_format:
        from img2dataset.images.encoder import Encoder

        Encoder(options.encode_format, options.encode_quality)
