"""What the small run trains: a number that gets smaller, with noise from a generator of its own."""

from collections.abc import Iterator


class Model:
    """One parameter that follows a noisy gradient towards zero."""

    def __init__(self, rate: float) -> None:
        self.loss = 1.0
        self._rate = rate
        self._noise = noise(seed=7)

    def step(self) -> float:
        """One step; the loss after it."""
        self.loss = self.loss * (1 - self._rate) + next(self._noise) * 0.01
        return self.loss


def noise(seed: int) -> Iterator[float]:
    """Numbers between 0 and 1, the same ones for the same seed."""
    state = seed
    while True:
        state = (state * 1103515245 + 12345) % 2**31
        yield state / 2**31
