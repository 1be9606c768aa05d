"""`.dca` as a format of Pillow's: importing this module registers it.

::

    import dcacodec.pillow_plugin

    image = Image.open("photo.dca")        # reads and checks the file, decodes nothing
    image.draft(None, (200, 200))          # optional: to be decoded at 1/2, 1/4 or 1/8 of its size, or its preview
    image.load()                           # decodes
    image.save("copy.dca", quality=60)

Pillow has no way for a package to announce a format before it is imported. PyTorch is loaded with the first pixels.
"""

from __future__ import annotations

import operator
from contextlib import suppress
from dataclasses import replace
from typing import IO, Any, Final

from PIL import Image, ImageFile

from dcacodec.api import codec_for, default_codec
from dcacodec.codec import defaults
from dcacodec.codec.preview import preview_size, read_preview
from dcacodec.errors import BadMagicError, DcaError, ImageError, TooLargeError
from dcacodec.format.container import ALPHA_CHUNK, MAGIC
from dcacodec.format.metadata import metadata_of
from dcacodec.format.reader import read_container
from dcacodec.images.alpha import decode_alpha
from dcacodec.images.metadata import info_of, upright_xmp
from dcacodec.images.pillow import from_pillow, to_pillow
from dcacodec.tiling.grid import SCALES

FORMAT: Final = "DCA"
EXTENSION: Final = ".dca"
MIME_TYPE: Final = "image/x-dca"
_DECODER: Final = "dca"


class DcaImageFile(ImageFile.ImageFile):
    """A `.dca` file opened by Pillow. Errors in it are raised as `OSError`, as for Pillow's own formats."""

    format = FORMAT
    format_description = "dcacodec, learned image codec"

    def _open(self) -> None:
        assert self.fp is not None
        # Pillow warns above its limit and refuses above twice that, but checks only after `_open`.
        limit = Image.MAX_IMAGE_PIXELS and 2 * Image.MAX_IMAGE_PIXELS
        try:
            container = read_container(self.fp, limit)
            self.info.update(info_of(*metadata_of(container)))
        except BadMagicError as error:
            raise SyntaxError("not a .dca file") from error  # so that other formats are tried
        except TooLargeError as error:
            raise Image.DecompressionBombError(str(error)) from error
        except DcaError as error:
            raise OSError(str(error)) from error
        header, self._alpha = container.header, container.chunk(ALPHA_CHUNK)
        self._whole = (header.width, header.height)
        self._preview: tuple[int, int] | None = None
        with suppress(ImageError):  # without a usable preview the picture itself is decoded
            self._preview = preview_size(container)
        self._size = self._whole
        self._mode = {"L": "LA", "RGB": "RGBA"}[header.mode] if container.has_alpha else header.mode
        self.info["quality"] = header.quality
        self._take(1)

    def _take(self, scale: int) -> None:
        """Make `load` decode the picture at 1/scale of its size, or its preview if scale is 0."""
        if scale:
            width, height = (-(-side // scale) for side in self._whole)
        else:
            assert self._preview is not None
            width, height = self._preview
        self._size = (width, height)
        self.tile = [ImageFile._Tile(_DECODER, (0, 0, width, height), 0, (scale, self._whole, self._mode))]

    def load_seek(self, pos: int) -> None:
        """Seek in the file, for `load`. By this method `ImageFile.Parser` knows that it has to read all of the file."""
        assert self.fp is not None
        self.fp.seek(pos)

    def verify(self) -> None:
        """Check the alpha plane, which `open` does not check, without decoding the pixels.

        As with other formats, the image must be opened again afterwards.

        Raises:
            OSError: the alpha plane is damaged.
        """
        if self._alpha is not None:
            try:
                decode_alpha(self._alpha, *self._whole)
            except DcaError as error:
                raise OSError(str(error)) from error
        super().verify()

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Choose the smallest of the scales 1, 1/2, 1/4, 1/8 at which no side is below that of `size`; ignores `mode`.

        If the picture, fitted into `size`, is no larger than its preview, the preview is chosen, which is decoded at
        once.

        Returns:
            The mode, and the box of the picture in the image that will be loaded, whose sides are rounded up. None if
            the picture is already loaded, or no size is given.
        """
        if not self.tile or size is None:
            return None
        width, height = self._whole
        if self._preview_suffices(size):
            self._take(0)
            return self.mode, (0, 0, *self._size)
        scale = max((scale for scale in SCALES if width >= scale * size[0] and height >= scale * size[1]), default=1)
        self._take(scale)
        return self.mode, (0, 0, width / scale, height / scale)

    def thumbnail(
        self,
        size: tuple[float, float],
        resample: Image.Resampling = Image.Resampling.BICUBIC,
        reducing_gap: float | None = 2.0,
    ) -> None:
        """As Pillow's, from the preview if that is large enough."""
        if self.tile and self._preview_suffices(size):
            self._take(0)
            reducing_gap = None  # else Pillow would ask `draft` for more pixels
        super().thumbnail(size, resample, reducing_gap)

    def _preview_suffices(self, size: tuple[float, float]) -> bool:
        """Whether the picture, fitted into a size, is no larger than its preview."""
        if self._preview is None:
            return False
        share = min(wanted / side for wanted, side in zip(size, self._whole, strict=True))
        return share * max(self._whole) <= max(self._preview)


class _Decoder(ImageFile.PyDecoder):
    """Fills the image of a `DcaImageFile`."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        assert self.fd is not None
        scale, (width, height), mode = self.args
        try:
            # The file may have been changed since it was opened.
            container = read_container(self.fd, width * height)
            picture = codec_for(container).decode(container, scale=scale) if scale else read_preview(container)
        except DcaError as error:
            raise OSError(str(error)) from error
        if picture is None:
            raise OSError("the file has changed since it was opened")
        image = to_pillow(picture)
        if scale == 0 and image.mode != mode:  # WebP drops an alpha plane that is opaque
            image = image.convert(mode)
        if (image.size, image.mode) != ((self.state.xsize, self.state.ysize), mode):
            raise OSError("the file has changed since it was opened")
        self.set_as_raw(image.tobytes())
        return -1, 0


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: Image.Image, file: IO[bytes], _filename: str | bytes) -> None:
    """Encode an image, for `Image.save`.

    The options are `quality` (1 to 100, in tenths), `effort` (0 or more), `lossless` (true, false or None) and
    `keep_hidden` (true or false) as in `Codec.encode`, `tune` ("visual" or "psnr"), and `icc_profile`, `exif` (bytes,
    `Image.Exif` or None) and `xmp` (bytes or None), which replace those of the image. A CMYK image is
    converted with the profile. The orientation is that of `exif`, or of the image without that option.
    """
    options = image.encoderinfo
    try:
        exif = options.get("exif")
        exif_bytes = _bytes("EXIF data", exif.tobytes() if isinstance(exif, Image.Exif) else exif)
        cmyk_icc = options["icc_profile"] or b"" if "icc_profile" in options else None
        picture = from_pillow(image, exif_bytes, cmyk_icc)
        if "exif" in options and not exif:
            picture = replace(picture, exif=None)
        if "icc_profile" in options and image.mode != "CMYK":
            picture = replace(picture, icc=options["icc_profile"] or None)
        if "xmp" in options:
            xmp = _bytes("an XMP packet", options["xmp"])
            picture = replace(picture, xmp=xmp and upright_xmp(xmp))
        quality = options.get("quality", defaults.QUALITY)
        effort = operator.index(options.get("effort", defaults.EFFORT))
        lossless, keep_hidden = options.get("lossless"), bool(options.get("keep_hidden"))
        data = default_codec(options.get("tune")).encode(
            picture, quality=quality, effort=effort, lossless=lossless, keep_hidden=keep_hidden
        )
    except DcaError as error:
        raise OSError(f"cannot write this image as {FORMAT}: {error}") from error
    file.write(data)


def _bytes(name: str, value: Any) -> bytes | None:
    """Metadata of an option, None if they are empty."""
    if value and not isinstance(value, bytes):
        raise ImageError(f"{name} must be bytes, not {type(value).__name__}")
    return value or None


Image.register_open(FORMAT, DcaImageFile, _accept)
Image.register_decoder(_DECODER, _Decoder)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, EXTENSION)
Image.register_mime(FORMAT, MIME_TYPE)
