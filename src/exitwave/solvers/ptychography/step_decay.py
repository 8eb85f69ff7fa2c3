"""Step decay: steps shrink towards the end of a run, so that noise averages out."""


def step_decay_done(epoch: int, epochs: int, share: float) -> float:
    """Share of the step decay that is done, which takes the last `share` of the epochs: 0 before, 1 in the last epoch."""
    last = round(share * epochs)
    return max(epoch - (epochs - last), 0) / last if last else 0.0


def step_scale(epoch: int, epochs: int, share: float) -> float:
    """Factor on all steps: 1, then falling in equal steps to 0.1 in the last epoch."""
    return 1.0 - 0.9 * step_decay_done(epoch, epochs, share)
