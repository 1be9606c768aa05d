"""The training loop: AdamW, warm-up and cosine, EMA, validation, checkpoints, a JSON-lines log.

The log has one JSON object per line. All have "kind", "step", "minutes" (of training time) and "pixels" (seen in
total), and further fields by kind:

* "start", at the beginning and whenever a run is resumed: "options" (`TrainingOptions`), "threads", "processes",
  "bfloat16".
* "train", every 100 steps and at the end: "learning_rate", and means of "loss", "bpp" and "norm"
  (of the gradient, before clipping).
* "validation": "loss" and "qualities", a row for each of `VALIDATION_QUALITIES`, see `Trainer.validate`.
* "end", when the schedule is done, or "interrupted".

A run that was killed resumes from its last checkpoint, so the steps after that checkpoint are logged twice.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from dcacodec.errors import TrainingError, reason
from dcacodec.network.config import PRESETS
from dcacodec.network.device import choose_device, memory_errors
from dcacodec.training.checkpoint import MOST_PARTS, newest_checkpoint
from dcacodec.training.curves import require_matplotlib, write_curves
from dcacodec.training.data import CropSampler, load_pictures, require_blocks
from dcacodec.training.loss import draw_positions
from dcacodec.training.options import TrainingOptions
from dcacodec.training.signals import Interrupted, Signals
from dcacodec.training.trainer import Trainer
from dcacodec.training.validation import Validation
from dcacodec.training.workers import Workers

VALIDATION_QUALITIES = (5, 20, 35, 50, 65, 80, 95)
LOG_EVERY = 100
"""Steps per line of the log."""


@memory_errors()
def train(
    sources: Sequence[str],
    folder: Path,
    options: TrainingOptions,
    validation: Sequence[str] = (),
    *,
    resume: Path | None = None,
    validation_pictures: int = 8,
    against: Path | None = None,
    quiet: bool = False,
) -> None:
    """Train until the schedule ends; checkpoint, log and curves are written to ``folder``.

    The run resumes from a checkpoint in ``folder`` if there is one. Otherwise it starts a new schedule, from ``resume``
    if given, else from the Karhunen-Loeve transform.

    Args:
        sources, validation: folders of pictures, tar shards, single pictures; see `load_pictures`.
        folder: of the run; created if it does not exist.
        options: of the run.
        resume: a checkpoint of another run (a file, or the index of its parts), or published weights.
        validation_pictures: number of pictures taken from the start of ``validation``.
        against: log of another run with the same validation pictures; validations report BD-rates against its last one.
        quiet: no progress bars, and no lines about validations.

    Raises:
        TrainingError: there are too few or too small pictures, or the loss is not finite; the last checkpoint is
            unchanged.
        ImageError: a picture cannot be read.
        WeightsError: a checkpoint cannot be used.
        OSError: a file cannot be read or written.
        MemoryError: there is not enough memory for the batch.
        Interrupted: SIGINT, SIGTERM or SIGHUP was received. The state after the last complete step is saved.
    """
    if options.plot:
        require_matplotlib()
    if against is not None and not validation:
        raise TrainingError("a comparison with another run needs validation pictures")
    before = None if against is None else Validation.last_of(against)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    device = choose_device("auto")
    with Workers.joined(device) as workers:
        quiet = quiet or workers.rank > 0
        trainer = Trainer(options, folder, PRESETS[options.preset], device, workers)
        # Weights, their average and two moments, in float32: checked now, not when the first checkpoint is saved.
        expected = 16 * sum(parameter.numel() for parameter in trainer.model.parameters())
        if 0 < options.part_size * MOST_PARTS < expected:
            limit = f"{MOST_PARTS} parts of {options.part_size}"
            raise TrainingError(f"a checkpoint takes {expected} bytes, more than {limit}")
        pictures = load_pictures(sources, quiet)
        held_out = load_pictures(validation, quiet)[:validation_pictures] if validation and not workers.rank else []
        require_blocks(held_out)
        saved = newest_checkpoint(trainer.checkpoint)
        if saved:
            if resume and not quiet:
                tqdm.write(f"resuming from {saved}, not starting from {resume}", sys.stderr)
            if trainer.load(saved) != options.distortion:
                raise TrainingError(f"{saved} was trained with another tuning; start a new run with --resume {saved}")
        elif resume:
            trainer.start_from(resume)
        else:
            large = [picture for picture in pictures if min(picture.shape[:2]) >= min(options.crops)]
            if large:  # without any, the sampler below says so
                trainer.start(large[:: max(1, len(large) // 200)])
        trainer.synchronise()
        if workers.rank:
            # The noise of the rate estimate must differ between processes, the weights above must not.
            torch.manual_seed(hash((options.seed, trainer.step, workers.rank)))
        sampler = CropSampler(pictures, options.crops, device, trainer.random)
        folder.mkdir(parents=True, exist_ok=True)
        _run_schedule(trainer, sampler, held_out, before, quiet)


def _run_schedule(
    trainer: Trainer,
    sampler: CropSampler,
    held_out: Sequence[NDArray[np.uint8]],
    before: Validation | None,
    quiet: bool,
) -> None:
    """Train to the end of the schedule, with validations, checkpoints and the log."""
    options, workers = trainer.options, trainer.workers
    recent: list[dict[str, float]] = []
    training: dict[str, float] = {}
    reached: list[str] = []

    def print_line(text: str) -> None:
        if not quiet:
            bar.write(text, sys.stderr)

    def log_recent() -> None:
        means = {name: round(float(np.mean([record[name] for record in recent])), 5) for name in recent[0]}
        trainer.log("train", learning_rate=round(learning_rate, 7), **means)
        training.update(means)
        bar.set_postfix(step=trainer.step, loss=means["loss"], bpp=means["bpp"])
        recent.clear()

    def validate() -> None:
        rows = []
        for quality in tqdm(
            VALIDATION_QUALITIES if held_out else (), desc="validating", leave=False, disable=quiet or None
        ):
            if signals.number:
                return
            rows.append(trainer.validate(held_out, quality))
        if rows:
            found = Validation(rows)
            trainer.log("validation", loss=round(found.loss, 5), qualities=rows)
            reached.append(found.summary(before))
            print_line(f"validation at step {trainer.step:,}, {trainer.seconds / 60:.1f} minutes: {reached[-1]}")
            if options.plot:
                try:
                    write_curves(trainer.folder)
                except (TrainingError, OSError) as error:  # no reason to stop training
                    bar.write(f"dcacodec: warning: the curves cannot be drawn: {reason(error)}", sys.stderr)

    facts = {"threads": torch.get_num_threads(), "processes": workers.count, "bfloat16": trainer.autocast}
    trainer.log("start", options=asdict(options), **facts)
    saved = validated = trainer.seconds
    stop = False
    if options.minutes:
        length, done, unit = options.minutes, trainer.seconds / 60, "min"
        layout = "{l_bar}{bar}| {n:.1f}/{total:g} min{postfix}"
    else:
        length, done, unit, layout = options.steps, trainer.step, "step", None
    # No bar where standard error is not a terminal: there the lines about validations tell how training proceeds.
    with (
        Signals() as signals,
        tqdm(total=length, initial=done, desc="training", unit=unit, bar_format=layout, disable=quiet or None) as bar,
    ):
        while not stop and (progress := options.progress(trainer.step, trainer.seconds)) < 1:
            began = time.perf_counter()
            learning_rate = options.learning_rate_at(trainer.step, trainer.seconds)
            batch, crop = options.batch_and_crop(progress)
            position = torch.from_numpy(draw_positions(trainer.config, batch, sampler.random))
            recent.append(trainer.train_step(sampler.batch(batch, crop), position.to(trainer.device), learning_rate))
            # All processes must agree on the position in the schedule, and on whether to stop.
            shared = torch.tensor(
                [time.perf_counter() - began, float(signals.number)], dtype=torch.float32, device=trainer.device
            )
            workers.mean([shared])
            trainer.seconds += shared[0].item()
            stop = shared[1].item() > 0
            if len(recent) == LOG_EVERY:
                log_recent()
            done = min(length, trainer.seconds / 60 if options.minutes else trainer.step)
            bar.update(done - bar.n)
            if trainer.seconds - saved > 60 * options.save_every:
                saved = trainer.seconds
                trainer.save()
            if trainer.seconds - validated > 60 * options.validate_every:
                validated = trainer.seconds
                validate()
        if recent:
            log_recent()
        checkpoint = trainer.save()
        validate()
        if stop or signals.number:
            trainer.log("interrupted")
            held = "the first process saves it" if checkpoint is None else f"{checkpoint} holds it"
            raise Interrupted(
                f"interrupted at step {trainer.step}; {held}, and the same command resumes the run",
                signals.number or signal.SIGTERM,  # where only another process got the signal
            )
        if checkpoint is not None:
            means = ", ".join(f"{name} {training[name]:.4g}" for name in ("loss", "bpp") if name in training)
            print_line(
                f"{checkpoint} holds the result of {trainer.step:,} steps in {trainer.seconds / 60:.1f} minutes; "
                + (f"validation: {reached[-1]}" if reached else f"training: {means or 'nothing was left to do'}")
            )
            print_line(
                f"to use it: dcacodec publish {shlex.quote(str(checkpoint))} --models FOLDER --check PICTURES, "
                "and set DCACODEC_MODELS=FOLDER"
            )
    trainer.log("end")
