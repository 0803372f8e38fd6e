//! Examines the responses with which the gateways were measured: each must have the feature of its row, and a valid one no
//! deviation.

use super::{ConnectionEnd, Features, RawResponse, examine};

const RESPONSES: &str = include_str!("../../fixtures/conformance/responses.txt");

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().unwrap() {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("unknown escape {}", char::from(other)),
        });
    }
    bytes
}

/// The rows of the fixture with the features of their bytes.
pub fn examined_fixtures() -> impl Iterator<Item = (&'static str, Features)> {
    let lines = RESPONSES.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let columns: Vec<&str> = line.splitn(4, " | ").collect();
        let [row, method, end, text] = columns[..] else {
            panic!("{line}")
        };
        let bytes = unescaped(text);
        let features = examine(&RawResponse {
            bytes: &bytes,
            is_whole: true,
            answers_head: method == "HEAD",
            decoding_failed: row.starts_with("gzip-"),
            end: if end == "reset" {
                ConnectionEnd::Reset
            } else {
                ConnectionEnd::Closed
            },
        });
        (row, features)
    })
}

#[test]
fn each_measured_response_has_the_feature_of_its_row() {
    let missed: Vec<String> = examined_fixtures()
        .filter(|(row, features)| !features.has(row))
        .map(|(row, features)| format!("{row}: {:?}", rows(&features)))
        .collect();
    assert!(missed.is_empty(), "{} rows:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn a_valid_response_has_no_deviation() {
    for (row, features) in examined_fixtures().filter(|(row, _)| row.starts_with("valid-")) {
        let deviations: Vec<_> = rows(&features)
            .into_iter()
            .filter(|row| !row.starts_with("valid-"))
            .collect();
        assert!(deviations.is_empty(), "{row}: {deviations:?}");
    }
}

fn rows(features: &Features) -> Vec<&'static str> {
    features.features().iter().map(|feature| feature.row).collect()
}

proptest::proptest! {
    /// Cut and changed responses are examined without a panic, and each feature is within the bytes.
    #[test]
    fn any_bytes_are_examined(
        index in 0..1000_usize,
        cut in proptest::num::usize::ANY,
        edits in proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 0..8),
    ) {
        let lines: Vec<&str> = RESPONSES.lines().filter(|line| !line.starts_with('#')).collect();
        let text = lines[index % lines.len()].splitn(4, " | ").last().unwrap_or_default();
        let mut bytes = unescaped(text);
        bytes.truncate(cut % (bytes.len() + 1));
        for (at, byte) in edits {
            if !bytes.is_empty() {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
        }
        for is_whole in [true, false] {
            let features = examine(&RawResponse {
                bytes: &bytes,
                is_whole,
                answers_head: index % 7 == 0,
                decoding_failed: false,
                end: if index % 2 == 0 { ConnectionEnd::Reset } else { ConnectionEnd::Closed },
            });
            for feature in features.features() {
                assert!(feature.at.start <= feature.at.end && feature.at.end <= bytes.len(), "{feature:?}");
            }
        }
    }
}
