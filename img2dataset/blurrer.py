"""`BoundingBoxBlurrer` as img2dataset 1.x has it: for programs of others that blur arrays with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["BoundingBoxBlurrer"]


class BoundingBoxBlurrer:
    """Blurs boxes of an array, as DataComp's resharder has it done to faces. A run blurs with `images.blurrer`."""

    def __call__(self, img: npt.NDArray[np.uint8], bbox_list: Sequence[Sequence[float]]) -> npt.NDArray[np.uint8]:
        """A copy of the image in which the boxes are blurred; the very same array without boxes.

        Args:
            img: height × width, or height × width × channels, of uint8; each channel is blurred alike.
            bbox_list: ``[x_min, y_min, x_max, y_max]`` of each box, from 0 to 1.

        Raises:
            TypeError: `bbox_list` is None.
            ResizeError: a box is invalid, as `checked_boxes` tells.
        """
        if len(bbox_list) == 0:
            return img
        import numpy as np
        from PIL import Image

        from img2dataset.images import blurrer

        windows = blurrer.checked_boxes(bbox_list)
        blurred: npt.NDArray[np.uint8] = img.copy()
        for channel in np.atleast_3d(blurred).transpose(2, 0, 1):  # views, so that `blurred` is written to
            picture = Image.fromarray(channel)
            blurrer.BoundingBoxBlurrer()(picture, windows)
            channel[:] = picture
        return blurred
