"""What schedulers compare trials by, kept in order as it grows: values at an epoch, running means. Decides nothing."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import UserDict, defaultdict
from collections.abc import Collection
from statistics import fmean
from typing import Any


class SortedValues(UserDict[Any, float]):
    """Numbers by key, whose percentiles take no longer where there are many of them."""

    def __init__(self) -> None:
        super().__init__()
        self._ascending: list[float] = []

    def __setitem__(self, key: Any, value: float) -> None:
        self.pop(key, None)
        super().__setitem__(key, value)
        insort(self._ascending, value)

    def __delitem__(self, key: Any) -> None:
        del self._ascending[bisect_left(self._ascending, self[key])]
        super().__delitem__(key)

    def percentile(self, percent: float) -> float:
        """To the last bit what ``numpy.percentile`` gives, which Ray's schedulers use.

        Parameters
        ----------
        percent : float
            From 0, the least value, to 100, the greatest.
        """
        place = (len(self) - 1) * (percent / 100)
        first = int(place)
        lower, upper = self._ascending[first], self._ascending[min(first + 1, len(self) - 1)]
        rest = place - first
        return upper - (upper - lower) * (1 - rest) if rest >= 0.5 else lower + (upper - lower) * rest


class RunningMeans:
    """Means of what each trial has reported up to an epoch, for every epoch that it has reached.

    A report costs as much as the trial has reported epochs, however many trials there are. An epoch that a trial
    reported nothing of counts as reached once a later one is, with the mean up to it.

    Parameters
    ----------
    first_epoch : int
        Earlier epochs do not count.
    """

    def __init__(self, first_epoch: int) -> None:
        self._first_epoch = first_epoch
        self._values: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._means: defaultdict[int, SortedValues] = defaultdict(SortedValues)

    def add(self, trial: int, epoch: int, value: float) -> None:
        """Takes in a report; what a trial that was started again had said of this epoch and later ones goes."""
        self._take_back(trial, epoch)
        values = self._values[trial]
        for passed in range(max([self._first_epoch, *(known + 1 for known in values)]), epoch):
            self._set_mean(trial, passed)
        values[epoch] = value
        if epoch >= self._first_epoch:
            self._set_mean(trial, epoch)

    def reported(self, trial: int) -> Collection[float]:
        """All that a trial has reported, also of epochs that do not count."""
        return self._values[trial].values()

    def median_of_others(self, trial: int, epoch: int, *, least: int) -> float | None:
        """Median of the means up to an epoch of the other trials that reached it; None for fewer than ``least``."""
        means = self._means[epoch]
        own = means.pop(trial, None)
        median = means.percentile(50) if len(means) >= least else None
        if own is not None:
            means[trial] = own
        return median

    def _take_back(self, trial: int, epoch: int) -> None:
        values = self._values[trial]
        for later in range(epoch, max(values, default=0) + 1):
            values.pop(later, None)
            self._means[later].pop(trial, None)

    def _set_mean(self, trial: int, epoch: int) -> None:
        known = [value for reported, value in self._values[trial].items() if self._first_epoch <= reported]
        if known:
            self._means[epoch][trial] = fmean(known)
