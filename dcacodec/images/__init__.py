"""Reading of picture files to 8-bit arrays, and writing of lossless picture files, with Pillow.

::

    file -- reading --> Pillow's image -- pillow, metadata --> Picture -- pillow, metadata --> writing --> file
                                                                 alpha: a PNG inside a .dca file
"""

from dcacodec.errors import ImageWarning
from dcacodec.images.formats import has_picture_suffix
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow, to_pillow
from dcacodec.images.reading import read_picture
from dcacodec.images.writing import write_picture

__all__ = [
    "ImageWarning",
    "Picture",
    "from_pillow",
    "has_picture_suffix",
    "read_picture",
    "to_pillow",
    "write_picture",
]
