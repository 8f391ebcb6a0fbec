/**
 * For stores that clients reach by themselves. `object_intent` now also holds keys to which a URL leads (`until`: when it ends), and
 * what the store has noted about an object that was begun. `installation` has one row: what begins this installation's keys in a
 * bucket that others may use too.
 */
export const s3 = `
ALTER TABLE object_intent ADD COLUMN until INTEGER;
ALTER TABLE object_intent ADD COLUMN note TEXT;

CREATE TABLE installation (id TEXT PRIMARY KEY) STRICT;
INSERT INTO installation (id) VALUES (lower(hex(randomblob(6))));
`
