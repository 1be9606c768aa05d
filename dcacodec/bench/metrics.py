"""The quality metrics of benchmarks, by name. Their packages are imported only when they are used."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

import dcacodec.metrics
from dcacodec.errors import BenchError
from dcacodec.images.picture import Pixels
from dcacodec.metrics.arrays import of_arrays
from dcacodec.metrics.curves import ms_ssim_decibels
from dcacodec.metrics.psnr import check_pair, psnr


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:8]


@dataclass(frozen=True)
class Metric:
    """A quality metric.

    Attributes:
        title: its name in texts.
        convention: a sentence about what exactly is measured.
        measure: (height, width, 3) reference and decoded picture -> the value; None if they are too small.
        digits: decimal places in tables.
        scale: unit of `rising`, in texts.
        rising: converts a value to the scale of curves and BD-rates, on which higher is better.
        package: required package on PyPI.
        program: required program.
    """

    title: str
    convention: str
    measure: Callable[[Pixels, Pixels], float | None]
    digits: int
    scale: str
    rising: Callable[[float], float] = float
    package: str | None = None
    program: str | None = None

    def missing(self) -> str | None:
        """The missing package or program, None if there is none."""
        if self.package is not None and importlib.util.find_spec(_MODULES.get(self.package, self.package)) is None:
            return f"the package {self.package}"
        if self.program is not None and shutil.which(self.program) is None:
            return f"the program {self.program}"
        return None

    @property
    def is_outside(self) -> bool:
        """Whether it is computed by another package or program."""
        return self.package is not None or self.program is not None

    def version(self) -> str:
        """The version of the package that computes it, or digits of the SHA-256 of the program or of our modules."""
        if self.package is not None:
            return version_of(self.package)
        if self.program is None:
            return _digest(*sorted(Path(dcacodec.metrics.__path__[0]).glob("*.py")))
        path = shutil.which(self.program)
        return _digest(Path(path)) if path else "not installed"


_MODULES: Final = {"cvvdp": "pycvvdp"}
"""Names of modules that differ from those of their packages."""


_BUTTERAUGLI_SIDE: Final = 8


def _butteraugli(reference: Pixels, decoded: Pixels) -> float | None:
    check_pair(reference, decoded)
    if min(reference.shape[:2]) < _BUTTERAUGLI_SIDE:
        return None
    from PIL import Image

    with tempfile.TemporaryDirectory(prefix="dcacodec-") as folder:
        paths = [Path(folder, name) for name in ("reference.ppm", "decoded.ppm")]
        for path, pixels in zip(paths, (reference, decoded), strict=True):
            Image.fromarray(pixels).save(path)
        done = subprocess.run(["butteraugli_main", *paths], capture_output=True, text=True, check=False)
    found = [line.removeprefix("3-norm:") for line in done.stdout.splitlines() if line.startswith("3-norm:")]
    if done.returncode or len(found) != 1:
        raise BenchError(f"butteraugli_main ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return float(found[0])


_CVVDP_SIDE: Final = 2


@cache
def _cvvdp_model() -> Any:
    """ColorVideoVDP (Mantiuk et al., SIGGRAPH 2024, doi:10.1145/3658144), by the authors' package, on the CPU.

    Its display `standard_fhd` is a 24-inch monitor of 1920x1080 pixels and 200 cd/m^2, contrast 1000:1, in an office of
    250 lux, seen from 0.6 m, twice its height (about 38 pixels per degree).
    """
    import pycvvdp
    import torch

    return pycvvdp.cvvdp(display_name="standard_fhd", quiet=True, device=torch.device("cpu"))


def _cvvdp(reference: Pixels, decoded: Pixels) -> float | None:
    """Quality in JOD (just objectionable differences): 10 for equal pictures, falling, possibly below 0."""
    check_pair(reference, decoded)
    if min(reference.shape[:2]) < _CVVDP_SIDE:
        return None
    return float(_cvvdp_model().predict(decoded, reference, dim_order="HWC")[0])


METRICS: Final[Mapping[str, Metric]] = {
    "psnr": Metric(
        "PSNR",
        "from the mean squared error over all RGB samples of the decoded 8-bit picture",
        psnr,
        3,
        "dB",
    ),
    "ms-ssim": Metric(
        "MS-SSIM",
        "over RGB, with sides of 161 pixels or more; curves take -10 log10(1 - MS-SSIM) of the mean, in dB",
        partial(of_arrays, "ms_ssim"),
        5,
        "dB",
        ms_ssim_decibels,
    ),
    "ssimulacra2": Metric(
        "SSIMULACRA 2",
        "version 2.1 of the reference program's algorithm; the blur replicates the picture's border",
        partial(of_arrays, "ssimulacra2"),
        2,
        "",
    ),
    "butteraugli": Metric(
        "Butteraugli",
        "the 3-norm that libjxl's butteraugli_main gives, which falls with quality; curves take its negative",
        _butteraugli,
        3,
        "negated",
        lambda value: -value,
        program="butteraugli_main",
    ),
    "cvvdp": Metric(
        "ColorVideoVDP",
        "in JOD, as the package cvvdp gives it for its display standard_fhd (24 inches, 200 cd/m^2, seen from 0.6 m)",
        _cvvdp,
        3,
        "JOD",
        package="cvvdp",
    ),
}
"""By name, in the order of tables."""


def installed_metrics() -> tuple[str, ...]:
    """Names of the metrics whose packages and programs are installed."""
    return tuple(name for name, metric in METRICS.items() if metric.missing() is None)
