//! Tests of the catalogue against captured responses.

use super::{
    GatewayKind, Meaning, ObservedResponse, OwnResponse, Provenance, Recognised, Signature, catalogue, recognise,
    row_of,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A captured response, or one written from the product's documentation, and the expected result of the lookup.
struct Capture {
    file: String,
    expected: String,
    proof: String,
    status: u16,
    phrase: String,
    headers: HeaderMap,
    trailers: HeaderMap,
    body: String,
    waited: u64,
}

impl Capture {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        // "# own nginx upstream", or "# own nginx upstream, proven after 3000 ms".
        let first = lines.next().unwrap().trim_start_matches("# ");
        let (expected, waited) = first.split_once(" after ").unwrap_or((first, "3 ms"));
        let (expected, proof) = expected.split_once(", ").unwrap_or((expected, "inferred"));
        let mut status = lines.next().unwrap().splitn(3, ' ').skip(1);
        let fields = lines.map(|line| line.split_once(": ").unwrap());
        Self {
            file: path.file_name().unwrap().to_string_lossy().into_owned(),
            expected: expected.to_owned(),
            proof: proof.to_owned(),
            waited: waited.trim_end_matches(" ms").parse().unwrap(),
            trailers: HeaderMap::new(),
            status: status.next().unwrap().parse().unwrap(),
            phrase: status.next().unwrap_or_default().to_owned(),
            headers: fields
                .map(|(name, value)| {
                    let name: HeaderName = name.parse().unwrap();
                    (name, HeaderValue::from_str(value).unwrap())
                })
                .collect(),
            body: body.to_owned(),
        }
    }

    fn answer(&self) -> ObservedResponse<'_> {
        ObservedResponse {
            status: self.status,
            phrase: Some(&self.phrase),
            headers: &self.headers,
            trailers: &self.trailers,
            body: &self.body,
            waited: Duration::from_millis(self.waited),
        }
    }
}

fn captures() -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gateways");
    let files = fs::read_dir(folder).unwrap();
    files.map(|file| Capture::read(&file.unwrap().path())).collect()
}

/// `own nginx upstream.connection_refused`, `through envoy` or `none`. `upstream` alone means several reasons.
fn words(recognised: Option<Recognised>) -> String {
    match recognised {
        None => "none".to_owned(),
        Some(Recognised::Through(name)) => format!("through {}", name.unwrap_or("unknown")),
        Some(Recognised::Perhaps(by, meaning)) => format!("perhaps {by} {}", meaning_shown(meaning)),
        Some(Recognised::Own(OwnResponse { by, meaning, .. })) => {
            format!("own {} {}", by.unwrap_or("unknown"), meaning_shown(meaning))
        }
    }
}

fn meaning_shown(meaning: Meaning) -> String {
    match meaning {
        Meaning::Origin => "origin".to_owned(),
        Meaning::Itself(reason) => reason.as_str().to_owned(),
        Meaning::Upstream(reasons @ ([_] | [_, _])) => {
            let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
            reasons.join(" ")
        }
        Meaning::Upstream(_) => "upstream".to_owned(),
    }
}

/// Strength of the evidence: `inferred`, `proven` (the product generated the response) or `sure` (also its meaning).
const fn proof(recognised: Option<Recognised>) -> &'static str {
    match recognised {
        Some(Recognised::Own(OwnResponse { sure: true, .. })) => "sure",
        Some(Recognised::Own(OwnResponse { proven: true, .. })) => "proven",
        _ => "inferred",
    }
}

#[test]
fn each_capture_is_taken_for_what_it_is() {
    let wrong: Vec<_> = captures()
        .iter()
        .filter_map(|capture| {
            let recognised = recognise(&capture.answer());
            let (taken, proof) = (words(recognised), proof(recognised));
            let right = taken == capture.expected
                || (capture.expected.ends_with(" upstream") && taken.starts_with(&capture.expected));
            (!right || proof != capture.proof).then(|| {
                let expected = format!("{}, {}", capture.expected, capture.proof);
                format!("{}: {taken}, {proof}, not {expected}", capture.file)
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_product_has_a_capture() {
    let seen: BTreeSet<_> = captures()
        .iter()
        .filter_map(|capture| capture.expected.split(' ').nth(1).map(str::to_owned))
        .collect();
    let without: Vec<_> = catalogue()
        .map(|row| row.name)
        .filter(|name| !seen.contains(*name))
        .collect();
    assert!(without.is_empty(), "{without:?}");
}

/// Maximum number of rows without a capture. Only lower this number.
const MOST_WITHOUT_CAPTURE: usize = 216;

#[test]
fn each_row_has_a_capture_or_is_listed_as_one_without() {
    let captures = captures();
    let shown = |gateway, row| {
        let fits = |capture: &Capture| row_of(gateway, &capture.answer()).is_some_and(|page| std::ptr::eq(page, row));
        captures.iter().any(fits)
    };
    let without: Vec<String> = catalogue()
        .flat_map(|gateway| gateway.own.iter().map(move |row| (gateway, row)))
        .filter(|(gateway, row)| !shown(*gateway, *row))
        .map(|(gateway, row)| format!("{}: {:?}", gateway.name, row.signatures))
        .collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gateways-without-capture.txt");
    let text = fs::read_to_string(file).unwrap();
    let listed: Vec<&str> = text.lines().collect();
    let missing: Vec<_> = without.iter().filter(|row| !listed.contains(&row.as_str())).collect();
    assert!(missing.is_empty(), "these rows have no capture: {missing:#?}");
    let stale: Vec<_> = listed
        .iter()
        .filter(|row| !without.iter().any(|other| other == *row))
        .collect();
    assert!(
        stale.is_empty(),
        "these have a capture, or are not in the catalogue: {stale:#?}"
    );
    assert!(without.len() <= MOST_WITHOUT_CAPTURE, "{}", without.len());
}

#[test]
fn no_row_claims_the_page_of_another() {
    for capture in captures()
        .iter()
        .filter(|capture| !capture.expected.starts_with("through "))
    {
        let claims: Vec<_> = catalogue()
            .filter(|gateway| gateway.own.iter().any(|page| page.fits(&capture.answer())))
            .map(|gateway| gateway.name)
            .collect();
        // Fastly is based on Varnish and returns the same page.
        let others = claims.iter().filter(|name| **name != "varnish");
        assert!(others.count() <= 1, "{}: {claims:?}", capture.file);
        // A response is proven to come from one product only.
        let proven = catalogue().filter(|gateway| {
            gateway.is_proven(&capture.answer())
                && (claims.contains(&gateway.name)
                    || gateway
                        .template
                        .iter()
                        .any(|signatures| signatures.iter().all(|signature| signature.holds(&capture.answer()))))
        });
        let proven: Vec<_> = proven.map(|gateway| gateway.name).collect();
        assert!(proven.len() <= 1, "{}: {proven:?}", capture.file);
    }
}

/// Products whose own page comes from the edge without further evidence. Each entry claims that the product never runs
/// behind another gateway.
#[test]
fn only_networks_that_face_the_world_stand_at_the_edge_alone() {
    let edges: Vec<_> = catalogue()
        .filter(|gateway| gateway.kind == GatewayKind::Edge)
        .map(|gateway| gateway.name)
        .collect();
    let known = [
        "vercel",
        "netlify",
        "cloudflare",
        "cloudfront",
        "fastly",
        "akamai",
        "imperva",
        "sucuri",
        "azure_front_door",
    ];
    assert_eq!(edges, known);
}

/// A field that products also add to relayed responses proves nothing, nor does a string with a variable start or end.
#[test]
fn what_proves_who_made_an_answer_is_on_no_other() {
    for gateway in catalogue() {
        for signature in gateway.own_fields {
            let proves = match signature {
                Signature::Has(name) | Signature::Says(name, _) | Signature::Begins(name, _) => {
                    !["server", "via", "age", "date", "content-type"].contains(name)
                }
                Signature::Phrase(phrase) => !phrase.is_empty(),
                _ => false,
            };
            assert!(proves, "{}: {signature:?}", gateway.name);
        }
        for text in gateway.own_texts {
            assert!(
                text.len() >= 12 && !text.starts_with(['*', '.']),
                "{}: {text}",
                gateway.name
            );
            assert!(!text.ends_with("**"), "{}: {text}", gateway.name);
        }
    }
}

#[test]
fn a_gateways_text_under_an_applications_name_is_not_proven_to_be_the_gateways() {
    for (server, proven) in [("gunicorn", false), ("envoy", true), ("nginx", false)] {
        let mut headers = HeaderMap::new();
        headers.insert("server", HeaderValue::from_static(server));
        let recognised = recognise(&ObservedResponse {
            status: 503,
            phrase: None,
            headers: &headers,
            trailers: &HeaderMap::new(),
            body: "no healthy upstream",
            waited: Duration::ZERO,
        });
        let Some(Recognised::Own(own)) = recognised else {
            panic!("{recognised:?}")
        };
        assert_eq!(own.proven, proven, "{server}");
    }
}

#[test]
fn each_row_says_how_it_is_known() {
    for gateway in catalogue() {
        let known = gateway.own.iter().filter_map(|page| page.known).chain([gateway.known]);
        for Provenance::Measured(source) | Provenance::Documented(source) in known {
            assert!(source.len() > 4, "{}: {source:?}", gateway.name);
        }
    }
}
