/** A batch is written when its request begins, and finished when all of its files have come: a crash in between is seen by that. */
export const form = `
ALTER TABLE batch ADD COLUMN finished_at INTEGER;
CREATE INDEX batch_unfinished ON batch (id) WHERE finished_at IS NULL;
`
