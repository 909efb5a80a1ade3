"""The tables of the state file, by the version that brought them."""

from __future__ import annotations

# Each record is one JSON document beside the columns it is looked up by.
_FIRST = """
CREATE TABLE machines (id TEXT PRIMARY KEY, name TEXT NOT NULL, workload TEXT,
                       seen_at REAL NOT NULL, record TEXT NOT NULL) STRICT;
CREATE TABLE facts    (machine_id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
CREATE TABLE pins     (machine_id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
CREATE TABLE jobs     (id TEXT PRIMARY KEY, workload TEXT NOT NULL,
                       created_at REAL NOT NULL, record TEXT NOT NULL) STRICT;
CREATE INDEX jobs_by_age ON jobs (created_at DESC);
CREATE TABLE journal  (name TEXT PRIMARY KEY, provider TEXT NOT NULL, workload TEXT NOT NULL,
                       created_at REAL NOT NULL, detail TEXT NOT NULL,
                       outcome TEXT, machine_id TEXT, resolved_at REAL) STRICT;
"""
_DOCUMENTS = """
CREATE TABLE documents (kind TEXT NOT NULL, key TEXT NOT NULL, kept_at REAL NOT NULL,
                        record TEXT NOT NULL, PRIMARY KEY (kind, key)) STRICT;
"""

# A file of an older version is brought up by the first command that opens it.
ADDED = {1: _FIRST, 2: _DOCUMENTS}
SCHEMA_VERSION = 2
