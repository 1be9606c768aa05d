"""A picture as it is encoded, prepared once for all qualities that it is encoded at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dcacodec.codec.mixed import is_mixed
from dcacodec.codec.preview import Previews
from dcacodec.format.container import ALPHA_CHUNK, Chunk
from dcacodec.format.metadata import metadata_chunks
from dcacodec.images.alpha import encode_alpha
from dcacodec.images.hidden import clear_hidden, fill_hidden, hidden_pixels
from dcacodec.images.picture import Picture


@dataclass(frozen=True, eq=False)
class Source:
    """A picture, and what is made of it before a quality is chosen: each part when it is first needed.

    ::

        picture --+-- hidden pixels filled smoothly --> filled, for the network
                  +-- hidden pixels black ------------> plain, for lossless blocks
                  +-- alpha plane and metadata -------> side
                  '-- reduced ------------------------> previews

    Attributes:
        picture: the picture.
        keep_hidden: whether the colours of fully transparent pixels are kept. Otherwise nothing of them gets into the
            file.

    Raises:
        TypeError: it is not a `Picture`.
    """

    picture: Picture
    keep_hidden: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.picture, Picture):
            kind = type(self.picture).__name__
            raise TypeError(f"a Picture is needed, not {kind}: dcacodec.encode(..., codec=codec) takes other types")

    @cached_property
    def hidden(self) -> NDArray[np.bool_] | None:
        """The mask (H, W) of the pixels whose colours are not kept; None if there are none."""
        return None if self.keep_hidden else hidden_pixels(self.picture)

    @cached_property
    def filled(self) -> Picture:
        """The picture for the network."""
        return self.picture if self.hidden is None else fill_hidden(self.picture)

    @cached_property
    def plain(self) -> Picture:
        """The picture for lossless blocks."""
        return self.picture if self.hidden is None else clear_hidden(self.picture)

    @cached_property
    def is_mixed(self) -> bool:
        """Whether it is coded in smaller slices, see `dcacodec.codec.mixed.is_mixed`."""
        return is_mixed(self.filled.pixels)

    @cached_property
    def side(self) -> Sequence[Chunk]:
        """The chunks of the alpha plane and of the metadata, compressed."""
        alpha = self.picture.alpha
        chunks = [] if alpha is None else [Chunk(ALPHA_CHUNK, encode_alpha(alpha))]
        return chunks + metadata_chunks(self.picture.metadata)

    @cached_property
    def previews(self) -> Previews:
        """The candidates for the preview."""
        return Previews(self.filled)
