"""The codec as a model with the interface of CompressAI (https://github.com/InterDigitalInc/CompressAI).

::

    x (B, 3, H, W) in 0..1 -- forward --> {"x_hat": (B, 3, H, W), "likelihoods": {stream: (B, ...)}}
                           -- compress --> {"strings": [[file, ...]], "shape": (H/64, W/64)}
    strings, shape -- decompress --> {"x_hat": (B, 3, H, W)}

CompressAI itself is not needed. The strings of its own models are bare streams; here a string is a complete `.dca`
file, so rates include its header and checksums, about 35 bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dcacodec.codec import defaults
from dcacodec.codec.codec import Codec
from dcacodec.errors import ImageError
from dcacodec.format.quality import nearest_quality
from dcacodec.images.any_image import picture_of
from dcacodec.network.config import REGIONAL_STRIDE, Tuning
from dcacodec.network.dca import DCA
from dcacodec.weights.reader import Weights, parse_weights, read_weights
from dcacodec.weights.registry import by_preset


class CompressionModel(nn.Module):
    """A network with the interface of CompressAI's models, at one quality at a time.

    `forward` runs the network in floating point, and can be trained; `compress` and `decompress` use its fixed-point
    form, which `update` makes: it has to be called whenever parameters have changed. Files are usually slightly smaller
    than estimated, because elements of small scale are skipped and the tables of published weights are fitted to data.

    >>> import torch
    >>> from dcacodec.compressai_model import CompressionModel
    >>> model = CompressionModel.load("small", quality=50).eval()
    >>> x = torch.rand(1, 3, 64, 128)
    >>> coded = model.compress(x)
    >>> coded["shape"]
    torch.Size([1, 2])
    >>> model.decompress(coded["strings"], coded["shape"])["x_hat"].shape
    torch.Size([1, 3, 64, 128])

    Attributes:
        network: the network in floating point.
        bottleneck: has one parameter, "quantiles", because CompressAI's trainer needs a second optimiser for parameters
            of this name; nothing depends on it.
    """

    def __init__(self, network: DCA, quality: float = defaults.QUALITY) -> None:
        """A model of a network in floating point. Call `update` before `compress`.

        Raises:
            ValueError: the quality is out of range.
            TypeError: it is not a number.
        """
        super().__init__()
        self.network = network
        self.quality = quality
        self.bottleneck = nn.ParameterDict({"quantiles": torch.zeros(1, dtype=torch.float32, device="cpu")})
        self._weights: Weights | None = None
        self._coded_state: dict[str, Tensor] = {}

    @classmethod
    def load(
        cls, preset: str = defaults.PRESET, quality: float = defaults.QUALITY, *, tune: Tuning | None = "psnr"
    ) -> CompressionModel:
        """The published model of a preset and tuning, on the CPU.

        The tuning is that of the PSNR unless another is given, since CompressAI compares models by it.

        Raises:
            WeightsError: its weights are missing or damaged.
            ValueError: the quality is out of range.
            TypeError: it is not a number.
        """
        published = by_preset(preset, tune)
        return cls.of_weights(read_weights(published.path, published.digest), quality)

    @classmethod
    def of_weights(cls, weights: Weights, quality: float = defaults.QUALITY) -> CompressionModel:
        """The model of published weights; it compresses to the same files as `Codec`."""
        model = cls(copy.deepcopy(weights.floating_point()).requires_grad_(True), quality)
        model._take(weights)
        return model

    @property
    def quality(self) -> float:
        """1 to 100, in tenths. It may be set at any time, and is rounded to tenths then.

        Raises:
            ValueError: the new quality is out of range; TypeError: it is not a number.
        """
        return self._quality

    @quality.setter
    def quality(self, quality: float) -> None:
        self._quality = nearest_quality(quality)

    def update(self, *arguments: object, **options: object) -> bool:
        """Make `compress` and `decompress` use the current network. They cannot decompress earlier files afterwards.

        The arguments of CompressAI's models (a table of scales, `force`) are accepted and ignored.

        Returns:
            Whether an update was necessary: the network has changed, or this is the first call.

        Raises:
            WeightsError: a weight does not fit its fixed-point format.
        """
        if self._is_current():
            return False
        from dcacodec.weights.export import export

        self._take(parse_weights(export(self.network), "the model"))
        return True

    # What CompressAI's tools call

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Estimate rate and reconstruction.

        Args:
            x: (B, 3, H, W) in 0..1, sides multiples of 64.

        Returns:
            "x_hat": the reconstruction (B, 3, H, W), not clipped. "likelihoods": by stream ("z_r", "z_g", "z_l", "y_1"
            to "y_4"), those of its elements (B, ...), at least 2**-24. In training mode, those of noisy values.

        Raises:
            ValueError: x has another shape.
        """
        self._check(x)
        picture, position = x.permute(0, 2, 3, 1).float(), self._position().to(x.device).expand(x.shape[0])
        y, hyper = self.network.analyse(picture, position)
        rate = self.network.estimate_rate(y, hyper, position)
        x_hat = self.network.synthesise(rate.y_hat, position).permute(0, 3, 1, 2)
        return {"x_hat": x_hat, "likelihoods": {name: torch.exp2(-bits) for name, bits in rate.elements.items()}}

    @torch.no_grad()
    def compress(self, x: Tensor) -> dict[str, Any]:
        """Encode pictures.

        Args:
            x: (B, 3, H, W) in 0..1, sides multiples of 64. It is rounded to 8 bits.

        Returns:
            "strings": a list of one list, with a `.dca` file for each picture. "shape": (H/64, W/64).

        Raises:
            ValueError: x has another shape or other values, or `update` has to be called first.
        """
        self._check(x)
        codec = self._codec(x.device)
        try:
            files = [codec.encode(picture_of(each), quality=self.quality, lossless=False) for each in x]
        except ImageError as error:
            raise ValueError(str(error)) from error
        return {"strings": [files], "shape": torch.Size(side // REGIONAL_STRIDE for side in x.shape[2:])}

    @torch.no_grad()
    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Sequence[int]) -> dict[str, Tensor]:
        """Decode pictures.

        Args:
            strings: as from `compress`.
            shape: the same.

        Returns:
            "x_hat": (B, 3, H, W), multiples of 1/255 in 0..1.

        Raises:
            ValueError: not one list of strings, pictures of another shape, or `update` has to be called first.
            DcaError: a string is not a valid `.dca` file of this model.
        """
        if len(strings) != 1 or not strings[0]:
            raise ValueError("the strings must be one list of at least one file")
        device = self.bottleneck["quantiles"].device
        codec = self._codec(device)
        pictures = [torch.from_numpy(codec.decode(data).pixels) for data in strings[0]]
        sides = tuple(side * REGIONAL_STRIDE for side in shape)
        if any(picture.shape[:2] != sides for picture in pictures):
            raise ValueError(f"the strings are not pictures of {sides[1]}x{sides[0]} pixels")
        return {"x_hat": torch.stack(pictures).permute(0, 3, 1, 2).to(device).float() / 255}

    def aux_loss(self) -> Tensor:
        """The loss of CompressAI's second optimiser. It is always 0 here, its minimum."""
        quantiles: Tensor = self.bottleneck["quantiles"]
        return quantiles.square().sum()

    # Inside

    def _take(self, weights: Weights) -> None:
        self._weights = weights
        self._coded_state = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}

    def _is_current(self) -> bool:
        """Whether the fixed-point form is that of the network as it is now."""
        state = self.network.state_dict()
        # Values, which takes some milliseconds: PyTorch does not count what is changed through `Parameter.data`.
        return state.keys() == self._coded_state.keys() and all(
            torch.equal(value.cpu(), self._coded_state[name]) for name, value in state.items()
        )

    def _position(self) -> Tensor:
        place = self.network.config.anchor_position(self.quality)
        return torch.tensor([place], dtype=torch.float32, device="cpu")

    def _codec(self, device: torch.device) -> Codec:
        if self._weights is None or not self._is_current():
            raise ValueError("the model has changed, or is new: call update() first")
        return Codec(self._weights, device)

    def _check(self, x: Tensor) -> None:
        if x.dim() != 4 or x.shape[1] != 3 or any(not side or side % REGIONAL_STRIDE for side in x.shape[2:]):
            raise ValueError(
                f"x must be (B, 3, H, W) with H and W multiples of {REGIONAL_STRIDE}, not {tuple(x.shape)}"
            )
