"""Decodes or encodes files in a process whose memory is limited, and prints as JSON what came of each.

    PYTHONPATH=.:tests python tests/attack_worker.py MODELS FOLDER FILE...

MODELS is a folder of published weights. Of each file: what the API and what the command came to, the values that the
entropy coder was asked for, and by how many bytes the process has grown since it decoded its first, valid file.
"""

import json
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner
from tiny import GOLDEN

from dcacodec.cli.app import cli
from dcacodec.codec.codec import Codec
from dcacodec.coding import Coder, best_coder
from dcacodec.coding.arithmetic_coder import Integers
from dcacodec.errors import DcaError
from dcacodec.images.reading import read_picture
from dcacodec.weights import registry as zoo

HEADROOM = 1 << 30
"""Bytes of address space that there are besides those that a sound file takes: the samples of the largest picture that
the default limit allows are half of it."""


class CountingCoder:
    """A coder that counts the values it is asked for."""

    name = "counting"

    def __init__(self, coder: Coder) -> None:
        self._coder = coder
        self.values = 0

    def encode(self, cdf: Integers, rows: Integers, symbols: Integers) -> bytes:
        return self._coder.encode(cdf, rows, symbols)

    def decode(self, cdf: Integers, rows: Integers, data: bytes) -> Any:
        self.values += rows.size
        return self._coder.decode(cdf, rows, data)


def main() -> None:
    models, folder, *names = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    vars(zoo)["models_dir"] = lambda: Path(models)
    counting = CountingCoder(best_coder())
    codec = Codec(Codec.load("small", device="cpu").weights, coder=counting)
    target = Path(folder, "out")

    def judge(path: Path) -> dict[str, Any]:
        counting.values = 0
        try:
            if path.suffix == ".dca":
                codec.decode(path.read_bytes())
            else:
                with open(path, "rb") as file:
                    read_picture(file)
            outcome = "none, decodes"
        except (DcaError, MemoryError) as error:
            outcome = type(error).__name__
        out = target.with_suffix(".png" if path.suffix == ".dca" else ".dca")
        command = ["decode" if path.suffix == ".dca" else "encode", "--quiet", "--device", "cpu", str(path), str(out)]
        result = CliRunner().invoke(cli, command, prog_name="dcacodec")
        left = [each.name for each in Path(folder).iterdir()]
        out.unlink(missing_ok=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {
            "api": outcome,
            "exit": result.exit_code,
            "stdout": result.stdout,
            "stderr": result.stderr,
            "left": left,
            "values": counting.values,
            "peak": peak,
        }

    first = judge(GOLDEN / "17x5-RGBA-q50.dca")
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    found = {name: judge(Path(name)) for name in names}
    for each in found.values():
        each["growth"] = each.pop("peak") - first["peak"]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
