"""Where bfloat16 is used: by what the processor can do, who made it, and what oneDNN may use."""

import io
from unittest import mock

import pytest
import torch

from dcacodec.network import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("amx", "avx512", "processor", "limit", "fast"),
    [
        (True, True, "vendor_id : GenuineIntel", "", True),
        (True, True, "vendor_id : GenuineIntel", "avx512_core_amx", True),
        (True, True, "vendor_id : GenuineIntel", "AVX512_CORE_BF16", False),
        (False, True, "vendor_id : GenuineIntel", "", False),
        (False, True, "vendor_id : AuthenticAMD", "", True),
        (False, True, "AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD", "ALL", True),
        (False, True, "vendor_id : AuthenticAMD", "AVX512_CORE_BF16", True),
        (False, True, "vendor_id : AuthenticAMD", "AVX512_CORE", False),
        (False, True, "vendor_id : AuthenticAMD", "AVX2", False),
        (False, False, "vendor_id : AuthenticAMD", "", False),
        (False, False, "", "", False),
    ],
)
def test_bfloat16_is_used_where_the_processor_multiplies_it_fast(
    amx: bool, avx512: bool, processor: str, limit: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(precision, "_processor", lambda: processor)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert precision.fast_bfloat16(CPU) is fast


def test_the_processor_is_read_where_linux_names_it_and_asked_for_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "AMD64, AuthenticAMD")
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", lambda *_, **__: io.StringIO("processor : 0\nvendor_id : GenuineIntel\n"))
        assert "GenuineIntel" in precision._processor()
        patch.setattr("builtins.open", mock.Mock(side_effect=FileNotFoundError))
        assert "AuthenticAMD" in precision._processor()
