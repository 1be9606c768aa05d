"""The picture of a file as a thumbnail, where the file has no preview."""

from __future__ import annotations

from dataclasses import replace

from dcacodec.codec.codec import Codec
from dcacodec.codec.preview import SIDE, reduced
from dcacodec.format.container import Container
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow, image_of
from dcacodec.tiling.grid import SCALES


def decoded_thumbnail(container: Container) -> Picture:
    """The picture of a file that has no preview, decoded and reduced to the size of one.

    Its ICC profile is kept, EXIF and XMP data are not.

    Raises:
        DcaError: as `Codec.for_container` and `Codec.decode`.
    """
    longest = max(container.header.width, container.header.height)
    scale = max(scale for scale in SCALES if scale == 1 or longest >= scale * SIDE)
    picture = Codec.for_container(container).decode(container, scale=scale)
    return replace(from_pillow(reduced(image_of(picture, picture.gray), SIDE)), icc=picture.icc)
