"""The named errors of dcacodec.

Whatever a user can cause (a damaged file, a picture that cannot be read, missing weights) raises a subclass of
`DcaError` whose text is one line, fit to be shown as it is. Mistakes of a programmer raise `ValueError` or `TypeError`.
"""

import os

__all__ = [
    "BadChecksumError",
    "BadChunkTagError",
    "BadDimensionsError",
    "BadHeaderError",
    "BadLengthError",
    "BadMagicError",
    "BadModeError",
    "BadQualityError",
    "BadRegionError",
    "BadSliceBitsError",
    "BadSliceCountError",
    "BadSliceSizeError",
    "BadVarintError",
    "BadVersionError",
    "BatchError",
    "BenchError",
    "DcaError",
    "DeviceWarning",
    "DuplicateChunkError",
    "FormatError",
    "ImageError",
    "ImageWarning",
    "NewerVersionError",
    "StreamError",
    "SymbolMismatchError",
    "TooLargeError",
    "TooManyChunksError",
    "TrailingBytesError",
    "TrainingError",
    "TruncatedError",
    "UnknownChunkError",
    "UnknownModelError",
    "WeightsError",
    "WorkerError",
]


class DcaError(Exception):
    """Base of all errors that the command line prints as one line."""


class FormatError(DcaError):
    """The bytes are not a well-formed `.dca` file. Base of all errors that reading the container can raise."""


class BadMagicError(FormatError):
    """The data does not start with the four magic bytes: it is not a `.dca` file."""


class NewerVersionError(FormatError):
    """The file is of a container version that this release does not know yet."""


class BadVersionError(FormatError):
    """The file names a container version that never existed."""


class TruncatedError(FormatError):
    """The file ends before its last byte: it was cut off, or a length inside was damaged."""


class TrailingBytesError(FormatError):
    """There are bytes after the end of the container."""


class BadChecksumError(FormatError):
    """The CRC-32 at the end of the file differs from that of the bytes before it: the file is damaged."""


class BadLengthError(FormatError):
    """A length in a file with a right checksum reaches past the end of the file, or is too long to be written."""


class BadVarintError(BadLengthError):
    """A variable-length number is not in its shortest form, or is 2^32 or more."""


class BadHeaderError(FormatError):
    """A field of the header holds a value that the format does not allow. Base of the errors that name the field."""


class BadDimensionsError(BadHeaderError):
    """Width or height is zero or above the limit of the format for one side."""


class BadModeError(BadHeaderError):
    """The colour mode is none of those that the format knows."""


class BadQualityError(BadHeaderError):
    """The quality is not in 1..100."""


class BadSliceSizeError(BadHeaderError):
    """The binary logarithm of the slice size is not in 8..11, nor 0 (one slice) for a picture that is small enough."""


class BadSliceCountError(BadHeaderError):
    """The number of slices is not the one that follows from the dimensions and the slice size."""


class BadChunkTagError(FormatError):
    """The tag of a chunk is not four ASCII letters."""


class TooManyChunksError(FormatError):
    """A file has more than 1000 chunks."""


class UnknownChunkError(FormatError):
    """The file holds a critical chunk (tag with an upper-case first letter) that this release does not know."""


class DuplicateChunkError(FormatError):
    """Two chunks of a file have the same tag."""


class BadSliceBitsError(FormatError):
    """The chunk "FULL" is not one bit for each slice, one of which is set, and zeros up to the next byte."""


class TooLargeError(DcaError):
    """The picture has more pixels than the caller allows (see `max_pixels`)."""


class UnknownModelError(DcaError):
    """No known weights have the fingerprint that the file or the caller asks for."""


class BadRegionError(DcaError):
    """The region to decode is empty, or not all of it lies in the picture."""


class StreamError(DcaError):
    """A coded stream contradicts itself: it holds too few or too many bytes, or codes a value that cannot be."""


class SymbolMismatchError(DcaError):
    """The decoded latents differ from those that were encoded (their checksum in the file tells)."""


class ImageError(DcaError):
    """A picture cannot be read or written, or is of a kind that is not supported."""


class TrainingError(DcaError):
    """A training run cannot start or go on: its pictures do not suffice, or its loss is no finite number any more."""


class BatchError(DcaError):
    """A batch of pictures cannot start or go on: no pictures, two that would be one file, no worker, no space left."""


class WorkerError(DcaError):
    """A process that was to do work cannot do any."""


class BenchError(DcaError):
    """A benchmark cannot be run: its pictures, a codec or a published curve cannot be had."""


class WeightsError(DcaError):
    """A weights file is missing, damaged, or not the one it claims to be."""


class ImageWarning(UserWarning):
    """Something about a picture was converted on reading or left out on writing. The text is one line."""


class DeviceWarning(UserWarning):
    """There is a GPU, but it cannot be used. The text is one line."""


def reason(error: Exception, known: os.PathLike[str] | None = None) -> str:
    """What an exception says in one line, for a user. One that nobody foresaw is called an internal error.

    The name of a file is left out where it is that of `known`, which the user is told anyway.
    """
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, DcaError):
        text = str(error)
    elif isinstance(error, OSError):
        text = error.strerror or str(error)
        name = None if error.filename is None else os.fsdecode(error.filename)
        if name is not None and (known is None or name != os.fspath(known)):
            text = f"{name}: {text}"
    else:
        text = f"internal error: {type(error).__name__}: {error}"
    return " ".join(text.split())
