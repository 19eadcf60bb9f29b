"""An image of which the header is read becomes pixels, or an error that tells the damage."""

from __future__ import annotations

from img2dataset.errors import Reason, ResizeError
from img2dataset.images.jpeg import ends_of_scans, lacks_data
from img2dataset.images.source import Source, few_messages


def load(source: Source) -> None:
    """Decode the pixels of the first frame into ``source.image``.

    Raises:
        ResizeError: the data is damaged or ends early, where the decoder or the file's structure tells.
    """
    image = source.image
    ends: list[int] = []
    if source.format.name == "JPEG":
        ends = ends_of_scans(source)
        image.decodermaxblock = len(source.body)  # one call of the decoder instead of one for each 64 KB
    size = image.size
    with few_messages(source.format):
        image.load()
    if image.size != size:  # a frame inside an icon that is not what the icon's header says
        raise ResizeError(Reason.IMAGE_DAMAGED)
    if lacks_data(source, ends):
        raise ResizeError(Reason.IMAGE_CUT_SHORT)
