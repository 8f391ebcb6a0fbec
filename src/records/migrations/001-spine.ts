/**
 * Times are integer milliseconds, sizes integer bytes. JSON columns hold what is never filtered.
 * `upload.number` is AUTOINCREMENT, so that a number is never given twice. `object_intent` holds every key under which
 * bytes are on their way, so that recovery need not walk the store.
 */
export const spine = `
CREATE TABLE workspace (
  id TEXT PRIMARY KEY,
  quota INTEGER,
  used INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0),
  reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspace (id),
  user_id TEXT NOT NULL,
  name TEXT NOT NULL,
  digest BLOB NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  projects TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT;

CREATE TABLE project (
  workspace_id TEXT NOT NULL REFERENCES workspace (id),
  id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspace (id),
  project_id TEXT,
  name TEXT NOT NULL,
  meta TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE upload (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  workspace_id TEXT NOT NULL REFERENCES workspace (id),
  project_id TEXT,
  user_id TEXT NOT NULL,
  batch_id TEXT REFERENCES batch (id),
  dialect TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'receiving', 'processing', 'ready', 'rejected', 'expired')),
  category TEXT,
  filename TEXT NOT NULL,
  declared_type TEXT,
  declared_size INTEGER,
  declared_checksum TEXT,
  content_type TEXT NOT NULL,
  size INTEGER,
  received INTEGER NOT NULL DEFAULT 0,
  reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  object_key TEXT,
  sha256 BLOB,
  context TEXT,
  metadata TEXT NOT NULL,
  properties TEXT NOT NULL,
  extra TEXT NOT NULL,
  rejection TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER
) STRICT;
CREATE INDEX upload_workspace ON upload (workspace_id, id);
CREATE INDEX upload_state ON upload (workspace_id, state, id);
CREATE INDEX upload_category ON upload (workspace_id, category, id) WHERE category IS NOT NULL;
CREATE INDEX upload_expires ON upload (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX upload_digest ON upload (workspace_id, sha256, size) WHERE sha256 IS NOT NULL;
CREATE INDEX upload_ended ON upload (updated_at) WHERE state IN ('rejected', 'expired');
CREATE INDEX upload_batch ON upload (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX upload_object ON upload (object_key) WHERE object_key IS NOT NULL;

CREATE TABLE binding (
  workspace_id TEXT NOT NULL,
  project_id TEXT NOT NULL,
  upload_id BLOB NOT NULL REFERENCES upload (id) ON DELETE CASCADE,
  held INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, project_id, upload_id),
  FOREIGN KEY (workspace_id, project_id) REFERENCES project (workspace_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX binding_upload ON binding (upload_id);

CREATE TABLE object_intent (
  object_key TEXT PRIMARY KEY,
  upload_id BLOB NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX object_intent_upload ON object_intent (upload_id);

CREATE TABLE ledger (
  number INTEGER PRIMARY KEY,
  workspace_id TEXT NOT NULL,
  upload_id BLOB,
  kind TEXT NOT NULL CHECK (kind IN ('reservation', 'storage_charge', 'storage_release', 'folded')),
  used INTEGER NOT NULL,
  reserved INTEGER NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX ledger_workspace ON ledger (workspace_id);

CREATE TABLE usage_day (
  workspace_id TEXT NOT NULL,
  day TEXT NOT NULL,
  uploads INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE job (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  upload_id BLOB,
  object_key TEXT,
  payload TEXT NOT NULL,
  due INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  failed_at INTEGER
) STRICT;
CREATE INDEX job_due ON job (due) WHERE failed_at IS NULL;
CREATE INDEX job_failed ON job (failed_at) WHERE failed_at IS NOT NULL;
CREATE INDEX job_upload ON job (upload_id) WHERE upload_id IS NOT NULL;
CREATE INDEX job_object ON job (object_key) WHERE object_key IS NOT NULL;

CREATE TABLE idempotency (
  principal TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  status INTEGER,
  answer TEXT,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (principal, key)
) STRICT;
CREATE INDEX idempotency_expires ON idempotency (expires_at);
`
