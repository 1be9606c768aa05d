"""The work of one process of a batch: it loads a codec once and converts one file after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dcacodec.batch.plan import Job, Stamp
from dcacodec.codec import defaults
from dcacodec.errors import BatchError, reason
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
    """The result of a job.

    Attributes:
        job: the job.
        bytes_in: size of the source.
        bytes_out: size of the target.
        warnings: about what was converted or left out, one line each.
        error: why the target was not written; None where it was.
        search: with a target size, rate or quality: the chosen quality and how near the file comes, as text; else "".
        target_met: False where the file does not meet that target.
        disk_full: whether the error is that no space is left.
    """

    job: Job
    bytes_in: int = 0
    bytes_out: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None
    search: str = ""
    target_met: bool = True
    disk_full: bool = False


Outcomes = Generator[Outcome, None, None]
"""Outcomes in the order in which they become ready. Closing the generator ends the workers."""


class Worker(Protocol):
    """Does jobs. An error of a job is in its outcome and is not raised."""

    def __call__(self, job: Job) -> Outcome:
        """Do a job."""


MakeWorker = Callable[[], Worker]
"""A picklable function that makes the worker of a process, once. A `DcaError` from it ends the batch."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Settings of encoding; calling them makes a worker.

    Attributes:
        quality: 1 to 100; ignored if there is a target.
        effort: number of refinement iterations.
        lossless, keep_hidden: as in `Codec.encode`.
        tune: as for `Codec.load`.
        preset: of the published weights.
        device: as for `Codec.load`.
        max_pixels: None for no limit.
        strip: kinds of metadata to leave out, as for `Picture.stripped`.
        target: size, rate or quality that each file should have; None for `quality`.
        allow_hdr: as for `read_picture`.
    """

    quality: float = defaults.QUALITY
    effort: int = defaults.EFFORT
    lossless: bool | None = None
    keep_hidden: bool = False
    tune: Tuning | None = None
    preset: str = defaults.PRESET
    device: str = "auto"
    max_pixels: int | None = DEFAULT_MAX_PIXELS
    strip: tuple[str, ...] = ()
    target: Target | None = None
    allow_hdr: bool = False

    def __call__(self) -> Encoder:
        """Make the worker of a process."""
        return Encoder(self)


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Settings of decoding; calling them makes a worker.

    Attributes:
        format, quality: as for `write_picture`.
        device: as for `Codec.for_container`.
        max_pixels: None for no limit.
    """

    format: str = "png"
    quality: int | None = None
    device: str = "auto"
    max_pixels: int | None = DEFAULT_MAX_PIXELS

    def __call__(self) -> Decoder:
        """Make the worker of a process."""
        return Decoder(self)


@dataclass(frozen=True)
class Converted:
    """A source, converted but not yet written.

    Attributes:
        write: writes it to an open file.
        search, target_met: as in `Outcome`.
    """

    write: Callable[[BinaryIO], object]
    search: str = ""
    target_met: bool = True


class FileWorker:
    """Files and errors of a job, which encoding and decoding have in common; they differ in `convert`."""

    def __call__(self, job: Job) -> Outcome:
        """Write the target, unless a worker that has died since had already written it."""
        search, target_met = "", True
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                if Stamp.of(job.target) == job.before:
                    read = Stamp.of(job.source)
                    converted = self.convert(job.source)
                    if Stamp.of(job.source) != read:  # the target would be newer, and be skipped from then on
                        raise BatchError("it was changed while it was coded: run the same command again")
                    job.target.parent.mkdir(parents=True, exist_ok=True)
                    self.write(job, converted.write)
                    search, target_met = converted.search, converted.target_met
                sizes = job.source.stat().st_size, job.target.stat().st_size
            except Exception as error:  # an unexpected error must not end the batch either
                why = reason(error, job.source)
                return Outcome(job, warnings=_own_warnings(caught), error=why, disk_full=no_space_left(error))
        return Outcome(job, *sizes, warnings=_own_warnings(caught), search=search, target_met=target_met)

    def convert(self, source: Path) -> Converted:
        """Convert a source, without writing it."""
        raise NotImplementedError

    def write(self, job: Job, write: Callable[[BinaryIO], object]) -> None:
        """Write the target, atomically."""
        write_atomically(job.target, write)


@dataclass
class Encoder(FileWorker):
    """Pictures to `.dca` files."""

    settings: Encoding
    codec: Codec = field(init=False)

    def __post_init__(self) -> None:
        from PIL import Image

        from dcacodec.codec.codec import Codec

        Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit is replaced by max_pixels
        self.codec = Codec.load(self.settings.preset, tune=self.settings.tune, device=self.settings.device)

    def convert(self, source: Path) -> Converted:
        """See `FileWorker`."""
        from dcacodec.images.reading import read_picture

        with silent_libraries():
            picture = read_picture(source, self.settings.max_pixels, allow_hdr=self.settings.allow_hdr)
        picture = picture.stripped(self.settings.strip)
        target, effort, keep_hidden = self.settings.target, self.settings.effort, self.settings.keep_hidden
        if target is None:
            data = self.codec.encode(
                picture,
                quality=self.settings.quality,
                effort=effort,
                lossless=self.settings.lossless,
                keep_hidden=keep_hidden,
            )
            return Converted(lambda file: file.write(data))
        from dcacodec.codec.rate_control import encode_to
        from dcacodec.codec.targets import outcome

        result = encode_to(self.codec, picture, target, effort=effort, keep_hidden=keep_hidden)
        search = f"quality {result.quality}: {outcome(target, result, picture)}"
        return Converted(lambda file: file.write(result.data), search, result.target_met)


@dataclass
class Decoder(FileWorker):
    """`.dca` files to pictures. Keeps a codec for each weights file that the inputs need."""

    settings: Decoding
    codecs: dict[bytes, Codec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from dcacodec.coding import best_coder
        from dcacodec.network.device import choose_device

        # What goes wrong here is a matter of the batch, not of its first file.
        choose_device(self.settings.device)
        best_coder()

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

        def write(file: BinaryIO) -> None:
            with silent_libraries():
                write_picture(picture, file, self.settings.format, self.settings.quality)

        return Converted(write)


def _own_warnings(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """The texts of the package's own warnings, without duplicates."""
    return tuple(
        dict.fromkeys(str(each.message) for each in caught if each.category.__module__.startswith("dcacodec."))
    )
