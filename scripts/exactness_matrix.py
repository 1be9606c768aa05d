"""Check that every setting decodes the integers that every other setting has encoded.

    PYTHONPATH=.:tests python scripts/exactness_matrix.py --out build/exactness.json
    PYTHONPATH=.:tests python scripts/exactness_matrix.py --python old/bin/python ...

Settings differ in the number of threads, in the libraries and instructions that PyTorch uses, in the layout of the
weights in memory, in how many slices the entropy model works on at a time, in the order in which slices are decoded and
in the entropy coder; each runs in a separate process.
With `--python`, so does another Python, which may have another PyTorch; where there is a GPU, so does that. Every
setting encodes photographs and pictures made to be difficult, and decodes what all settings encoded. The NumPy oracle
of the tests, which shares no code with the network, decodes the files of the tiny network.

Decoded integers (hyper latents, residuals, scale levels, y_hat) are compared by their SHA-256. That they are those of
the encoder is checked by the latent checksums in the file, and by encoding them again, which must give its streams byte
by byte. Standard output gets one JSON object; the exit code is 1 if anything differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np
import torch
from oracle import Oracle
from PIL import Image, ImageDraw
from tiny import WEIGHTS
from torch import Tensor
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.codec.operating_point import OperatingPoint
from dcacodec.codec.selftest import digest_of, slices_of
from dcacodec.codec.slice_coder import SliceCoder
from dcacodec.coding import PythonCoder, best_coder
from dcacodec.errors import DcaError
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.network.context import StepCoder
from dcacodec.weights.reader import read_weights
from dcacodec.weights.registry import by_preset

if TYPE_CHECKING:
    from numpy.typing import NDArray


QUALITIES: Final = (1, 50, 100)
LARGE_NETWORK: Final = ("face", "text", "1 wide")
"""Pictures that the published network codes, too; it is slow."""


@dataclass(frozen=True)
class Setting:
    """The configuration of one process.

    Attributes:
        name: unique.
        threads: of PyTorch.
        environment: variables to set before PyTorch is loaded.
        onednn: whether PyTorch may use oneDNN.
        precision: of `torch.set_float32_matmul_precision`; unless it is "highest", the entropy model runs in float64.
        layout: of matrices in memory: "rows" as they are read, or "columns".
        batched: whether each slice goes through the entropy model as the middle one of three.
        backwards: whether slices are decoded in reverse order.
        coder: "best" or "python".
        device: "cpu" or "cuda".
        python: the interpreter, None for this one.
    """

    name: str
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    onednn: bool = True
    precision: str = "highest"
    layout: str = "rows"
    batched: bool = False
    backwards: bool = False
    coder: str = "best"
    device: str = "cpu"
    python: str | None = None


def settings(pythons: tuple[str, ...]) -> list[Setting]:
    """All settings of this machine."""
    oldest = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    found = [
        Setting("1 thread"),
        Setting("2 threads", threads=2),
        Setting("5 threads", threads=5),
        Setting("no oneDNN", onednn=False),
        Setting("medium precision", precision="medium"),
        Setting("AVX2", environment={"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}),
        Setting("SSE 4 only", environment=oldest),
        Setting("columns, backwards", layout="columns", backwards=True),
        Setting("batches of 3", batched=True),
        Setting("Python coder", coder="python"),
    ]
    found += [Setting(f"Python {number}", python=python) for number, python in enumerate(pythons, 1)]
    if torch.cuda.is_available():
        found.append(Setting("CUDA", device="cuda"))
    return found


def pictures() -> dict[str, NDArray[np.uint8]]:
    """The pictures (height, width, 3) by name."""
    from skimage import data

    draw = np.random.default_rng(1)
    text = Image.new("RGB", (150, 90), "white")
    for line in range(7):
        ImageDraw.Draw(text).text((2, 12 * line), "The quick brown fox 0123456789", "black")
    extreme = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [255, 0, 255]], np.uint8)
    board = np.indices((70, 70)).sum(0) % 2 * 255
    found = {
        "face": data.astronaut()[40:150, 150:290],
        "coffee": data.coffee()[100:228, 200:330],
        "cat": data.chelsea()[60:330, 60:360],  # in slices of 256
        "noise": draw.integers(0, 256, (100, 90, 3)),
        "black": np.zeros((64, 64, 3)),
        "white": np.full((65, 63, 3), 255),
        "text": np.array(text),
        "extreme": extreme[draw.integers(0, 6, (80, 70))],
        "checkerboard": np.repeat(board[..., None], 3, -1),
        "1 wide": draw.integers(0, 256, (300, 1, 3)),
        "1 high": draw.integers(0, 256, (1, 300, 3)),
        "1 pixel": np.array([[[255, 0, 128]]]),
    }
    return {name: np.ascontiguousarray(pixels.astype(np.uint8)) for name, pixels in found.items()}


def jobs() -> Iterator[tuple[str, str, int]]:
    """Network, picture and quality of each file."""
    for name in pictures():
        for quality in QUALITIES:
            yield "tiny", name, quality
            if name in LARGE_NETWORK:
                yield "small", name, quality


def file_name(writer: int, network: str, picture: str, quality: int) -> str:
    return f"{writer}-{network}-{picture.replace(' ', '_')}-{quality}.dca"


# ----------------------------------------------------------------------------------------------- a process of a setting


class BatchedPoint(OperatingPoint):
    """An operating point that passes each slice to the entropy model as the second of a batch of three."""

    def run_steps(self, latents: dict[str, Tensor], size: tuple[int, int], code: StepCoder) -> Tensor:
        def middle(step: int, mean: Tensor, level: Tensor) -> Tensor:
            values = code(step, mean[:, 1:2], level[:, 1:2])
            return torch.cat([-values, values, values.flip(2)], 1)

        three = {letter: torch.cat([-z, z, z.flip(1)]) for letter, z in latents.items()}
        return super().run_steps(three, size, middle)[1:2]


class BatchedCodec(Codec):
    """A codec with such operating points."""

    def at(self, quality: float) -> SliceCoder:
        """See `Codec.at`."""
        return SliceCoder(BatchedPoint.of(self.weights, self.device, quality), self.coder)


def codecs(setting: Setting) -> dict[str, Codec]:
    """The codec of each network."""
    torch.set_num_threads(setting.threads)
    torch.backends.mkldnn.set_flags(setting.onednn)
    torch.set_float32_matmul_precision(setting.precision)
    coder = PythonCoder() if setting.coder == "python" else best_coder()
    published = by_preset("small")
    found = {}
    for name, weights in (("tiny", read_weights(WEIGHTS)), ("small", read_weights(published.path, published.digest))):
        if setting.layout == "columns":
            for parameter in weights.network.entropy.parameters():
                if parameter.dim() == 2:
                    parameter.data = parameter.data.T.contiguous().T
        kind = BatchedCodec if setting.batched else Codec
        found[name] = kind(weights, torch.device(setting.device), coder)
    return found


def work(setting: Setting, number: int, folder: Path, writers: int) -> dict[str, Any]:
    """Encode all pictures, or decode the files of writers, if there are any."""
    coders = codecs(setting)
    result: dict[str, Any] = {"torch": torch.__version__}
    if not writers:
        sources = pictures()
        for network, name, quality in jobs():
            slices = 8 if name == "cat" else None
            data = coders[network].encode(Picture(sources[name]), quality=quality, slice_log2=slices, lossless=False)
            (folder / file_name(number, network, name, quality)).write_bytes(data)
        return result
    for writer in range(writers):
        for network, name, quality in jobs():
            path = folder / file_name(writer, network, name, quality)
            try:
                decoded = slices_of(coders[network], path.read_bytes(), setting.backwards)
                result[path.name] = digest_of(decoded)[1]
            except DcaError as error:
                result[path.name] = f"{type(error).__name__}: {error}"
    return result


def process(setting: Setting, number: int, folder: Path, writers: int) -> dict[str, Any]:
    """Run `work` in a separate process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(setting.threads), **setting.environment}
    given = json.dumps([asdict(setting), number, str(folder), writers])
    command = [setting.python or sys.executable, str(Path(__file__).resolve()), "--work", given]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise click.ClickException(f"{setting.name}: {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def by_oracle(folder: Path, names: list[str]) -> dict[str, str]:
    """The digests that the oracle computes for files of the tiny network."""
    oracle, found = Oracle(WEIGHTS.read_bytes()), {}
    for name in tqdm(names, unit="file", desc="oracle", leave=False):
        data = (folder / name).read_bytes()
        decoded = oracle.decode(data)
        same = all(
            slice_.checksum() == coded.latent_crc for slice_, coded in zip(decoded, parse(data).slices, strict=True)
        )
        found[name] = digest_of_oracle(decoded) if same else "another latent checksum"
    return found


def digest_of_oracle(decoded: list[Any]) -> str:
    """The same as `digest_of` for the integers of the oracle."""
    import hashlib

    digest = hashlib.sha256()
    for part in decoded:
        hyper = [part.hyper[letter] for letter in "RGL" if letter in part.hyper]
        for array in (*hyper, *part.steps, *part.levels, part.latent):
            digest.update(array.astype("<i4").tobytes())
    return digest.hexdigest()


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="File to write the JSON to, too.")
@click.option("--python", "pythons", multiple=True, metavar="PATH", help="Another Python, with another PyTorch.")
@click.option("--oracle-every", default=1, show_default=True, help="The oracle reads each file, each second one...")
@click.option("--work", "given", hidden=True)
def main(out: Path | None, pythons: tuple[str, ...], oracle_every: int, given: str | None) -> None:
    """Run the matrix."""
    if given is not None:
        fields, number, folder_name, writers = json.loads(given)
        click.echo(json.dumps(work(Setting(**fields), number, Path(folder_name), writers)))
        return
    start, ways = time.perf_counter(), settings(pythons)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tqdm(total=2 * len(ways), unit="process") as bar:
            versions, readers = [], []
            for number, setting in enumerate(ways):
                versions.append(process(setting, number, folder, 0)["torch"])
                bar.update()
            for number, setting in enumerate(ways):
                readers.append(process(setting, number, folder, len(ways)))
                bar.update()
        files = sorted(path.name for path in folder.iterdir())
        tiny = [each for each in files if "-tiny-" in each][::oracle_every]
        oracle = by_oracle(folder, tiny)
        distinct = len({(folder / each).read_bytes() for each in files})
    differing = []
    for each in files:
        found = {setting.name: reader[each] for setting, reader in zip(ways, readers, strict=True)}
        if each in oracle:
            found["oracle"] = oracle[each]
        if len(set(found.values())) > 1 or not all(len(digest) == 64 for digest in found.values()):
            differing.append({"file": each, "writer": ways[int(each.split("-")[0])].name, "found": found})
    report = {
        "settings": [
            {**asdict(setting), "python": setting.python is not None, "torch": version}
            for setting, version in zip(ways, versions, strict=True)
        ],
        "pictures": list(pictures()),
        "qualities": list(QUALITIES),
        "files": len(files),
        "different_files": distinct,
        "decodings": len(files) * len(ways),
        "oracle_decodings": len(oracle),
        "cuda": torch.cuda.is_available(),
        "differing": differing,
        "seconds": round(time.perf_counter() - start),
    }
    text = json.dumps(report, indent=1)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", "utf-8")
    click.echo(text)
    raise SystemExit(1 if differing else 0)


if __name__ == "__main__":
    main()
