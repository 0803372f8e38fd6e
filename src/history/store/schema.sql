-- Evidence database, format version 1 (PRAGMA user_version).

-- One row per probe. It outlives the content of the probe, so that a page can say why the content is gone.
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    id INTEGER NOT NULL UNIQUE,
    module TEXT NOT NULL,
    target TEXT NOT NULL,
    hostname TEXT,
    -- Start of the probe, in milliseconds since 1970.
    began INTEGER NOT NULL,
    -- The verdict; NULL for a success.
    link TEXT,
    reason TEXT,
    -- Order in which contents are dropped when the store is full, in milliseconds since 1970.
    dropped_after INTEGER NOT NULL,
    -- Time at which the content was dropped, and why (DropReason). NULL while the content is stored.
    dropped INTEGER,
    why INTEGER
);
CREATE INDEX entry_target ON entry (target, seq);
CREATE INDEX entry_order ON entry (dropped_after) WHERE dropped IS NULL;
CREATE INDEX entry_age ON entry (began) WHERE dropped IS NULL;
CREATE INDEX entry_dropped ON entry (dropped) WHERE dropped IS NOT NULL;

-- The documents of a probe (content.rs).
CREATE TABLE content (
    seq INTEGER PRIMARY KEY,
    checksum BLOB NOT NULL,
    body BLOB NOT NULL
);
