-- One row for each load, queue and model whose jobs are all in the queue.
CREATE TABLE snapseed.enqueued (
    load_id bigint NOT NULL,
    queue text NOT NULL,
    model text NOT NULL,
    jobs bigint NOT NULL,
    enqueued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (load_id, queue, model)
);
COMMENT ON TABLE snapseed.enqueued IS 'Loads whose embedding jobs are all in their queue';
