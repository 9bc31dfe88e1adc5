"""The steps of a run, and what happens between them."""

import math
import sys
import time
from contextlib import closing
from pathlib import Path

import torch
from tqdm.auto import tqdm

from ..data import counter_seed
from ..runtime import join_shares, peak_memory_gib, say
from .checkpoint import save_checkpoint
from .durable import saving
from .ema import whole
from .health import InterruptedRun, NonFiniteError, StopSignals, describe_nonfinite
from .history import StepResult, sentence
from .objective import NoisyBatch, denoising_loss, noisy_batch, times_of
from .optim import learning_rate, set_learning_rate
from .posthoc import save_snapshot
from .run import Run, collect_state
from .validation import averaged_model, has_judge, keep_if_best, make_pipeline, measure_quality, save_preview, validate

# More than this many steps in a row that had to be skipped are no accident: the weights themselves are broken.
MAX_SKIPPED_IN_A_ROW = 20
SECONDS_BETWEEN_SENTENCES = 15.0


def train(run: Run) -> Path:
    """Take the steps that are left, and save the pipeline with the averaged weights.

    Returns:
        The run's folder, which `DigitPipeline.from_pretrained` loads.

    Raises:
        InterruptedRun: Ctrl-C or SIGTERM; everything is saved, and the same config goes on.
        NonFiniteError: a loss or gradient is not finite; the state before that step is saved.
        SaveError: something could not be written; the checkpoints before it are whole.
    """
    try:
        with saving(run.folder):
            with StopSignals() as signals, closing(Reporter(run)) as reporter:
                run.model.train()
                while run.step < run.total_steps:
                    started = time.perf_counter()
                    stop = train_step(run, signals.signum)
                    reporter.add_step(time.perf_counter() - started)
                    between_steps(run, reporter)
                    if stop and run.step < run.total_steps:
                        _checkpoint(run)
                        raise InterruptedRun(stop, run.step)
            save_snapshot_of(run)  # a finished run that lost this one gets it back
            save_pipeline(run)
            run.accelerator.end_training()
    finally:
        run.close()
    return run.folder


def train_step(run: Run, stop: int = 0) -> int:
    """One optimizer step on one global batch, which follows from the seed and the step.

    Args:
        run: at the step to take; afterwards one further.
        stop: signal that this process received.

    Returns:
        The signal that any process received, or 0: all stop at the same step.
    """
    t, objective = run.config.training, run.config.objective
    captions = run.text.training if run.text is not None else None
    batch = noisy_batch(
        run.data, run.step, t.batch_size, t.seed, run.scheduler.path, t.label_dropout, objective, captions
    )
    set_learning_rate(run.optimizers, learning_rate(run.step, run.total_steps, run.config.optim))
    errors, grad_norm = _backward(run, batch)
    # One message a step carries both what was measured and the wish to stop.
    own = torch.cat([errors, torch.tensor([float(stop)], device=errors.device)])
    gathered = run.accelerator.gather(own).cpu().view(run.accelerator.num_processes, -1)
    errors = join_shares(gathered[:, :-1].flatten(), t.batch_size, run.accelerator.num_processes)
    _update(run, batch, errors, grad_norm)
    run.step += 1
    return int(gathered[:, -1].max())


def _backward(run: Run, batch: NoisyBatch) -> tuple[torch.Tensor, float]:
    """Gradients of this process's share of a batch, averaged over processes and clipped.

    Returns:
        (B / processes,) error of each image of the share, and the norm of the gradient before clipping.
    """
    t, accelerator = run.config.training, run.accelerator
    share = torch.arange(accelerator.process_index, t.batch_size, accelerator.num_processes)
    errors = []
    for i, chosen in enumerate(share.chunk(t.gradient_accumulation_steps)):
        torch.manual_seed(counter_seed(t.seed, "dropout", run.step, accelerator.process_index, i))
        with accelerator.accumulate(run.model):  # gradients travel between processes with the last part alone
            with accelerator.autocast():
                part = batch.take(chosen)
                part_errors = denoising_loss(run.model, run.scheduler, part, accelerator.device, run.config.objective)
            accelerator.backward(part_errors.mean())
        errors.append(part_errors.detach())
    norm = accelerator.clip_grad_norm_(run.model.parameters(), run.config.optim.max_grad_norm)
    return torch.cat(errors), whole(norm).item()


def _update(run: Run, batch: NoisyBatch, errors: torch.Tensor, grad_norm: float) -> None:
    """Move weights and averages, if loss and gradient are finite; otherwise stop or skip."""
    finite_loss, finite_gradient = bool(errors.isfinite().all()), math.isfinite(grad_norm)
    # fp16: a gradient overflows now and then; then the scaler withholds the step by itself, and scales by less.
    overflow = finite_loss and not finite_gradient and run.accelerator.scaler is not None
    if finite_loss and (finite_gradient or overflow):
        for optimizer in run.optimizers:
            optimizer.step()
    if finite_loss and finite_gradient:
        for average in run.averages.values():
            average.update(run.bare_model)
        run.skipped_in_a_row = 0
        if run.config.training.logging_steps:
            run.history.pending.append(StepResult(errors, times_of(batch.timesteps, run.scheduler.path), grad_norm))
    else:
        _meet_nonfinite(run, batch, errors, grad_norm, overflow)
    for optimizer in run.optimizers:
        optimizer.zero_grad()


def _meet_nonfinite(run: Run, batch: NoisyBatch, errors: torch.Tensor, grad_norm: float, overflow: bool) -> None:
    """Stop or skip, by the config, an overflow of fp16 in any case; the weights are still those before this step."""
    what = describe_nonfinite(run.step, batch, errors, grad_norm)
    may_skip = overflow or run.config.training.on_nonfinite == "skip"
    if may_skip and run.skipped_in_a_row < MAX_SKIPPED_IN_A_ROW:
        run.skipped_steps += 1
        run.skipped_in_a_row += 1
        if not overflow:
            say(f"skipped {what}")
        return
    _checkpoint(run)
    raise NonFiniteError(
        f"{what} The state before that step is saved. training.on_nonfinite=skip passes over such steps, at most "
        f"{MAX_SKIPPED_IN_A_ROW} in a row; a lower optim.lr may avoid them."
    )


def between_steps(run: Run, reporter: "Reporter") -> None:
    """Whatever is due at the step that the run has reached; all processes come here together."""
    t, last = run.config.training, run.step == run.total_steps

    def due(every: int) -> bool:
        return every > 0 and (run.step % every == 0 or last)

    if due(t.logging_steps):
        reporter.report()
    previews, validates = due(t.preview_steps), due(t.validation_steps) and len(run.validation) > 0
    if previews or validates:
        model = averaged_model(run)
        if validates:
            line = validate(run, model)
            if has_judge(run):
                line |= measure_quality(run, model)
            reporter.log(line)
            keep_if_best(run, model, line)
        if previews:
            save_preview(run, model)
    if not last and due(run.config.optim.ema_snapshot_steps):
        save_snapshot_of(run)
    if last or due(t.checkpointing_steps):
        _checkpoint(run)


def save_snapshot_of(run: Run) -> None:
    """Save a snapshot of the power-function averages, where the run keeps any; every process must call it."""
    o = run.config.optim
    if o.ema == "power" and o.ema_snapshot_steps > 0:
        states = {name: average.state() for name, average in run.averages.items()}
        if run.accelerator.is_main_process:
            save_snapshot(run.folder, run.step, states, list(o.ema_sigma_rels))


def _checkpoint(run: Run) -> None:
    state = collect_state(run)
    if run.accelerator.is_main_process:
        run.history.sync()
        save_checkpoint(run.folder, state, run.config.training.checkpoints_total_limit)


def save_pipeline(run: Run) -> None:
    """Save the pipeline with the averaged weights into the run's folder."""
    model = averaged_model(run)
    if run.accelerator.is_main_process:
        with saving(run.folder, sum(p.nbytes for p in model.parameters())):
            make_pipeline(run, model).save_pretrained(run.folder)


class Reporter:
    """Tells of a run: JSON lines, trackers, and on the main process a progress bar or now and then a sentence."""

    def __init__(self, run: Run):
        self.run = run
        self.seconds, self.steps, self.last_sentence = 0.0, 0, 0.0
        is_main, is_terminal = run.accelerator.is_main_process, sys.stderr.isatty()
        self.speaks = is_main and not is_terminal
        self.bar = tqdm(
            total=run.total_steps, initial=run.step, unit="step", smoothing=0.05, disable=not (is_main and is_terminal)
        )

    def close(self) -> None:
        """Leave the progress bar as it stands."""
        self.bar.close()

    def add_step(self, seconds: float) -> None:
        """Count a step; only the time of steps makes the speed, not that of pictures and files."""
        self.seconds, self.steps = self.seconds + seconds, self.steps + 1
        self.bar.update()

    def report(self) -> None:
        """Write what was measured since the last time."""
        run, seconds = self.run, self.seconds / max(self.steps, 1)
        rate = run.optimizers[0].param_groups[0]["lr"]
        line = {"step": run.step, **run.history.take_means(), "lr": rate, "skipped_steps": run.skipped_steps}
        speed = {
            "step": run.step,
            "images_per_second": run.config.training.batch_size / seconds if seconds else 0.0,
            "seconds_per_step": seconds,
            "memory_gib": peak_memory_gib(run.accelerator.device),
        }
        self.log(line, speed)
        self.seconds, self.steps = 0.0, 0
        if line["loss"] is not None:
            self.bar.set_postfix_str(f"loss {line['loss']:.4f}, {speed['images_per_second']:.0f} images/s")
        now = time.monotonic()
        if self.speaks and (now - self.last_sentence > SECONDS_BETWEEN_SENTENCES or run.step == run.total_steps):
            say(sentence(line, speed, run.total_steps))
            self.last_sentence = now

    def log(self, line: dict, speed: dict | None = None) -> None:
        """Add lines to the files and the trackers."""
        if self.run.accelerator.is_main_process:
            self.run.history.append(line, speed)
        values = {}
        for key, value in {**line, **(speed or {})}.items():
            named = {f"{key}/{i}": v for i, v in enumerate(value)} if isinstance(value, list) else {key: value}
            values.update({name: v for name, v in named.items() if v is not None and name != "step"})
        self.run.accelerator.log(values, step=self.run.step)
