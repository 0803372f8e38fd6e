//! Masks the secrets that a target repeats in its response.
//!
//! The masking has two steps, because the attribution needs the original responses: a secret that equals a product
//! name must not prevent the recognition of that product. The first step runs before the attribution and masks the
//! strings that the attribution copies into sentences. The second step runs after it and masks the responses. No other
//! code reads a report before both steps have finished.

use super::{BodyPart, SecretMasker};
use crate::secret::MASK;
use glassbox_verdict::report::{Dialogue, Exchange, ProtocolFacts, Reply, Report};
use http::header;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::ops::Range;

/// Maximum number of bytes of a header value that are searched for secrets. The evidence keeps far fewer.
const LONGEST_VALUE: usize = 4096;

/// The mask in a field name, which cannot contain `<` and `>`.
const NAME_MASK: &str = "*secret*";

/// Field names that are never masked: servers send them regardless of any secret, and they are useful evidence.
const USUAL_NAMES: [HeaderName; 28] = [
    header::AGE,
    header::ALLOW,
    header::ALT_SVC,
    header::CACHE_CONTROL,
    header::CACHE_STATUS,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::PROXY_AUTHENTICATE,
    header::RETRY_AFTER,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
    header::VIA,
    header::WARNING,
    header::WWW_AUTHENTICATE,
];

/// Masks display texts and labels: details, redirects, dialogues, certificates. Runs before the attribution.
pub fn mask_texts(report: &mut Report, masks: &SecretMasker) {
    if let Some(fault) = &mut report.fault {
        conceal_mixed(&mut fault.detail, masks);
    }
    let first = report
        .with_target()
        .next()
        .map(|exchange| (exchange.url.clone(), exchange.tls_name.clone()));
    let (url, tls_name) = first.unwrap_or_default();
    for exchange in &mut report.exchanges {
        if !exchange.for_credentials && exchange.url != url {
            conceal_redirect(&mut exchange.url, &url, masks);
            conceal_optional(&mut exchange.authority, masks);
            if exchange.tls_name != tls_name {
                conceal_optional(&mut exchange.tls_name, masks);
            }
        }
        conceal_texts_of(exchange, masks);
    }
}

/// Masks the header fields, the reason phrases and the first bytes of responses. Runs after the attribution.
/// `body_start` stays unmasked, because only the attribution uses it and nothing displays it.
pub fn mask_responses(report: &mut Report, masks: &SecretMasker) {
    for exchange in &mut report.exchanges {
        if let Some(masked) = masks.bytes(&exchange.wire.excerpt, BodyPart::Foreign) {
            exchange.wire.excerpt = masked;
        }
        if let Some(reply) = &mut exchange.reply {
            conceal_reply(reply, masks);
        }
    }
}

/// Masks the reason phrase, the names and the values together, because a secret may be split across them.
fn conceal_reply(reply: &mut Reply, masks: &SecretMasker) {
    let phrase = reply.reason_phrase.as_ref().map(|phrase| phrase.clone().into_bytes());
    let values = reply.headers.values().map(|value| excerpt(value.as_bytes()).to_vec());
    let mut values: Vec<Vec<u8>> = phrase.into_iter().chain(values).collect();
    let mut names: Vec<Vec<u8>> = reply.headers.iter().map(|(name, _)| name.as_str().into()).collect();
    masks.lines(&mut values, BodyPart::Foreign);
    masks.lines(&mut names, BodyPart::Foreign);
    let mut values = values.into_iter();
    if let Some(phrase) = &mut reply.reason_phrase {
        *phrase = String::from_utf8_lossy(&values.next().unwrap_or_default()).into_owned();
    }
    // A secret may also be split across a name and its value.
    let mut fields: Vec<Vec<u8>> = names.into_iter().zip(values).flat_map(<[_; 2]>::from).collect();
    masks.lines(&mut fields, BodyPart::Foreign);
    let mut concealed = HeaderMap::new();
    for ((name, value), after) in reply.headers.iter().zip(fields.chunks_exact(2)) {
        concealed.append(shown_name(name, &after[0]), shown_value(value, &after[1]));
    }
    reply.headers = concealed;
}

/// The masked field name; usual names stay unmasked.
fn shown_name(name: &HeaderName, after: &[u8]) -> HeaderName {
    if name.as_str().as_bytes() == after || USUAL_NAMES.contains(name) {
        return name.clone();
    }
    let text = String::from_utf8_lossy(after).replace(MASK, NAME_MASK);
    HeaderName::try_from(text).unwrap_or(HeaderName::from_static(NAME_MASK))
}

/// The masked field value.
fn shown_value(value: &HeaderValue, after: &[u8]) -> HeaderValue {
    if excerpt(value.as_bytes()) == after {
        return value.clone();
    }
    HeaderValue::from_bytes(after).unwrap_or(HeaderValue::from_static(MASK))
}

fn excerpt(value: &[u8]) -> &[u8] {
    &value[..value.len().min(LONGEST_VALUE)]
}

fn conceal(text: &mut String, masks: &SecretMasker, part: BodyPart) {
    if let Some(masked) = masks.text(text, part) {
        *text = masked;
    }
}

/// Masks an exporter message that quotes the target. Short secrets are masked only in the quotations, because the
/// rest of the message may contain them by chance.
fn conceal_mixed(text: &mut String, masks: &SecretMasker) {
    let quotations: Vec<_> = quotations(text).collect();
    for quotation in quotations.into_iter().rev() {
        if let Some(masked) = masks.text(&text[quotation.clone()], BodyPart::Foreign) {
            text.replace_range(quotation, &masked);
        }
    }
    conceal(text, masks, BodyPart::Mixed);
}

/// The ranges between double quotes, as `{:?}` writes them. The last quotation of a truncated text has no end.
fn quotations(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut quotes = Vec::new();
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        if character == '"' && !is_escaped {
            quotes.push(at);
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    let end = text.len();
    let pairs: Vec<_> = quotes
        .chunks(2)
        .map(|pair| pair[0] + 1..pair.get(1).copied().unwrap_or(end))
        .collect();
    pairs.into_iter()
}

fn conceal_optional(text: &mut Option<String>, masks: &SecretMasker) {
    if let Some(text) = text {
        conceal(text, masks, BodyPart::Foreign);
    }
}

/// Masks a URL that the target sent. The scheme stays unmasked. The origin also stays unmasked if it
/// equals the probed URL's origin.
fn conceal_redirect(url: &mut String, first: &str, masks: &SecretMasker) {
    let own = origin(first);
    let kept = if url.starts_with(own) && url[own.len()..].starts_with(['/', '?']) {
        own.len()
    } else {
        url.find("://").map_or(0, |scheme| scheme + "://".len())
    };
    if let Some(masked) = masks.text(&url[kept..], BodyPart::Foreign) {
        url.truncate(kept);
        url.push_str(&masked);
    }
}

/// Scheme, host and port of a URL, without normalisation.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + "://".len());
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |end| host + end);
    &url[..end]
}

fn conceal_texts_of(exchange: &mut Exchange, masks: &SecretMasker) {
    exchange.deviations.map_fields(|field| {
        let is_usual = USUAL_NAMES.iter().any(|name| name.as_str().eq_ignore_ascii_case(field));
        if is_usual {
            None
        } else {
            masks.text(field, BodyPart::Foreign)
        }
    });
    for certificate in exchange.tls.iter_mut().flat_map(|tls| &mut tls.chain) {
        conceal(&mut certificate.subject, masks, BodyPart::Public);
        conceal(&mut certificate.issuer, masks, BodyPart::Public);
        // A certificate may legitimately contain a host name that was sent as a secret, but not in its serial number.
        conceal(&mut certificate.serial, masks, BodyPart::Mixed);
        for name in &mut certificate.dns_names {
            conceal(name, masks, BodyPart::Public);
        }
    }
    if let Some(inspection) = &mut exchange.inspection {
        conceal_mixed(&mut inspection.because, masks);
        if let Some(answer) = &mut inspection.answer {
            conceal_mixed(answer, masks);
        }
    }
    if let Some(ProtocolFacts::Dialogue(dialogue)) = &mut exchange.spoken {
        conceal_dialogue(dialogue, masks);
    }
}

fn conceal_dialogue(dialogue: &mut Dialogue, masks: &SecretMasker) {
    for (_, value) in dialogue.labels.iter_mut().flatten() {
        conceal(value, masks, BodyPart::Foreign);
    }
    // Steps whose labels are equal after masking become one series.
    let mut unlike = Vec::with_capacity(dialogue.labels.len());
    for labels in dialogue.labels.drain(..) {
        if !unlike.contains(&labels) {
            unlike.push(labels);
        }
    }
    dialogue.labels = unlike;
    if let Some(failed) = &mut dialogue.failed {
        let mut lines: Vec<_> = failed.received.iter().map(|line| line.clone().into_bytes()).collect();
        masks.lines(&mut lines, BodyPart::Foreign);
        let lines = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        failed.received = lines.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::{conceal_mixed, conceal_redirect, mask_responses, mask_texts};
    use crate::secrets::{SecretMasker, Secrets};
    use glassbox_verdict::report::{
        Deviation, Deviations, Dialogue, Exchange, FailedStep, Fault, ProtocolFacts, Reply, Report, TlsFacts,
    };
    use http::HeaderValue;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    fn masks() -> Arc<SecretMasker> {
        let mut secrets = Secrets::default();
        secrets.add(b"Canary4242");
        secrets.add(b"shop");
        secrets.masks().unwrap()
    }

    #[test]
    fn a_redirect_keeps_its_scheme_and_the_origin_that_the_caller_named() {
        for (url, shown) in [
            ("http://shop.test/shop/Canary4242", "http://shop.test/<secret>/<secret>"),
            ("http://shop.test:81/a", "http://<secret>.test:81/a"),
            ("http://canary4242.test/", "http://<secret>.test/"),
            ("https://other.test/a", "https://other.test/a"),
            ("http://shop.test.other/", "http://<secret>.test.other/"),
        ] {
            let mut url = url.to_owned();
            conceal_redirect(&mut url, "http://shop.test/first", &masks());
            assert_eq!(url, shown);
        }
    }

    #[test]
    fn a_short_secret_is_masked_where_the_target_is_quoted() {
        for (text, shown) in [
            ("The shop sent \"shop\".", "The shop sent \"<secret>\"."),
            (
                r#"sent "a \"shop\" b" of "SHOP" in shop"#,
                r#"sent "a \"<secret>\" b" of "<secret>" in shop"#,
            ),
            (r#"sent "a\\" in shop"#, r#"sent "a\\" in shop"#),
            ("sent \"more of a shop", "sent \"more of a <secret>"),
            ("sent Canary4242 in shop", "sent <secret> in shop"),
        ] {
            let mut text = text.to_owned();
            conceal_mixed(&mut text, &masks());
            assert_eq!(text, shown);
        }
    }

    fn deviations() -> Deviations {
        let mut deviations = Deviations::default();
        deviations.note_field(Deviation::ObsFold, b"X-Canary4242");
        deviations.note_field(Deviation::ObsFold, b"X-CANARY4242");
        // Cut within the secret.
        deviations.note_field(Deviation::SpaceInName, format!("{:X<57}Canary4242", "").as_bytes());
        deviations
    }

    /// A report that contains a secret in each of its strings.
    fn with_a_secret_everywhere() -> Report {
        let text = |place: &str| format!("{place} Canary4242");
        let value = || HeaderValue::from_static("say Canary4242");
        let labels = |end: &str| vec![("a".to_owned(), format!("Canary4242{end}"))];
        Report {
            began: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            timeout: Duration::ZERO,
            exchanges: vec![
                Exchange {
                    url: "http://a.test/".to_owned(),
                    ..Exchange::default()
                },
                Exchange {
                    url: "http://canary4242.test/Canary4242".to_owned(),
                    authority: Some("canary4242.test".to_owned()),
                    tls_name: Some("canary4242.test".to_owned()),
                    reply: Some(Reply {
                        headers: [
                            (http::header::SERVER, value()),
                            (http::header::VIA, value()),
                            (http::HeaderName::from_static("x-canary4242"), value()),
                        ]
                        .into_iter()
                        .collect(),
                        reason_phrase: Some(text("phrase")),
                        ..Reply::default()
                    }),
                    spoken: Some(ProtocolFacts::Dialogue(Dialogue {
                        labels: vec![labels(""), labels(""), labels(" b")],
                        failed: Some(FailedStep {
                            received: vec!["Cana".to_owned(), "ry4242".to_owned()],
                            ..FailedStep::default()
                        }),
                        ..Dialogue::default()
                    })),
                    tls: Some(TlsFacts {
                        chain: vec![glassbox_verdict::report::Certificate {
                            subject: text("CN="),
                            issuer: text("CN="),
                            dns_names: vec!["canary4242.test".to_owned()],
                            serial: "43616e61727934323432".to_owned(),
                            ..glassbox_verdict::report::Certificate::default()
                        }],
                        ..TlsFacts::default()
                    }),
                    deviations: deviations(),
                    wire: glassbox_verdict::report::WireFacts {
                        excerpt: b"HTTP/1.1 200 Canary4242".to_vec(),
                        ..glassbox_verdict::report::WireFacts::default()
                    },
                    ..Exchange::default()
                },
            ],
            fault: Some(Fault {
                stage: glassbox_verdict::chain::Stage::Wait,
                reason: glassbox_verdict::reason::Reason::HttpStatus,
                detail: text("It says"),
                at_deadline: false,
            }),
        }
    }

    #[test]
    fn nothing_that_is_shown_of_a_report_has_a_secret() {
        let mut report = with_a_secret_everywhere();
        mask_texts(&mut report, &masks());
        let before = format!("{:?}", report.exchanges[1].reply);
        assert!(
            before.contains("Canary4242"),
            "the attribution needs the original: {before}"
        );
        mask_responses(&mut report, &masks());
        let shown = format!("{report:?}").to_lowercase();
        for part in ["canary4242", "cana\"", "ry4242", "canary4", "43616e"] {
            assert!(!shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(report.exchanges[1].dialogue().unwrap().labels.len(), 2);
        assert_eq!(report.exchanges[1].wire.excerpt, b"HTTP/1.1 200 <secret>");
        assert_eq!(report.exchanges[1].deviations.iter().count(), 2);
        let fields = &report.exchanges[1].reply.as_ref().unwrap().headers;
        assert!(
            fields.contains_key("server") && fields.contains_key("x-*secret*"),
            "{fields:?}"
        );
    }

    #[test]
    fn the_usual_names_of_fields_stay_whatever_the_secret_is() {
        let mut secrets = Secrets::default();
        secrets.add(b"server");
        secrets.add(b"x-cache");
        let mut reply = Reply::default();
        for name in ["server", "x-cache", "x-other"] {
            reply.headers.insert(name, HeaderValue::from_static("a"));
        }
        super::conceal_reply(&mut reply, &secrets.masks().unwrap());
        let names: Vec<_> = reply.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["server", "*secret*", "x-other"]);
    }
}
