/**
 * For uploads that come in several requests. `object_intent.grows`: the key's object is kept and gone on with, also after a restart.
 * `object_piece`: what is known of such an object, in order: stretches that the store has (`ref`), and bytes that are here until the
 * store takes them. `upload.resumable`: what the client has sent and gets back as it came, as JSON; `upload.joined`: the digest of what a
 * final upload is made of, so that the same request finds it.
 */
export const tus = `
ALTER TABLE object_intent ADD COLUMN grows INTEGER NOT NULL DEFAULT 0;

ALTER TABLE upload ADD COLUMN resumable TEXT;
ALTER TABLE upload ADD COLUMN joined BLOB;
CREATE UNIQUE INDEX upload_joined ON upload (joined) WHERE joined IS NOT NULL;

CREATE TABLE object_piece (
  number INTEGER PRIMARY KEY,
  object_key TEXT NOT NULL,
  start INTEGER NOT NULL,
  size INTEGER NOT NULL CHECK (size > 0),
  ref TEXT,
  bytes BLOB,
  UNIQUE (object_key, start),
  CHECK ((ref IS NULL) <> (bytes IS NULL))
) STRICT;
`
