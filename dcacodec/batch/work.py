"""What a worker does: one file after the other, with a codec that is loaded once. torch comes with the codec."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dcacodec.batch.plan import Job, Stamp
from dcacodec.bounded import read_container
from dcacodec.container import DEFAULT_MAX_PIXELS, parse
from dcacodec.errors import reason
from dcacodec.shell import silent_libraries

if TYPE_CHECKING:
    from dcacodec.codec import Codec


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        job: which.
        bytes_in: size of the source.
        bytes_out: size of the target.
        notices: about what was converted or left out, a line each.
        error: why there is no new target; None where there is one.
    """

    job: Job
    bytes_in: int = 0
    bytes_out: int = 0
    notices: tuple[str, ...] = ()
    error: str | None = None


Outcomes = Generator[Outcome, None, None]
"""As they become ready, in any order. Closing it ends the workers."""


class Worker(Protocol):
    """Does jobs. Whatever is wrong with one of them is in its outcome."""

    def __call__(self, job: Job) -> Outcome: ...


MakeWorker = Callable[[], Worker]
"""Runs once in each process of a worker, and can be sent there. A `DcaError` from it ends the batch."""


@dataclass(frozen=True)
class Encoding:
    """How pictures are compressed.

    Attributes:
        quality: 1 to 100.
        effort: rounds of refinement.
        preset: of the published weights.
        device: as for `Codec.load`.
        max_pixels: None for no limit.
        strip: leave out ICC profiles, EXIF and XMP data.
    """

    quality: int = 50
    effort: int = 0
    preset: str = "small"
    device: str = "auto"
    max_pixels: int | None = DEFAULT_MAX_PIXELS
    strip: bool = False

    def __call__(self) -> Encoder:
        """A worker."""
        return Encoder(self)


@dataclass(frozen=True)
class Decoding:
    """How `.dca` files are turned back.

    Attributes:
        format: a key of `images.FORMATS`.
        device: as for `Codec.load_for`.
        max_pixels: None for no limit.
    """

    format: str = "png"
    device: str = "auto"
    max_pixels: int | None = DEFAULT_MAX_PIXELS

    def __call__(self) -> Decoder:
        """A worker."""
        return Decoder(self)


class FileWorker:
    """What both directions do with files and errors. They differ in `convert`."""

    def __call__(self, job: Job) -> Outcome:
        """Make the target, unless it was made since the plan."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                if Stamp.of(job.target) == job.before:
                    write = self.convert(job.source)
                    job.target.parent.mkdir(parents=True, exist_ok=True)
                    self.write(job, write)
                sizes = job.source.stat().st_size, job.target.stat().st_size
            except Exception as error:  # also one that nobody foresaw must not end the batch
                return Outcome(job, notices=_notices(caught), error=reason(error, job.source))
        return Outcome(job, *sizes, notices=_notices(caught))

    def convert(self, source: Path) -> Callable[[BinaryIO], object]:
        """The function that writes what becomes of `source`."""
        raise NotImplementedError

    def write(self, job: Job, write: Callable[[BinaryIO], object]) -> None:
        """Put the target into its place, whole."""
        from dcacodec.files import write_atomically

        write_atomically(job.target, write)


@dataclass
class Encoder(FileWorker):
    """Pictures to `.dca` files."""

    settings: Encoding
    codec: Codec = field(init=False)

    def __post_init__(self) -> None:
        from PIL import Image

        from dcacodec.codec import Codec

        Image.MAX_IMAGE_PIXELS = None  # Pillow has a limit of its own; here ours holds
        self.codec = Codec.load(self.settings.preset, self.settings.device)

    def convert(self, source: Path) -> Callable[[BinaryIO], object]:
        """See `FileWorker`."""
        from dcacodec.images import read_picture

        with silent_libraries():
            picture = read_picture(source, self.settings.max_pixels)
        if self.settings.strip:
            picture = picture.stripped()
        data = self.codec.encode(picture, self.settings.quality, effort=self.settings.effort)
        return lambda file: file.write(data)


@dataclass
class Decoder(FileWorker):
    """`.dca` files to pictures, with one codec for each of the weights that they were made with."""

    settings: Decoding
    codecs: dict[bytes, Codec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from dcacodec.device import choose_device

        choose_device(self.settings.device)  # a GPU that is not there is an error of the batch, not of each file

    def convert(self, source: Path) -> Callable[[BinaryIO], object]:
        """See `FileWorker`."""
        from dcacodec.codec import Codec
        from dcacodec.images import write_picture

        with open(source, "rb") as file:
            data = read_container(file, self.settings.max_pixels)
        fingerprint = parse(data, self.settings.max_pixels).header.fingerprint
        if fingerprint not in self.codecs:
            self.codecs[fingerprint] = Codec.load_for(data, self.settings.device, self.settings.max_pixels)
        picture = self.codecs[fingerprint].decode(data, self.settings.max_pixels)
        return lambda file: write_picture(picture, file, self.settings.format)


def _notices(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """The package's own warnings, each once."""
    return tuple(
        dict.fromkeys(str(each.message) for each in caught if each.category.__module__.startswith("dcacodec."))
    )
