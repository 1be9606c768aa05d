"""Make the golden files of `dcacodec selftest`, in dcacodec/golden/.

    PYTHONPATH=. python scripts/selftest_files.py

Only missing files are made, and no file is ever replaced, since every later release must still decode it. Those of the
tiny network are copies of test files. The others are encoded with the current weights of each preset and tuning, where
these have no file yet; those of weights that no release has had are removed by hand, with their entries in the index.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from skimage import data

from dcacodec.codec.codec import Codec
from dcacodec.codec.selftest import GOLDEN, TINY, digest_of, means_of, slices_of
from dcacodec.files.paths import models_dir
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.weights.reader import read_weights
from dcacodec.weights.registry import read_index

TESTS = Path(__file__).resolve().parent.parent / "tests" / "golden"
COPIES = ("17x5-RGBA-q50.dca", "130x70-L-q50.dca", "300x270-RGB-q50-n8.dca", "300x270-RGB-q20-n8.dca")


def pictures() -> dict[str, tuple[Picture, int]]:
    """Parts of photographs of scikit-image, in the public domain: name, picture and quality."""
    face, cat = data.astronaut()[60:170, 150:290], data.chelsea()[90:160, 120:230]
    gray = np.repeat(cat[..., 1:2], 3, -1)
    return {
        "astronaut": (Picture(np.ascontiguousarray(face)), 60),
        "cat": (Picture(gray, gray=True), 25),
    }


def facts(name: str, codec: Codec) -> dict[str, Any]:
    """What is recorded of a file."""
    content = (GOLDEN / name).read_bytes()
    count, digest = digest_of(slices_of(codec, content))
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "weights": parse(content).header.fingerprint.hex(),
        "integers": count,
        "digest": digest,
        "means": means_of(codec.decode(content).pixels),
    }


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    index = GOLDEN / "index.json"
    listing: dict[str, Any] = json.loads(index.read_text("utf-8")) if index.exists() else {}
    for name in (TINY, *COPIES):
        if not (GOLDEN / name).exists():
            shutil.copyfile(TESTS / name, GOLDEN / name)
    tiny = Codec(read_weights(GOLDEN / TINY))
    for name in COPIES:
        listing.setdefault(name, facts(name, tiny))
    weights = read_index(models_dir())
    for fingerprint in (each for tunings in weights.presets.values() for each in tunings.values()):
        if any(each["weights"] == fingerprint for each in listing.values()):
            continue
        published = Codec.from_published(weights.files[fingerprint], device="cpu")
        for title, (picture, quality) in pictures().items():
            name = f"{title}-{fingerprint}-q{quality}.dca"
            (GOLDEN / name).write_bytes(published.encode(picture, quality=quality, lossless=False))
            listing[name] = facts(name, published)
    index.write_text(json.dumps(listing, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
