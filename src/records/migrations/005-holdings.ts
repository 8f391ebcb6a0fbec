/**
 * `upload.holds_until`: till then an unfinished upload holds what it has declared, afterwards only what it has. `upload.creation`: digest of
 * a creation into which nothing has come, so that an equal one takes over what it holds. `upload.partial`: 1 for a part that no final upload
 * has used up; `upload.counts_in`: the final upload that holds the part's bytes. `workspace.open` and `workspace.bare` count its unfinished
 * uploads and its records without bytes; triggers count, so that no statement can forget it.
 */
export const holdings = `
ALTER TABLE upload ADD COLUMN holds_until INTEGER;
ALTER TABLE upload ADD COLUMN creation BLOB;
ALTER TABLE upload ADD COLUMN partial INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upload ADD COLUMN counts_in BLOB;
UPDATE upload SET partial = 1
  WHERE state IN ('pending', 'receiving') AND resumable IS NOT NULL AND json_extract(resumable, '$.partial') = 1;
CREATE UNIQUE INDEX upload_creation ON upload (creation) WHERE creation IS NOT NULL;
CREATE INDEX upload_holds ON upload (holds_until) WHERE holds_until IS NOT NULL;
CREATE INDEX upload_siblings ON upload (workspace_id, user_id, expires_at) WHERE partial = 1 AND expires_at IS NOT NULL;
CREATE INDEX upload_counts_in ON upload (counts_in) WHERE counts_in IS NOT NULL;

ALTER TABLE workspace ADD COLUMN open INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workspace ADD COLUMN bare INTEGER NOT NULL DEFAULT 0;
UPDATE workspace SET
  open = (SELECT count(*) FROM upload WHERE workspace_id = workspace.id AND state IN ('pending', 'receiving')),
  bare = (SELECT count(*) FROM upload WHERE workspace_id = workspace.id AND (object_key IS NULL OR size = 0));
CREATE TRIGGER upload_made AFTER INSERT ON upload BEGIN
  UPDATE workspace SET
    open = open + (NEW.state IN ('pending', 'receiving')),
    bare = bare + (NEW.object_key IS NULL OR NEW.size IS 0)
  WHERE id = NEW.workspace_id;
END;
CREATE TRIGGER upload_changed AFTER UPDATE OF state, object_key, size ON upload
WHEN (NEW.state IN ('pending', 'receiving')) <> (OLD.state IN ('pending', 'receiving'))
  OR (NEW.object_key IS NULL OR NEW.size IS 0) <> (OLD.object_key IS NULL OR OLD.size IS 0)
BEGIN
  UPDATE workspace SET
    open = open + (NEW.state IN ('pending', 'receiving')) - (OLD.state IN ('pending', 'receiving')),
    bare = bare + (NEW.object_key IS NULL OR NEW.size IS 0) - (OLD.object_key IS NULL OR OLD.size IS 0)
  WHERE id = NEW.workspace_id;
END;
CREATE TRIGGER upload_gone AFTER DELETE ON upload BEGIN
  UPDATE workspace SET
    open = open - (OLD.state IN ('pending', 'receiving')),
    bare = bare - (OLD.object_key IS NULL OR OLD.size IS 0)
  WHERE id = OLD.workspace_id;
END;
`
