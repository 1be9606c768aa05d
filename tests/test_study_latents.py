"""The study: the cache of latents, and the transforms that make them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from study_runs import CPU, KEY, OPTIONS, VALID
from tiny import TINY, photo

from dcacodec.errors import WeightsError
from dcacodec.network.dca import DCA
from dcacodec.training.loop import VALIDATION_QUALITIES
from dcacodec.training.trainer import Trainer
from dcacodec.weights.export import export
from research.study.latents import CACHED_CROP, Latents, digest, load_frozen, read_latents, save_latents

pytestmark = pytest.mark.usefixtures("one_thread", "_on_the_processor")


def same(left: Latents, right: Latents) -> bool:
    return (
        torch.equal(left.train, right.train)
        and torch.equal(left.position, right.position)
        and left.valid.keys() == right.valid.keys()
        and all(
            len(left.valid[q]) == len(right.valid[q]) and all(map(torch.equal, left.valid[q], right.valid[q]))
            for q in left.valid
        )
    )


def test_latents_are_what_the_analysis_makes(frozen: DCA, latents: Latents) -> None:
    side = CACHED_CROP // 16
    assert (latents.train.shape, latents.train.dtype) == ((5, side, side, TINY.latent), torch.float16)
    assert (latents.position.shape, latents.position.dtype) == ((5,), torch.float32)
    assert len(set(latents.position.tolist())) == 5
    assert list(latents.valid) == list(VALIDATION_QUALITIES)
    for quality, each in latents.valid.items():
        at = torch.tensor([TINY.anchor_position(quality)])
        for picture, y in zip(VALID, each, strict=True):
            height, width = (64 * (length // 64) for length in picture.shape[:2])
            x = torch.from_numpy(picture[:height, :width])[None].float() / 255
            with torch.no_grad():
                assert torch.equal(y, frozen.latent(x, at)[0].half())


def test_latents_are_kept(latents: Latents, tmp_path: Path) -> None:
    path = tmp_path / "latents.safetensors"
    assert read_latents(path, KEY, len(VALID)) is None
    save_latents(path, latents, KEY)
    kept = read_latents(path, KEY, len(VALID))
    assert kept is not None
    assert same(kept, latents)
    for other in ({"source": "1" * 64}, {"sources": "2" * 64}, {"crops": 6}, {"pictures": "1" * 64}, {"seed": 1}):
        assert read_latents(path, replace(KEY, **other), len(VALID)) is None
    with pytest.raises(WeightsError, match=r"damaged; delete it to have the latents made again$"):
        read_latents(path, KEY, len(VALID) + 1)
    for content in (path.read_bytes()[:-10], b"", b"text" * 50):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"damaged; delete it to have the latents made again$"):
            read_latents(path, KEY, len(VALID))
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError) as error:
        read_latents(path, KEY, len(VALID))
    assert error.value.filename == str(path)


def test_digests_tell_pictures_apart() -> None:
    array = photo(4, 6)
    assert digest([array]) == digest([array.copy()])
    others = [[array[:, ::-1]], [array.reshape(6, 4, 3)], [array, array], []]
    assert len({digest([array]), *(digest([np.ascontiguousarray(a) for a in other]) for other in others)}) == 5


@pytest.mark.slow
def test_transforms_come_from_a_checkpoint_or_from_published_weights(frozen: DCA, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(export(frozen))
    published = load_frozen(path)
    trainer = Trainer(replace(OPTIONS, steps=1), tmp_path, TINY, CPU)
    trainer.average.load_state_dict(frozen.state_dict())
    trainer.save()
    trained = load_frozen(tmp_path / "checkpoint.pt")
    for name, value in frozen.state_dict().items():
        assert torch.equal(trained.state_dict()[name], value), name
        near = published.state_dict()[name]
        assert near.dtype == torch.float32
        assert torch.allclose(near, value, rtol=2**-8, atol=2**-7), name
    (tmp_path / "text.pt").write_bytes(b"text")
    with pytest.raises(WeightsError):
        load_frozen(tmp_path / "text.pt")
