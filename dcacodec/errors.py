"""The named errors of dcacodec.

Errors that a user can cause (a damaged file, a picture that cannot be read, missing weights) are subclasses of
`DcaError`; their text is one line, ready to be shown. Programming errors raise `ValueError` or `TypeError`.
"""

import os
import sys
import warnings
from typing import Final
from unicodedata import category

__all__ = [
    "BadBlockError",
    "BadChecksumError",
    "BadChunkTagError",
    "BadDimensionsError",
    "BadHeaderError",
    "BadLengthError",
    "BadMagicError",
    "BadMetadataError",
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
    "CoderUnavailableError",
    "CoderWarning",
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
    "UnknownNameError",
    "WeightsError",
    "WorkerError",
]


class DcaError(Exception):
    """Base of all errors that the command line prints as one line."""


class FormatError(DcaError):
    """The bytes are not a well-formed `.dca` file. Base of all errors of the container format."""


class BadMagicError(FormatError):
    """The data does not start with the four magic bytes: it is not a `.dca` file."""


class NewerVersionError(FormatError):
    """The file has a container version that is newer than this release."""


class BadVersionError(FormatError):
    """The file names a container version that never existed."""


class TruncatedError(FormatError):
    """The file ends too early: it was truncated, or a length in it is damaged."""


class TrailingBytesError(FormatError):
    """There are bytes after the end of the container."""


class BadChecksumError(FormatError):
    """The CRC-32 at the end of the file does not match its content: the file is damaged."""


class BadLengthError(FormatError):
    """A length in a file with a valid checksum exceeds the file, or a length is too large to be written."""


class BadVarintError(BadLengthError):
    """A variable-length number is not in its shortest form, or is 2^32 or more."""


class BadHeaderError(FormatError):
    """A field of the header has an invalid value. Base of the errors about single fields."""


class BadDimensionsError(BadHeaderError):
    """Width or height is zero or above the limit of the format."""


class BadModeError(BadHeaderError):
    """The colour mode is not one of the format."""


class BadQualityError(BadHeaderError):
    """The quality is not in 1..100, or not a multiple of 0.1."""


class BadSliceSizeError(BadHeaderError):
    """The slice size code is neither in 8..11 nor 0 (one slice) for a picture that is small enough."""


class BadSliceCountError(BadHeaderError):
    """The number of slices does not match the dimensions and the slice size."""


class BadChunkTagError(FormatError):
    """The tag of a chunk is not four ASCII letters."""


class TooManyChunksError(FormatError):
    """A file has more than 1000 chunks."""


class UnknownChunkError(FormatError):
    """The file has a critical chunk (tag with an upper-case first letter) that this release does not know."""


class DuplicateChunkError(FormatError):
    """Two chunks of a file have the same tag."""


class BadSliceBitsError(FormatError):
    """The bits of a chunk are not one per slice, at least one of them set, padded with zeros to whole bytes."""


class BadBlockError(FormatError):
    """A lossless block is not WebP lossless data of the dimensions of its slice, or does not belong into the file."""


class BadMetadataError(FormatError):
    """A compressed chunk of metadata is not one zlib stream, or expands to more than 16 MiB."""


class TooLargeError(DcaError):
    """The picture has more pixels than the caller allows (see `max_pixels`)."""


class UnknownModelError(DcaError):
    """No installed weights have the fingerprint in the file."""


class BadRegionError(DcaError):
    """The region to decode is empty, or not entirely inside the picture."""


class StreamError(DcaError):
    """A coded stream has too few or too many bytes or codes an invalid value, or a lossless block is damaged."""


class SymbolMismatchError(DcaError):
    """The decoded latents, or samples of a lossless slice, do not match their checksum in the file."""


class ImageError(DcaError):
    """A picture cannot be read or written, or is of an unsupported kind."""


class TrainingError(DcaError):
    """A training run cannot start or continue: there are too few pictures, or its loss is not finite."""


class BatchError(DcaError):
    """A batch cannot start or continue: no pictures, two with the same target, no worker, or no space left."""


class CoderUnavailableError(DcaError):
    """The compiled entropy coder is not available on this machine."""


class WorkerError(DcaError):
    """A worker process cannot be started, or died before its first job."""


class BenchError(DcaError):
    """A benchmark cannot be run: its pictures, a codec or a published curve are not available."""


class UnknownNameError(BenchError):
    """There is no codec, dataset or published curve with the name that was given."""


class WeightsError(DcaError):
    """A weights file is missing, damaged, or not the published one."""


class ImageWarning(UserWarning):
    """A property of a picture was converted on reading or lost on writing. The text is one line."""


class DeviceWarning(UserWarning):
    """There is a GPU, but it cannot be used. The text is one line."""


class CoderWarning(UserWarning):
    """The fast entropy coder was compiled, or is not available and the slow one is used. The text is one line."""


_BETWEEN: Final = frozenset({"dcacodec", "PIL", "contextlib"})
"""The packages whose code may lie between the line of a caller and that of a warning."""


def warn(text: str, category: type[Warning]) -> None:
    """Issue a warning that names the line from which the package, or Pillow with its plugin, was called."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def reason(error: Exception, known: os.PathLike[str] | None = None) -> str:
    """The message of an exception in one line, for users. Unexpected exceptions are called internal errors.

    The file name of an `OSError` is left out if it is `known`, which the caller reports.
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


_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escaped(text: str) -> str:
    """The same text as one line without control characters, which file names can hold and a terminal would obey.

    Those that change the direction of text are among them: they can make a name look like another one.
    """
    return "".join(
        each.encode("unicode_escape").decode("ascii") if category(each) == "Cc" or each in _DIRECTIONS else each
        for each in " ".join(text.splitlines())
    )
