"""The command `dcacodec encode`."""

from __future__ import annotations

import math
import time
from pathlib import Path

import click

from dcacodec.cli.console import is_verbose, print_line, print_note, print_warning
from dcacodec.cli.imports import lasting_imports
from dcacodec.cli.options import (
    ALLOW_HDR,
    DEVICE,
    EFFORT,
    KEEP_HIDDEN,
    LOSSLESS,
    MAX_PIXELS,
    PRESET,
    QUALITY,
    QUIET,
    STRIP,
    TARGET_BPP,
    TARGET_PSNR,
    TARGET_SIZE,
    TARGET_SSIMULACRA2,
    TUNE,
    VERBOSE,
    check_targets,
    wanted_target,
)
from dcacodec.cli.streams import (
    IN,
    JSON,
    OUT,
    about,
    check_files,
    check_json,
    describe_codec,
    opened,
    print_json,
    print_summary,
    progress_bar,
    shown,
    write_file,
)
from dcacodec.format.reader import parse
from dcacodec.network.config import Tuning


@click.command(
    epilog="""\b
Examples:
  dcacodec encode photo.png photo.dca
  dcacodec encode --quality 80 scan.tif scan.dca
  dcacodec encode --effort 20 photo.png photo.dca
  dcacodec encode --target-size 200KB photo.png photo.dca
  dcacodec encode --lossless drawing.png drawing.dca
  dcacodec encode --strip exif,xmp - - < photo.jpg > photo.dca
  dcacodec encode --json photo.png photo.dca | jq .bpp
"""
)
@IN
@OUT
@QUALITY
@EFFORT
@TARGET_BPP
@TARGET_SIZE
@TARGET_PSNR
@TARGET_SSIMULACRA2
@LOSSLESS
@KEEP_HIDDEN
@STRIP
@ALLOW_HDR
@JSON
@TUNE
@PRESET
@DEVICE
@MAX_PIXELS
@QUIET
@VERBOSE
@click.pass_context
def encode(
    context: click.Context,
    source: str,
    target: str,
    quality: float,
    effort: int,
    target_bpp: float | None,
    target_size: int | None,
    target_psnr: float | None,
    target_ssimulacra2: float | None,
    lossless: bool,
    keep_hidden: bool,
    strip: tuple[str, ...],
    allow_hdr: bool,
    as_json: bool,
    tune: Tuning | None,
    preset: str,
    device: str,
    max_pixels: int,
) -> None:
    """Compress the picture IN to the .dca file OUT.

    The alpha channel is kept losslessly, and so are the ICC profile, EXIF and XMP data, unless --strip is given. Slices
    where the network would need more bytes or make large errors, such as text and line art, are lossless too. The EXIF
    orientation is applied. An OUT with the suffix of a picture format, such as b.png, is refused.

    With a target, the quality is found by a search, which takes several encodings, and reported on standard error. If
    no quality meets the target, the nearest file is written, with a warning.

    --json needs a file as OUT. Its keys are source, target, width, height, quality, lossless (whether all slices are),
    bytes, bpp, slices, lossless_slices (how many of them are lossless) and seconds (of encoding); with a target also
    target_met (true or false), tries, and psnr (null if the picture is exact) or ssimulacra2 if that is the target.
    """
    check_files(source, target)
    check_json(as_json, target)
    check_targets(context)
    from PIL import Image

    from dcacodec.images.formats import has_picture_suffix
    from dcacodec.images.reading import read_picture
    from dcacodec.images.silence import silent_libraries

    if target != "-" and has_picture_suffix(Path(target)):
        raise click.UsageError(f"OUT, {target}, has the suffix of a picture, but a .dca file would be written.")
    # Pillow's own limit is replaced by --max-pixels.
    Image.MAX_IMAGE_PIXELS = None
    with about(source), opened(source) as file, silent_libraries(unless=context.find_root().params["debug"]):
        picture = read_picture(file, max_pixels or None, allow_hdr=allow_hdr)
    picture = picture.stripped(strip)

    with lasting_imports():
        from dcacodec.codec.codec import Codec
        from dcacodec.codec.rate_control import encode_to
        from dcacodec.codec.targets import outcome

    aim = wanted_target(target_bpp, target_size, target_psnr, target_ssimulacra2)
    codec = Codec.load(preset, tune=tune, device=device)
    describe_codec(codec)
    start = time.perf_counter()
    with about(source):
        if aim is None:
            with progress_bar("iteration" if effort else "slice") as progress:
                data = codec.encode(
                    picture,
                    quality=quality,
                    effort=effort,
                    lossless=lossless or None,
                    keep_hidden=keep_hidden,
                    progress=progress,
                )
        else:
            with progress_bar("try") as progress:
                result = encode_to(codec, picture, aim, effort=effort, keep_hidden=keep_hidden, progress=progress)
            data = result.data
    seconds = time.perf_counter() - start
    write_file(target, lambda file: file.write(data))
    if aim is not None:
        search_text = f"quality {result.quality}: {outcome(aim, result, picture)}"
        if result.target_met:
            print_note(search_text)
        else:
            print_warning(f"{shown(source)}: {search_text}")
    container = parse(data, None)
    slices, exact = container.header.slice_count, container.lossless_count
    if is_verbose():
        print_line(f"lossless slices: {exact} of {slices}")
    size, bpp = (picture.width, picture.height), len(data) * 8 / (picture.width * picture.height)
    if as_json:
        chosen = quality if aim is None else result.quality
        search: dict[str, object] = {} if aim is None else {"target_met": result.target_met, "tries": result.tries}
        if aim is not None and result.reached is not None:
            name = "psnr" if target_psnr is not None else "ssimulacra2"
            search[name] = result.reached if math.isfinite(result.reached) else None
        print_json(
            source,
            target,
            size,
            seconds,
            quality=chosen,
            lossless=exact == slices,
            bytes=len(data),
            bpp=bpp,
            slices=slices,
            lossless_slices=exact,
            **search,
        )
    print_summary(source, target, f"{len(data)} bytes {bpp:.3f} bpp {seconds:.2f} s")
