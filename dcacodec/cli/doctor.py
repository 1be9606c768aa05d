"""The command `dcacodec doctor`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from dcacodec.cli.console import print_result
from dcacodec.cli.failures import Failure
from dcacodec.errors import escaped


@click.command(
    epilog="""\b
Examples:
  dcacodec doctor
  dcacodec doctor --json
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def doctor(as_json: bool) -> None:
    """Describe this installation, for a bug report.

    Shown are versions, the weights and whether their SHA-256 is right, the device and why it is not a GPU, the entropy
    coder and the compiler, threads, the cache, and the packages that dcacodec needs or can use. The entropy coder is
    compiled if it is not in the cache. --json has the keys system, weights, device, coder, threads, cache, packages,
    environment and problems. The exit code is 1 if encoding or decoding is impossible; the last lines give the reasons.
    """
    from dcacodec.codec.doctor import examine

    facts = examine().facts()
    if as_json:
        print_result(json.dumps(facts))
    else:
        width = max(len(name) for name, _ in _rows(facts))
        print_result("\n".join(f"{name:{width}}  {escaped(text)}" for name, text in _rows(facts)))
    if facts["problems"]:
        raise Failure(f"this installation is broken: {'; '.join(facts['problems'])}")


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of the report, each with the name of what it is about."""
    system, device, coder, threads, cache = (facts[name] for name in ("system", "device", "coder", "threads", "cache"))
    yield "dcacodec", f"{system.get('dcacodec')}, {system.get('folder')}"
    yield "Python", f"{system.get('python')}, {system.get('prefix')}, {system.get('platform')}"
    yield "PyTorch", f"{system.get('torch', 'cannot be imported')}, CUDA {system.get('cuda') or 'none'}"
    for each in facts["weights"]:
        presets = f"preset {', '.join(each['presets'])}" if each["presets"] else "for older files"
        yield "weights", f"{each['fingerprint']} {each['tune']}, {presets}, {each['file']}: {each['state']}"
    if device:
        gpu = f"no GPU: {device['why_no_gpu']}" if device["why_no_gpu"] else device["name"]
        yield "device", f"{device['device']} ({gpu})"
        yield "numbers", f"bfloat16 {_yes(device['bfloat16'])}, exact float32 {_yes(device['float32_is_exact'])}"
    if coder:
        why = (
            f" (not compiled: {coder['why_not_compiled']})" if coder["why_not_compiled"] else ", compiled, in the cache"
        )
        yield "coder", f"{coder['name']}{why}"
        yield "compiler", ", ".join(filter(None, (coder["compiler"], coder["compiler_version"]))) or "none"
    if threads:
        yield "threads", f"{threads['torch']} of PyTorch, {threads['processors']} processors"
    if cache:
        parts = [f"{name} {count / 1e3:,.0f} kB" for name, count in cache.get("bytes", {}).items()]
        yield "cache", f"{cache['folder']}: {', '.join(parts) or 'empty'}" if cache["folder"] else cache["why_not"]
    for name, versions in facts["packages"].items():
        yield name, ", ".join(f"{package} {version or '-'}" for package, version in versions.items())
    yield "environment", " ".join(f"{name}={value}" for name, value in facts["environment"].items()) or "-"
    for problem in facts["problems"]:
        yield "problem", problem


def _yes(value: bool) -> str:
    return "yes" if value else "no"
