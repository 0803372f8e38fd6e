//! Configuration files that both exporters accept: checks the fixtures of the suite with `blackbox_exporter`.

use crate::world::{accepts, peer, version_of};
use std::collections::BTreeMap;
use std::path::Path;

/// Files that only one of the exporters accepts: `file | reason`.
const DIFFERENT: &str = include_str!("configurations.txt");

#[test]
fn both_exporters_accept_and_reject_the_same_files() {
    let program = peer();
    if !version_of(&program).starts_with("0.28") {
        println!("configurations are compared with 0.28 only: older versions have fewer keys");
        return;
    }
    let mut different: BTreeMap<_, _> = DIFFERENT
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            line.split_once(" | ")
                .unwrap_or_else(|| panic!("line without a reason: {line}"))
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    let (mut asked, mut unexplained) = (0, Vec::new());
    for (kind, ours) in [("good", true), ("bad", false)] {
        for entry in std::fs::read_dir(fixtures.join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            asked += 1;
            let bytes = std::fs::read(&path).unwrap();
            if accepts(&program, folder.path(), &bytes) != ours && different.remove(name.as_str()).is_none() {
                unexplained.push(format!("{kind}/{name}"));
            }
        }
    }
    println!("{asked} files: {} listed differences", DIFFERENT.matches(" | ").count());
    assert!(
        unexplained.is_empty(),
        "blackbox_exporter disagrees, and the file is not listed: {unexplained:#?}"
    );
    assert!(
        different.is_empty(),
        "listed as different, but both exporters agree: {different:#?}"
    );
}
