"""Encoding to a target size, rate, PSNR or SSIMULACRA 2: the public names of `dcacodec.codec.rate_control`.

>>> from dcacodec import Codec, read_picture
>>> from dcacodec.ratecontrol import MaxBytes, encode_to
>>> result = encode_to(Codec.load(), read_picture("photo.png"), MaxBytes(1000))
>>> result.target_met, len(result.data) <= 1000
(True, True)
"""

from dcacodec.codec.rate_control import encode_to
from dcacodec.codec.targets import MaxBpp, MaxBytes, MinPsnr, MinSsimulacra2, Target, TargetedFile

__all__ = ["MaxBpp", "MaxBytes", "MinPsnr", "MinSsimulacra2", "Target", "TargetedFile", "encode_to"]
