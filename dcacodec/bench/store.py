"""Results as files: all of them as one JSON file, curves in CompressAI's format, CSV, and the journal of a run.

The journal has a JSON object per line, written after each measurement, so that an interrupted run can be resumed.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dcacodec.bench.results import Anchor, Failure, MeasuredCodec, Results, Sample
from dcacodec.errors import BenchError
from dcacodec.files.atomic import append_line, write_atomically
from dcacodec.metrics.curves import Curve

FORMAT: Final = "dcacodec-bench-2"


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8", "replace")))  # file names may not be UTF-8


# -------------------------------------------------------------------------------------------------------- all results


def save_results(results: Results, path: Path) -> None:
    """Write all of the results.

    Raises:
        OSError: the file cannot be written.
    """
    content = {"format": FORMAT, **dataclasses.asdict(results)}
    content["samples"] = [sample_to_json(sample) for sample in results.samples]
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def load_results(path: Path) -> Results:
    """Read what `save_results` wrote.

    Raises:
        BenchError: the file is not a results file.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("it has another format")
        return Results(
            dataset=content["dataset"],
            pictures=tuple(content["pictures"]),
            codecs=tuple(
                MeasuredCodec(**{**codec, "settings": tuple(codec["settings"])}) for codec in content["codecs"]
            ),
            samples=tuple(map(sample_from_json, content["samples"])),
            anchors=tuple(
                Anchor(Curve(curve["name"], tuple(curve["bpp"]), tuple(curve["quality"])), anchor["source"])
                for anchor in content["anchors"]
                for curve in [anchor["curve"]]
            ),
            failures=tuple(Failure(**failure) for failure in content["failures"]),
            machine=content["machine"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BenchError(f"{path} is not a results file: {error}") from error


def sample_to_json(sample: Sample) -> dict[str, Any]:
    """A sample for JSON. Infinity, the PSNR of equal pictures, becomes a string, since JSON does not have it."""
    quality = {
        name: value if value is None or math.isfinite(value) else str(value) for name, value in sample.quality.items()
    }
    return {**dataclasses.asdict(sample), "quality": quality}


def sample_from_json(content: Mapping[str, Any]) -> Sample:
    """The inverse of `sample_to_json`."""
    quality = {name: None if value is None else float(value) for name, value in content["quality"].items()}
    return Sample(**{**content, "quality": quality})


# -------------------------------------------------------------------------------------------- one codec, and one table


def as_compressai(results: Results, codec: MeasuredCodec) -> dict[str, Any]:
    """The curve of a codec in CompressAI's results format, with the other measurements as additional fields.

    Settings at which a picture failed are left out: who reads a curve takes all of its points for means over the same
    pictures.
    """
    means = results.whole(codec.name)
    columns: dict[str, list[float | None]] = {
        "setting": [mean.setting for mean in means],
        "bpp": [mean.bpp for mean in means],
        **{name: [_finite(mean.quality[name]) for mean in means] for name in results.metrics},
        "encoding_time": [mean.encode for mean in means],
        "decoding_time": [mean.decode for mean in means],
    }
    streams = dict.fromkeys(stream for mean in means for stream in mean.streams)
    columns |= {f"bpp_{stream}": [mean.streams.get(stream) for mean in means] for stream in streams}
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    description = (
        f"{codec.label} on {results.dataset}: means over {counted(len(results.pictures))}; bpp of whole "
        f"files, psnr over RGB samples of 8-bit pictures, times in seconds on: {machine}."
    )
    return {
        "name": codec.name,
        "description": description,
        "results": {name: column for name, column in columns.items() if any(value is not None for value in column)},
        **({} if codec.memory is None else {"memory": codec.memory}),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def counted(pictures: int) -> str:
    """A number of pictures, as text."""
    return f"{pictures} picture{'' if pictures == 1 else 's'}"


def as_csv(results: Results) -> str:
    """A CSV table with a row for every picture at every setting. Values that were not measured are empty."""
    streams = list(dict.fromkeys(stream for sample in results.samples for stream in sample.streams))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["picture", "codec", "setting", "width", "height", "bytes", "bpp", *results.metrics,
         "encode_seconds", "decode_seconds", *(f"bytes_{stream}" for stream in streams)]
    )  # fmt: skip
    for one in results.samples:
        writer.writerow(
            [one.picture, one.codec, f"{one.setting:g}", one.width, one.height, one.size, one.bpp,
             *map(one.quality.get, results.metrics),
             one.encode, one.decode, *map(one.streams.get, streams)]
        )  # fmt: skip
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------------------------ journal


class Journal:
    """The measurements so far, by a key that is a digest of everything they depend on.

    Invalid lines are skipped: a run that was killed may leave an incomplete one.
    """

    def __init__(self, path: Path) -> None:
        """Read the journal.

        Raises:
            OSError: it exists, but cannot be read.
        """
        self._path = path
        self._found: dict[str, Any] = {}
        for line in path.read_text("utf-8", "replace").splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
                self._found[entry["key"]] = entry["value"]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def __getitem__(self, key: str) -> Any:
        return self._found[key]

    def get(self, key: str) -> Any:
        """The value of a key, None if there is none."""
        return self._found.get(key)

    def add(self, key: str, value: Any) -> None:
        """Add a value, which must be representable in JSON.

        Raises:
            OSError: it cannot be written.
        """
        append_line(self._path, json.dumps({"key": key, "value": value}, allow_nan=False))
        self._found[key] = value
