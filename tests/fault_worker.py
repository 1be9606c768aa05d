"""Processes that are killed, starved or crowded, for the tests of faults. Prints one JSON object.

    PYTHONPATH=.:tests python tests/fault_worker.py kill FOLDER COUNT
    PYTHONPATH=.:tests python tests/fault_worker.py crowd FOLDER COUNT
    PYTHONPATH=.:tests python tests/fault_worker.py starve FOLDER MODELS LIMIT...
    PYTHONPATH=.:tests python tests/fault_worker.py leak COUNT
    PYTHONPATH=.:tests python tests/fault_worker.py cli MODELS ARGUMENT...

PyTorch is loaded once; each victim is a fork of the process that has it. `cli` is the command with other weights.
"""

import gc
import io
import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from PIL import Image
from tiny import WEIGHTS, photo

from dcacodec.cli import app as cli_module
from dcacodec.codec.codec import Codec
from dcacodec.coding import PythonCoder, best_coder
from dcacodec.files.atomic import write_atomically
from dcacodec.images.picture import Picture
from dcacodec.images.writing import write_picture
from dcacodec.weights import registry as zoo
from dcacodec.weights.reader import read_weights


def codec() -> Codec:
    return Codec(read_weights(WEIGHTS), coder=PythonCoder())


def child(work: Callable[[], object]) -> int:
    """A fork that does the work and ends; its number."""
    number = os.fork()
    if number == 0:
        try:
            work()
        finally:
            os._exit(0)
    return number


def png(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    write_picture(picture, buffer, "png")
    return buffer.getvalue()


def kill(folder: Path, count: int) -> dict[str, Any]:
    """Kill encoders and decoders at moments drawn at random; tell what they left under the names they write to."""
    coder, draw = codec(), random.Random(1)
    pictures = [Picture(photo(40 + 9 * seed, 50, seed)) for seed in range(4)]
    files = [coder.encode(picture, quality=80) for picture in pictures]
    # Larger than a pipe or page, so that a write can be interrupted in the middle.
    sheets = [png(coder.decode(data)) * 40 for data in files]
    coded, decoded = folder / "coded.dca", folder / "decoded.png"
    states: Counter[str] = Counter()

    def work() -> None:
        while True:
            for picture, data in zip(pictures, files, strict=True):
                write_atomically(coded, lambda file, picture=picture: file.write(coder.encode(picture, quality=80)))  # type: ignore[misc]
                back = png(coder.decode(data))
                write_atomically(decoded, lambda file, back=back: [file.write(back) for _ in range(40)])  # type: ignore[misc]

    def state(path: Path, whole: list[bytes]) -> str:
        if not path.exists():
            return "absent"
        content = path.read_bytes()
        return "old" if content == b"old" else "whole" if content in whole else "damaged"

    for turn in range(count):
        for path in (coded, decoded):
            path.unlink(missing_ok=True)
            if turn % 2:
                path.write_bytes(b"old")
        number = child(work)
        time.sleep(draw.uniform(0.0, 0.25))
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        for path, whole in ((coded, files), (decoded, sheets)):
            states[state(path, whole)] += 1
    left = {path.name: state(path, files + sheets) for path in folder.iterdir() if path not in (coded, decoded)}
    return {"states": states, "left": left}


def crowd(folder: Path, count: int) -> dict[str, Any]:
    """Two encoders write different pictures to one path, as fast as they can; a third process looks on."""
    coder, target = codec(), folder / "out.dca"
    pictures = [Picture(photo(60, 50, seed)) for seed in range(2)]
    files = [coder.encode(picture, quality=80) for picture in pictures]
    target.write_bytes(files[0])

    def work(index: int) -> None:
        for _ in range(count):
            write_atomically(target, lambda file: file.write(coder.encode(pictures[index], quality=80)))

    workers = [child(lambda: work(0)), child(lambda: work(1))]
    seen: Counter[str] = Counter()
    while workers:
        content = target.read_bytes()
        seen[str(files.index(content)) if content in files else "damaged"] += 1
        workers = [number for number in workers if os.waitpid(number, os.WNOHANG) == (0, 0)]
    return {"seen": seen, "left": sorted(path.name for path in folder.iterdir())}


def command(models: Path, arguments: list[str]) -> NoReturn:
    """The command with these weights."""
    vars(zoo)["models_dir"] = lambda: models
    sys.argv = ["dcacodec", *arguments]
    cli_module.main()
    raise AssertionError("the command exits")


def starve(folder: Path, models: Path, limits: Sequence[int]) -> list[dict[str, Any]]:
    """Encode and decode a picture; how each command ended.

    The limits are in MiB of address space, beyond that which the process has when it begins.
    """
    vars(zoo)["models_dir"] = lambda: models
    best_coder()  # that it is found is not what is tried here
    source, coded = folder / "in.png", folder / "in.dca"
    pixels = np.tile(photo(200, 200), (4, 4, 1))
    Image.fromarray(pixels).save(source)
    number = os.fork()  # so that what encoding takes and gives back is no memory that is left to the commands
    if number == 0:
        coded.write_bytes(codec().encode(Picture(pixels), quality=50))
        os._exit(0)
    os.waitpid(number, 0)
    runs = []
    for limit in limits:
        for arguments in (
            ["encode", str(source), str(folder / "out.dca")],
            ["decode", str(coded), str(folder / "out.png")],
        ):
            target = Path(arguments[-1])
            target.write_bytes(b"old")
            reading, writing = os.pipe()
            number = os.fork()
            if number == 0:
                os.dup2(writing, 2)
                pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
                space = pages * resource.getpagesize() + (limit << 20)
                resource.setrlimit(resource.RLIMIT_AS, (space, space))
                command(models, [arguments[0], "--quiet", "--device", "cpu", *arguments[1:]])
            os.close(writing)
            with os.fdopen(reading) as pipe:
                text = pipe.read()
            status = os.waitpid(number, 0)[1]
            content = target.read_bytes()
            target.unlink()
            runs.append(
                {
                    "command": arguments[0],
                    "limit": limit,
                    "exit": os.waitstatus_to_exitcode(status),
                    "stderr": text,
                    "old": content == b"old",
                    "left": sorted(path.name for path in folder.iterdir()),
                }
            )
    return runs


def leak(count: int) -> dict[str, Any]:
    """Encode and decode again and again; how much the process has grown."""
    coder = codec()
    pictures = [Picture(photo(20 + 8 * seed, 40, seed)) for seed in range(5)]

    def turn(index: int) -> None:
        data = coder.encode(pictures[index % 5], quality=1 + index % 100)
        if index % 5 == 0:
            coder.decode(data)

    def facts() -> dict[str, int]:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return {
            "resident": pages * resource.getpagesize(),
            "objects": len(gc.get_objects()),
            "files": len(os.listdir("/proc/self/fd")),
            "threads": len(os.listdir("/proc/self/task")),
        }

    for index in range(20):
        turn(index)
    before = facts()
    for index in range(count):
        turn(index)
    after = facts()
    return {"encodes": count, **{name: after[name] - before[name] for name in before}}


def main() -> None:
    torch.set_num_threads(1)
    what, *rest = sys.argv[1:]
    if what == "cli":
        command(Path(rest[0]), rest[1:])
    if what == "kill":
        result: Any = kill(Path(rest[0]), int(rest[1]))
    elif what == "crowd":
        result = crowd(Path(rest[0]), int(rest[1]))
    elif what == "starve":
        result = starve(Path(rest[0]), Path(rest[1]), [int(limit) for limit in rest[2:]])
    else:
        result = leak(int(rest[0]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
