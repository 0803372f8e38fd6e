//! The limits of the database, and the files that it refuses or replaces.

use super::{Database, NewEntry, OpenError, VERSION};
use crate::history::store::content::pack;
use crate::history::store::{DropReason, EvidenceDocuments, EvidenceSummary, StoreLimits, StoredLookup, files};
use crate::target_state::StorageReason;
use glassbox_probe::evidence_id::EvidenceId;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const DAY: Duration = Duration::from_hours(24);

/// One MiB for the database itself.
const LIMITS: StoreLimits = StoreLimits {
    size: 9 << 20,
    retention: Duration::from_hours(14 * 24),
};

fn id(number: u32) -> EvidenceId {
    EvidenceId { process: 7, number }
}

fn documents(number: u32) -> EvidenceDocuments {
    // The hash of a number does not compress.
    use sha2::{Digest as _, Sha256};
    let mut page = String::new();
    for part in 0..64_u32 {
        write!(
            page,
            "{:?}",
            Sha256::digest([number.to_le_bytes(), part.to_le_bytes()].concat())
        )
        .unwrap();
    }
    EvidenceDocuments {
        title: "Broken".to_owned(),
        page,
        json: format!("{{\"number\": {number}}}\n"),
        har: "{}\n".to_owned(),
        repeat: "target=a".to_owned(),
    }
}

fn entry(number: u32, began: SystemTime, why: StorageReason) -> NewEntry {
    let failed = matches!(why, StorageReason::Failure | StorageReason::RepeatedFailure);
    NewEntry {
        summary: EvidenceSummary {
            id: id(number),
            module: "m".to_owned(),
            target: "https://a.example/".to_owned(),
            // The database stores milliseconds.
            began: SystemTime::UNIX_EPOCH + Duration::from_millis(super::millis(began).unsigned_abs()),
            link: failed.then(|| "edge".to_owned()),
            reason: failed.then(|| "tcp.refused".to_owned()),
        },
        hostname: None,
        why,
        packed: pack(&documents(number)).unwrap(),
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = files::prepare(&folder.path().join("evidence")).unwrap();
    (folder, path)
}

fn is_stored(database: &mut Database, number: u32) -> bool {
    matches!(database.evidence(id(number)).unwrap(), StoredLookup::Found(_))
}

#[test]
fn evidence_reads_back_after_the_database_was_closed() {
    let (_folder, path) = folder();
    let now = SystemTime::now();
    let new = [
        entry(1, now, StorageReason::Failure),
        entry(2, now, StorageReason::Recovery),
    ];
    let mut database = Database::open(&path, LIMITS).unwrap();
    database.write(&new).unwrap();
    drop(database);
    let mut database = Database::open(&path, LIMITS).unwrap();
    assert_eq!(database.held().unwrap().0, 2);
    let StoredLookup::Found(found) = database.evidence(id(1)).unwrap() else {
        panic!("not found");
    };
    assert_eq!(found.documents, documents(1));
    assert_eq!(found.summary, new[0].summary);
    assert_eq!(database.evidence(id(3)).unwrap(), StoredLookup::Unknown);
    let listed = database.of_target("https://a.example/", Some("m")).unwrap();
    assert_eq!(listed.iter().map(|probe| probe.id.number).collect::<Vec<_>>(), [2, 1]);
    assert!(
        database
            .of_target("https://a.example/", Some("other"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_full_store_keeps_the_start_of_a_failure_longest() {
    let (_folder, path) = folder();
    let mut database = Database::open(&path, LIMITS).unwrap();
    let begun = SystemTime::now() - DAY;
    let at = |number: u32| begun + Duration::from_secs(number.into());
    database.write(&[entry(1, at(1), StorageReason::Failure)]).unwrap();
    let mut dropped = 0;
    for batch in 0..50 {
        let numbers = (batch * 20 + 2)..(batch * 20 + 22);
        let entries: Vec<_> = numbers
            .map(|number| entry(number, at(number), StorageReason::RepeatedFailure))
            .collect();
        dropped += database.write(&entries).unwrap().for_size;
        let used = database.held().unwrap().1;
        assert!(used <= 5 << 18, "{used} bytes after {batch}");
    }
    assert!(dropped > 200);
    let (entries, _) = database.held().unwrap();
    assert_eq!(entries, 1001 - dropped);
    assert!(is_stored(&mut database, 1) && is_stored(&mut database, 1001));
    let last = id(u32::try_from(dropped).unwrap() + 1);
    let gone = database.evidence(last).unwrap();
    assert!(
        matches!(&gone, StoredLookup::Dropped(probe, DropReason::Size) if probe.id == last),
        "{gone:?}"
    );
    // The rows of dropped contents are bounded as well.
    assert_eq!(database.evidence(id(2)).unwrap(), StoredLookup::Unknown);
    drop(database);
    let file = std::fs::metadata(&path).unwrap().len();
    assert!(file <= LIMITS.size, "{file}");
}

#[test]
fn a_lower_size_applies_to_the_existing_file() {
    let (_folder, path) = folder();
    let large = StoreLimits {
        size: 32 << 20,
        ..LIMITS
    };
    let mut database = Database::open(&path, large).unwrap();
    let now = SystemTime::now();
    let entries: Vec<_> = (0..1500)
        .map(|number| entry(number, now, StorageReason::Failure))
        .collect();
    database.write(&entries).unwrap();
    drop(database);
    let before = std::fs::metadata(&path).unwrap().len();
    let mut database = Database::open(&path, LIMITS).unwrap();
    while database.write(&[]).unwrap().is_partial {}
    drop(database);
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(before > 4 << 20 && after <= 1 << 20, "{before} {after}");
}

#[test]
fn evidence_older_than_the_retention_is_dropped() {
    let (_folder, path) = folder();
    let mut database = Database::open(&path, LIMITS).unwrap();
    let now = SystemTime::now();
    let new = [
        entry(1, now - 15 * DAY, StorageReason::Failure),
        entry(2, now - 13 * DAY, StorageReason::Failure),
    ];
    database.write(&new).unwrap();
    database.write(&[]).unwrap();
    assert!(is_stored(&mut database, 2));
    let gone = database.evidence(id(1)).unwrap();
    assert!(matches!(gone, StoredLookup::Dropped(_, DropReason::Age)), "{gone:?}");
    assert_eq!(database.held().unwrap().0, 1);
}

#[test]
fn an_hour_has_one_success_also_after_a_restart() {
    let (_folder, path) = folder();
    let mut database = Database::open(&path, LIMITS).unwrap();
    let now = SystemTime::now();
    let minutes = |number| now - DAY + Duration::from_mins(number);
    for (number, at, why, stored) in [
        (1, 0, StorageReason::Success, true),
        (2, 10, StorageReason::Success, false),
        (3, 61, StorageReason::Success, true),
        (4, 62, StorageReason::Failure, true),
        // The latest stored probe failed, so this is the first success after a failure.
        (5, 63, StorageReason::Success, true),
    ] {
        database.write(&[entry(number, minutes(at), why)]).unwrap();
        assert_eq!(is_stored(&mut database, number), stored, "{number}");
    }
}

#[test]
fn a_content_that_does_not_match_its_checksum_is_dropped() {
    let (_folder, path) = folder();
    let mut database = Database::open(&path, LIMITS).unwrap();
    let now = SystemTime::now();
    let new = [
        entry(1, now, StorageReason::Failure),
        entry(2, now, StorageReason::Failure),
    ];
    database.write(&new).unwrap();
    // A valid content, but of another probe.
    let exchanged = "UPDATE content SET body = (SELECT body FROM content WHERE seq = 2) WHERE seq = 1";
    database.connection.execute(exchanged, []).unwrap();
    for _ in 0..2 {
        let gone = database.evidence(id(1)).unwrap();
        assert!(
            matches!(gone, StoredLookup::Dropped(_, DropReason::Damaged)),
            "{gone:?}"
        );
    }
    assert!(is_stored(&mut database, 2));
    assert_eq!(database.held().unwrap().0, 1);
}

#[test]
fn a_database_of_a_later_version_is_refused_and_stays_unchanged() {
    let (_folder, path) = folder();
    let database = Database::open(&path, LIMITS).unwrap();
    let later = VERSION + 1;
    database.connection.pragma_update(None, "user_version", later).unwrap();
    drop(database);
    let before = std::fs::read(&path).unwrap();
    let error = Database::open(&path, LIMITS).unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found, .. } if found == later),
        "{error}"
    );
    assert!(!error.is_damage());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_replaced() {
    let (_folder, path) = folder();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE a (b)").unwrap();
    drop(other);
    let error = Database::open(&path, LIMITS).unwrap_err();
    assert!(error.is_damage(), "{error}");
    let aside = files::set_aside(&path).unwrap();
    assert!(aside.exists() && !path.exists());
    let path = files::prepare(path.parent().unwrap()).unwrap();
    Database::open(&path, LIMITS).unwrap();
}

#[test]
fn a_full_disk_and_a_lock_are_not_damage() {
    for (code, is_damage) in [
        (rusqlite::ffi::SQLITE_BUSY, false),
        (rusqlite::ffi::SQLITE_FULL, false),
        (rusqlite::ffi::SQLITE_IOERR, false),
        (rusqlite::ffi::SQLITE_CORRUPT, true),
        (rusqlite::ffi::SQLITE_NOTADB, true),
    ] {
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        assert_eq!(super::is_damage(&error), is_damage, "{code}");
    }
}

#[test]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_folder, path) = folder();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    files::prepare(path.parent().unwrap()).unwrap();
    let mut database = Database::open(&path, LIMITS).unwrap();
    database
        .write(&[entry(1, SystemTime::now(), StorageReason::Failure)])
        .unwrap();
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.path()
        );
    }
    let folder = std::fs::metadata(path.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
}
