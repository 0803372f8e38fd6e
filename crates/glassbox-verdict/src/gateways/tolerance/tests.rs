//! Tests of the tolerance: the bytes of each measured response predict what was measured.

use super::table::Table;
use super::{Acceptance, Tolerance, accepted_by, head_limit};
use crate::conformance::{ConnectionEnd, RawResponse, examine, examined_fixtures};

#[test]
fn a_head_is_within_a_products_limit_if_no_version_refuses_it() {
    for (product, limit) in [
        ("nginx", Some(4_013)),
        ("haproxy", Some(15_179)),
        ("apache", Some(8_191)),
        ("varnish", Some(8_192)),
        ("squid", Some(65_453)),
        ("caddy", Some(204_800)),
        ("envoy", Some(81_838)),
        ("tengine", None),
        ("", None),
    ] {
        assert_eq!(head_limit(product), limit, "{product}");
    }
}

#[test]
fn the_bytes_of_each_measured_response_predict_what_each_gateway_does() {
    let mut wrong = Vec::new();
    let mut total = 0;
    for (row, features) in examined_fixtures() {
        for gateway in &Table::get().gateways {
            let (product, version) = gateway.split_once('/').unwrap();
            let tolerance = Tolerance::of(product, Some(version)).unwrap();
            assert_eq!(tolerance.gateways(), [*gateway]);
            let measured = tolerance.acceptance(row);
            let predicted = tolerance.judge(&features).acceptance;
            total += 1;
            let is_accepted = |acceptance| acceptance == Acceptance::Accepted;
            if measured != Acceptance::Unknown && is_accepted(measured) != is_accepted(predicted) {
                let rows: Vec<_> = features.features().iter().map(|feature| feature.row).collect();
                wrong.push(format!(
                    "{gateway} {row}: {measured:?}, predicted {predicted:?} from {rows:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {total}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_feature_of_the_fixtures_is_a_measured_row() {
    for (row, features) in examined_fixtures() {
        for feature in features.features() {
            assert!(Table::get().row(feature.row).is_some(), "{row}: {}", feature.row);
        }
        for size in features.sizes() {
            assert!(Table::get().limit_unit(size.row).is_some(), "{row}: {}", size.row);
        }
    }
}

#[test]
fn versions_between_measured_ones_count_as_both_neighbours() {
    for (version, expected) in [
        (Some("1.22.1"), vec!["nginx/1.22.1"]),
        (Some("1.24.0"), vec!["nginx/1.22.1", "nginx/1.26.3"]),
        (Some("1.26"), vec!["nginx/1.26.3"]),
        (Some("1.9.0"), vec!["nginx/1.18.0"]),
        (Some("2.0.0"), vec!["nginx/1.31.3"]),
        (
            Some("unknown"),
            vec![
                "nginx/1.18.0",
                "nginx/1.22.1",
                "nginx/1.26.3",
                "nginx/1.30.6",
                "nginx/1.31.3",
            ],
        ),
    ] {
        let tolerance = Tolerance::of("nginx", version).unwrap();
        assert_eq!(tolerance.gateways(), expected, "{version:?}");
        let is_measured = matches!(version, Some("1.22.1" | "1.26"));
        assert_eq!(tolerance.is_exact(), is_measured, "{version:?}");
    }
    assert!(Tolerance::of("tengine", None).is_none());
}

#[test]
fn a_judgement_names_what_the_gateway_refuses() {
    let bytes = b"HTTP/1.1 200 OK\r\nX-Odd : a\r\nContent-Length: 2\r\n\r\nok";
    let features = examine(&RawResponse {
        bytes,
        is_whole: true,
        answers_head: false,
        end: ConnectionEnd::Closed,
        decoding_failed: false,
    });
    let nginx = Tolerance::of("nginx", Some("1.22.1")).unwrap().judge(&features);
    let [cause] = nginx.causes.as_slice() else {
        panic!("{nginx:?}")
    };
    assert_eq!(
        (nginx.acceptance, cause.row, cause.section),
        (Acceptance::Refused, "space-before-colon", "RFC 9112, 5.1")
    );
    assert_eq!(&bytes[cause.at.clone().unwrap()], b"X-Odd : a");
    let accepting = accepted_by(&features);
    assert!(
        !accepting.contains(&"nginx/1.22.1") && accepting.contains(&"caddy/2.11.7"),
        "{accepting:?}"
    );
}

#[test]
fn sizes_are_compared_with_the_measured_limits() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 0\r\n\r\n",
        "a".repeat(6000)
    );
    let features = examine(&RawResponse {
        bytes: long.as_bytes(),
        is_whole: true,
        answers_head: false,
        end: ConnectionEnd::Closed,
        decoding_failed: false,
    });
    let nginx = Tolerance::of("nginx", None).unwrap().judge(&features);
    assert_eq!(nginx.acceptance, Acceptance::Refused);
    assert!(
        nginx
            .causes
            .iter()
            .any(|cause| cause.row == "head" && cause.sentence.starts_with('6')),
        "{nginx:?}"
    );
    let haproxy = Tolerance::of("haproxy", None).unwrap().judge(&features);
    assert_eq!(haproxy.acceptance, Acceptance::Accepted, "{haproxy:?}");
}
