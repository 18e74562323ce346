-- Record that all jobs of a load are in a queue.
INSERT INTO snapseed.enqueued (load_id, queue, model, jobs) VALUES (%(load)s, %(queue)s, %(model)s, %(jobs)s)
ON CONFLICT (load_id, queue, model) DO UPDATE SET jobs = excluded.jobs, enqueued_at = clock_timestamp()
