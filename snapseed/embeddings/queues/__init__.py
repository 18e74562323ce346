"""Queues of jobs in Redis, in two forms that an application's own workers can take from: streams and lists."""

from snapseed.embeddings.queues.forms import Claim, DeadJob, JobQueue, QueueStatus, job_queue, require_form

__all__ = ["Claim", "DeadJob", "JobQueue", "QueueStatus", "job_queue", "require_form"]
