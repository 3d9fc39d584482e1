"""The tables, one script for each version of the file; a script that was released is never changed."""

from __future__ import annotations

APPLICATION = 0x47545247
"""`GTRG`: says in the file's header that it is ours (PRAGMA application_id)."""

MIGRATIONS: tuple[str, ...] = (
    """
    -- One sweep; seq is the order of things, for wall clocks jump.
    CREATE TABLE sweep(
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, monotonic REAL NOT NULL, boot TEXT NOT NULL, load TEXT NOT NULL,
        node TEXT, status TEXT NOT NULL
    );
    CREATE TABLE series(id INTEGER PRIMARY KEY, subject TEXT NOT NULL, name TEXT NOT NULL, UNIQUE(subject, name));
    -- A value that stood from sweep `first` to sweep `last`.  `total` counts on where the counter was reset, and
    -- `blind` is for how many seconds around resets nothing is known, so rows between two others can be dropped.
    CREATE TABLE run(
        series INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        value REAL NOT NULL, total REAL NOT NULL, blind REAL NOT NULL,
        PRIMARY KEY(series, first)
    ) WITHOUT ROWID;
    CREATE TABLE fact(
        subject TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY(subject, name, first)
    ) WITHOUT ROWID;
    -- Which board sat where.
    CREATE TABLE part(
        pci TEXT NOT NULL, uuid TEXT, serial TEXT, name TEXT, first INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY(pci, first)
    ) WITHOUT ROWID;
    CREATE TABLE incident(
        fingerprint TEXT PRIMARY KEY, rule TEXT NOT NULL, node TEXT, pci TEXT, uuid TEXT, serial TEXT,
        severity TEXT NOT NULL, state TEXT NOT NULL,
        first_at REAL, opened_at REAL, last_at REAL, last_monotonic REAL, last_boot TEXT NOT NULL,
        seen_before INTEGER NOT NULL, seen_now INTEGER NOT NULL, reopened INTEGER NOT NULL,
        away_at REAL, away_monotonic REAL, away_boot TEXT,
        resolved_at REAL, resolved_why TEXT,
        lasts REAL, by_log INTEGER NOT NULL, witness TEXT,
        ack_at REAL, ack_reason TEXT, ack_until REAL, ack_severity TEXT,
        body TEXT NOT NULL, touched INTEGER NOT NULL
    ) WITHOUT ROWID;
    -- Each time something new of an incident was seen.
    CREATE TABLE sighting(
        id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, rule TEXT NOT NULL,
        at REAL, events INTEGER NOT NULL, boot TEXT NOT NULL, load TEXT NOT NULL,
        pci TEXT, uuid TEXT, serial TEXT, driver TEXT
    );
    CREATE INDEX sighting_of_rule ON sighting(rule);
    CREATE INDEX sighting_of_incident ON sighting(fingerprint);
    CREATE TABLE event(
        id INTEGER PRIMARY KEY, at REAL NOT NULL, sweep INTEGER, kind TEXT NOT NULL, subject TEXT, says TEXT NOT NULL
    );
    """,
    """
    -- What a watch has told of each incident that is not over, and where it stood.
    CREATE TABLE told(fingerprint TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE watch(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    -- What is to be told, until it was; ids are never used again.
    CREATE TABLE outbox(id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, body TEXT NOT NULL);
    """,
    """
    -- What a level was in the stretch of time from `began` on, in `count` sweeps that add up to `total`.  By time
    -- first, so that a sweep writes one page and not one for each series.
    CREATE TABLE level(
        began INTEGER NOT NULL, series INTEGER NOT NULL,
        least REAL NOT NULL, most REAL NOT NULL, total REAL NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY(began, series)
    ) WITHOUT ROWID;
    """,
)
VERSION = len(MIGRATIONS)
