"""What a worker does: one file after the other, with a codec that is loaded once. torch comes with the codec."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dcacodec.batch.plan import Job, Stamp
from dcacodec.codec import defaults
from dcacodec.errors import reason
from dcacodec.files.atomic import no_space_left, write_atomically
from dcacodec.format.container import DEFAULT_MAX_PIXELS
from dcacodec.format.reader import read_container
from dcacodec.images.silence import silent_libraries
from dcacodec.network.config import Tuning

if TYPE_CHECKING:
    from dcacodec.codec.codec import Codec
    from dcacodec.codec.targets import Target


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        job: which.
        bytes_in: size of the source.
        bytes_out: size of the target.
        notices: about what was converted or left out, a line each.
        error: why there is no new target; None where there is one.
        taken: in encoding to a target: the quality that was taken and how near it comes, in half a line; else "".
        kept: False where the file does not keep to the target.
        full: whether the error is that no space is left.
    """

    job: Job
    bytes_in: int = 0
    bytes_out: int = 0
    notices: tuple[str, ...] = ()
    error: str | None = None
    taken: str = ""
    kept: bool = True
    full: bool = False


Outcomes = Generator[Outcome, None, None]
"""As they become ready, in any order. Closing it ends the workers."""


class Worker(Protocol):
    """Does jobs. Whatever is wrong with one of them is in its outcome."""

    def __call__(self, job: Job) -> Outcome:
        """Do a job."""


MakeWorker = Callable[[], Worker]
"""Runs once in each process of a worker, and can be sent there. A `DcaError` from it ends the batch."""


@dataclass(frozen=True)
class Encoding:
    """How pictures are compressed.

    Attributes:
        quality: 1 to 100; not asked for where there is a target.
        effort: number of refinement iterations.
        tune: as for `Codec.load`.
        preset: of the published weights.
        device: as for `Codec.load`.
        max_pixels: None for no limit.
        strip: leave out ICC profiles, EXIF and XMP data.
        target: what each file is to keep to; None for the quality.
    """

    quality: int = defaults.QUALITY
    effort: int = defaults.EFFORT
    tune: Tuning | None = None
    preset: str = defaults.PRESET
    device: str = "auto"
    max_pixels: int | None = DEFAULT_MAX_PIXELS
    strip: bool = False
    target: Target | None = None

    def __call__(self) -> Encoder:
        """A worker."""
        return Encoder(self)


@dataclass(frozen=True)
class Decoding:
    """How `.dca` files are turned back.

    Attributes:
        format: a key of `images.FORMATS`.
        device: as for `Codec.for_container`.
        max_pixels: None for no limit.
    """

    format: str = "png"
    device: str = "auto"
    max_pixels: int | None = DEFAULT_MAX_PIXELS

    def __call__(self) -> Decoder:
        """A worker."""
        return Decoder(self)


@dataclass(frozen=True)
class Converted:
    """What becomes of a source.

    Attributes:
        write: writes it to a file.
        taken, kept: as in `Outcome`.
    """

    write: Callable[[BinaryIO], object]
    taken: str = ""
    kept: bool = True


class FileWorker:
    """What both directions do with files and errors. They differ in `convert`."""

    def __call__(self, job: Job) -> Outcome:
        """Make the target, unless it was made since the plan."""
        taken, kept = "", True
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                if Stamp.of(job.target) == job.before:
                    converted = self.convert(job.source)
                    job.target.parent.mkdir(parents=True, exist_ok=True)
                    self.write(job, converted.write)
                    taken, kept = converted.taken, converted.kept
                sizes = job.source.stat().st_size, job.target.stat().st_size
            except Exception as error:  # also one that nobody foresaw must not end the batch
                why = reason(error, job.source)
                return Outcome(job, notices=_notices(caught), error=why, full=no_space_left(error))
        return Outcome(job, *sizes, notices=_notices(caught), taken=taken, kept=kept)

    def convert(self, source: Path) -> Converted:
        """What becomes of `source`, not yet written."""
        raise NotImplementedError

    def write(self, job: Job, write: Callable[[BinaryIO], object]) -> None:
        """Put the target into its place, whole."""
        write_atomically(job.target, write)


@dataclass
class Encoder(FileWorker):
    """Pictures to `.dca` files."""

    settings: Encoding
    codec: Codec = field(init=False)

    def __post_init__(self) -> None:
        from PIL import Image

        from dcacodec.codec.codec import Codec

        Image.MAX_IMAGE_PIXELS = None  # Pillow has a limit of its own; here ours holds
        self.codec = Codec.load(self.settings.preset, tune=self.settings.tune, device=self.settings.device)

    def convert(self, source: Path) -> Converted:
        """See `FileWorker`."""
        from dcacodec.images.reading import read_picture

        with silent_libraries():
            picture = read_picture(source, self.settings.max_pixels)
        if self.settings.strip:
            picture = picture.stripped()
        target, effort = self.settings.target, self.settings.effort
        if target is None:
            data = self.codec.encode(picture, quality=self.settings.quality, effort=effort)
            return Converted(lambda file: file.write(data))
        from dcacodec.codec.rate_control import encode_to
        from dcacodec.codec.targets import outcome

        result = encode_to(self.codec, picture, target, effort=effort)
        taken = f"quality {result.quality}: {outcome(target, result, picture)}"
        return Converted(lambda file: file.write(result.data), taken, result.kept)


@dataclass
class Decoder(FileWorker):
    """`.dca` files to pictures, with one codec for each of the weights that they were made with."""

    settings: Decoding
    codecs: dict[bytes, Codec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from dcacodec.network.device import choose_device

        choose_device(self.settings.device)  # a GPU that is not there is an error of the batch, not of each file

    def convert(self, source: Path) -> Converted:
        """See `FileWorker`."""
        from dcacodec.codec.codec import Codec
        from dcacodec.images.writing import write_picture

        with open(source, "rb") as file:
            container = read_container(file, self.settings.max_pixels)
        fingerprint = container.header.fingerprint
        if fingerprint not in self.codecs:
            self.codecs[fingerprint] = Codec.for_container(container, device=self.settings.device)
        picture = self.codecs[fingerprint].decode(container)
        return Converted(lambda file: write_picture(picture, file, self.settings.format))


def _notices(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """The package's own warnings, each once."""
    return tuple(
        dict.fromkeys(str(each.message) for each in caught if each.category.__module__.startswith("dcacodec."))
    )
