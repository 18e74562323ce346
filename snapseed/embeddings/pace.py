"""How many jobs a worker takes at once: as many as it works in about a second, learnt from the batches before."""

from __future__ import annotations

# Shorter batches spend their time on round trips; longer ones are lost with a worker that dies, and keep one that is
# told to end from doing so.
_BATCH_SECONDS = 1.0
_FIRST_BATCH = 16
_LARGEST_BATCH = 2048
# Small batches say little about large ones; but they take longer by the job, so what they promise is kept.
_GROWTH = 8
# Batches of about the same size do not tell what a job costs from what a batch costs.
_ANOTHER_SIZE = 1.25
# A job always costs something.
_LEAST_SHARE = 0.001


class Pace:
    """The size of the next batch.

    What a batch costs however small it is, the latency of a model elsewhere for one, is told from what each job costs
    by batches of two sizes; jobs are to take at least as long as that, so that few jobs are no answer to latency.
    """

    def __init__(self) -> None:
        self.size = _FIRST_BATCH
        self._fixed = 0.0
        self._last: tuple[int, float] | None = None

    def took(self, jobs: int, seconds: float) -> None:
        """So many jobs have taken so long."""
        jobs, seconds = max(jobs, 1), max(seconds, 1e-3)
        average = seconds / jobs
        each = (seconds - min(self._fixed, seconds)) / jobs
        if self._last is not None:
            jobs_before, seconds_before = self._last
            if max(jobs, jobs_before) > _ANOTHER_SIZE * min(jobs, jobs_before):
                each = (seconds - seconds_before) / (jobs - jobs_before)
        each = min(max(each, _LEAST_SHARE * average), average)
        self._fixed, self._last = seconds - each * jobs, (jobs, seconds)
        fitting = (max(_BATCH_SECONDS, 2 * self._fixed) - self._fixed) / each
        growth = max(2.0, min(_GROWTH, _BATCH_SECONDS / seconds))
        self.size = max(1, int(min(fitting, growth * jobs, _LARGEST_BATCH)))
