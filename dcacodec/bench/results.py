"""The results of a benchmark, as plain data. No torch here.

::

    datasets --+                        +--> table on screen
    codecs   --+--> Sample, memory -----+--> JSON, CSV
    anchors  --+    (Results)           +--> plots, HTML page
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from dcacodec.bench.metrics import METRICS
from dcacodec.metrics.curves import Curve


@dataclass(frozen=True)
class Sample:
    """One picture, coded by one codec at one setting.

    Attributes:
        picture: its name within the dataset.
        codec: name of the codec.
        setting: of the codec, usually its quality.
        width, height: pixels.
        size: bytes of the file.
        quality: by name of the metric, see `METRICS`; None where the picture is too small for it.
        encode, decode: seconds of wall time, the median of the repetitions, models loaded before.
        streams: bytes by stream, with "header" for the rest; empty if the codec does not report streams.
    """

    picture: str
    codec: str
    setting: float
    width: int
    height: int
    size: int
    quality: Mapping[str, float | None]
    encode: float
    decode: float
    streams: Mapping[str, int] = field(default_factory=dict)

    @property
    def bpp(self) -> float:
        """Bits of the file per pixel."""
        return self.size * 8 / (self.width * self.height)


@dataclass(frozen=True)
class Mean:
    """One codec at one setting: the means of the pictures' own values, field by field as in `Sample`.

    Attributes:
        setting: of the codec.
        pictures: number of pictures.
        bpp, encode, decode: as in `Sample`.
        quality: by name of the metric; None unless every picture has a value.
        streams: bits per pixel by stream.
    """

    setting: float
    pictures: int
    bpp: float
    quality: Mapping[str, float | None]
    encode: float
    decode: float
    streams: Mapping[str, float]

    @staticmethod
    def of(samples: Sequence[Sample]) -> Mean:
        """The means of one codec's samples at one setting, at least one."""

        def known(values: Sequence[float | None]) -> float | None:
            there = [value for value in values if value is not None]
            return fmean(there) if len(there) == len(values) else None

        return Mean(
            setting=samples[0].setting,
            pictures=len(samples),
            bpp=fmean(sample.bpp for sample in samples),
            quality={name: known([sample.quality[name] for sample in samples]) for name in samples[0].quality},
            encode=fmean(sample.encode for sample in samples),
            decode=fmean(sample.decode for sample in samples),
            streams={
                stream: fmean(sample.streams.get(stream, 0) * 8 / (sample.width * sample.height) for sample in samples)
                for stream in dict.fromkeys(stream for sample in samples for stream in sample.streams)
            },
        )


@dataclass(frozen=True)
class MeasuredCodec:
    """A codec that was measured.

    Attributes:
        name: short and unique: "dcacodec", "webp".
        label: description, such as "dcacodec small-0318394c" or "WebP (libwebp 1.6)".
        settings: those measured, from the smallest files to the largest.
        memory: peak bytes of a fresh process that codes and decodes one picture, less what it holds before; None if not
            measured.
    """

    name: str
    label: str
    settings: tuple[float, ...]
    memory: int | None = None


@dataclass(frozen=True)
class Anchor:
    """A published rate-distortion curve.

    Attributes:
        curve: named after it ("vtm").
        source: description of where the figures come from.
    """

    curve: Curve
    source: str


@dataclass(frozen=True)
class Failure:
    """A picture that a codec could not code."""

    codec: str
    picture: str
    setting: float
    reason: str


@dataclass(frozen=True)
class Results:
    """All of one benchmark.

    Attributes:
        dataset: its name, or what the user called it.
        pictures: names of the pictures, in order.
        codecs: those measured; the first is compared with all others.
        samples: every picture at every setting that worked.
        anchors: published curves to compare with.
        failures: what did not work.
        machine: what it ran on: processor, cores and threads used, versions of Python, torch, Pillow and the metrics.
    """

    dataset: str
    pictures: tuple[str, ...]
    codecs: tuple[MeasuredCodec, ...]
    samples: tuple[Sample, ...]
    anchors: tuple[Anchor, ...] = ()
    failures: tuple[Failure, ...] = ()
    machine: Mapping[str, str] = field(default_factory=dict)

    def means(self, codec: str) -> tuple[Mean, ...]:
        """Means of the codec of this name, in the order of its settings; without those at which nothing worked."""
        (settings,) = (each.settings for each in self.codecs if each.name == codec)
        groups: dict[float, list[Sample]] = {setting: [] for setting in settings}
        for sample in self.samples:
            if sample.codec == codec:
                groups[sample.setting].append(sample)
        return tuple(Mean.of(group) for group in groups.values() if group)

    def whole(self, codec: str) -> tuple[Mean, ...]:
        """Those of `means` that are over every picture: means over fewer cannot be compared with other codecs'."""
        return tuple(mean for mean in self.means(codec) if mean.pictures == len(self.pictures))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of those that were measured, in the order of `METRICS`."""
        measured = {name for sample in self.samples for name in sample.quality}
        return tuple(name for name in METRICS if name in measured)

    def curve(self, codec: str, metric: str = "psnr") -> Curve:
        """The rate-distortion curve of the means over every picture.

        Raises:
            ValueError: there is none, see `Curve`.
        """
        means, measure = self.whole(codec), METRICS[metric]
        values = [mean.quality[metric] for mean in means]
        if None in values:
            raise ValueError(f"{codec}: pictures are too small for {measure.title}")
        return Curve(
            codec,
            tuple(mean.bpp for mean in means),
            tuple(measure.rising(value) for value in values if value is not None),
            measure.title,
        )
