// SPDX-License-Identifier: Apache-2.0

/**
 * The schema's history; PRAGMA user_version counts how many of these have run. Append only, one statement each.
 * A field that records get later needs no migration: it is optional, and absent from older ones. One whose meaning
 * changes does, with json_set() over the rows.
 */
export const MIGRATIONS: readonly string[] = [
  "CREATE TABLE sandboxes (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE containers (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE sandbox_configs (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE container_specs (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE images (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE layers (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE leases (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE pods (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE settings (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE attachments (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE cron_jobs (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
];
