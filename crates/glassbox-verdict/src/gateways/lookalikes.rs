//! Lookalikes for tests: for each product of the catalogue, an application behind it whose own error page repeats the
//! product's words. None of them may be attributed to the gateway as `certain`.

use super::{Gateway, Meaning, ObservedResponse, Signature, catalogue};
use crate::report::Reply;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue};

/// A response of an application that imitates a row of the catalogue.
pub struct Lookalike {
    pub of: String,
    pub reply: Reply,
    /// Time to the first byte, in milliseconds.
    pub waited: u64,
}

/// All lookalikes: one page and two JSON documents for each row and each layout.
pub fn all() -> impl Iterator<Item = Lookalike> {
    catalogue().flat_map(|gateway| {
        let rows = gateway.own.iter().map(|page| (page.signatures, Some(page.meaning)));
        let templates = gateway.template.iter().map(|signatures| (*signatures, None));
        rows.chain(templates)
            .flat_map(move |(signatures, meaning)| of_row(gateway, signatures, meaning))
    })
}

fn of_row(gateway: &Gateway, signatures: &[Signature], meaning: Option<Meaning>) -> Vec<Lookalike> {
    let mut twin = Draft {
        status: match meaning {
            Some(Meaning::Upstream(_)) => 502,
            Some(Meaning::Itself(_)) | None => 403,
            Some(Meaning::Origin) => 500,
        },
        waited: 3,
        reply: Reply::default(),
        words: Vec::new(),
    };
    // The status comes first because some strings contain it.
    for signature in signatures {
        twin.take_status(signature);
    }
    for signature in signatures.iter().chain(gateway.here.first()) {
        twin.take(signature, gateway);
    }
    let words = twin.words.join(" ");
    let escaped = words
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace(['\r', '\n'], " ");
    let page = format!("<html><head><title>Shop</title></head><body><h1>Our partner failed</h1>{words}</body></html>");
    let wrapped = format!("{{\"service\":\"orders\",\"detail\":\"our partner: {escaped}\"}}");
    let member = format!("{{\"statusCode\":{},\"message\":\"{escaped}\"}}", twin.status);
    [
        ("text/html", page),
        ("application/json", wrapped),
        ("application/json", member),
    ]
    .into_iter()
    .map(|(kind, body)| twin.with(format!("{}: {signatures:?}", gateway.name), kind, &body))
    .collect()
}

/// A lookalike under construction.
struct Draft {
    status: u16,
    waited: u64,
    reply: Reply,
    words: Vec<String>,
}

impl Draft {
    fn take_status(&mut self, signature: &Signature) {
        match signature {
            Signature::Status([first, ..]) => self.status = *first,
            Signature::AnyOf([first, ..]) => self.take_status(first),
            _ => {}
        }
    }

    /// Adds the signature to the lookalike, except for fields that only the product's own responses have.
    fn take(&mut self, signature: &Signature, gateway: &Gateway) {
        let status = self.status;
        match signature {
            Signature::Has(name) => self.field(gateway, name, "1"),
            Signature::Says(name, text) | Signature::Begins(name, text) => self.field(gateway, name, text),
            Signature::ServerWith(text, name) => {
                self.field(gateway, "server", text);
                self.field(gateway, name, "1");
            }
            Signature::AmongMany(name, text) => {
                self.field(gateway, name, text);
                self.field(gateway, name, "x");
            }
            Signature::Phrase(text) if !gateway.own_fields.contains(signature) => {
                self.reply.reason_phrase = Some((*text).to_owned());
            }
            Signature::Body(text)
            | Signature::BodyIs(text)
            | Signature::Starts(text)
            | Signature::Text(text)
            | Signature::Message(text) => {
                self.words.push((*text).to_owned());
            }
            Signature::Titled(text) | Signature::StartsTitled(text) => self.words.push(format!("{text}{status}")),
            Signature::Numbered(text, [first, ..]) => self.words.push(format!("{text}{first}")),
            Signature::FootOfServer(text) => self.words.push(format!("{text}{}", gateway.name)),
            Signature::AnyOf(signatures) => signatures.iter().for_each(|signature| self.take(signature, gateway)),
            Signature::Slow => self.waited = 3_000,
            Signature::Waited(from, _) => self.waited = *from,
            _ => {}
        }
    }

    fn field(&mut self, gateway: &Gateway, name: &str, value: &str) {
        let own = gateway.own_fields.iter().any(|signature| match signature {
            Signature::Has(own) | Signature::Says(own, _) | Signature::Begins(own, _) => *own == name,
            _ => false,
        });
        if !own {
            let name: HeaderName = name.parse().unwrap();
            self.reply.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
    }

    fn with(&self, of: String, kind: &'static str, body: &str) -> Lookalike {
        let mut reply = Reply {
            status: self.status,
            body_length: body.len() as u64,
            body_start: body.as_bytes().to_vec(),
            ..self.reply.clone()
        };
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Lookalike {
            of,
            reply,
            waited: self.waited,
        }
    }
}

#[test]
fn each_row_has_its_twins_and_each_twin_has_its_rows_words() {
    let twins: Vec<_> = all().collect();
    let rows: usize = catalogue()
        .map(|gateway| gateway.own.len() + gateway.template.len())
        .sum();
    assert_eq!(twins.len(), rows * 3);
    // The catalogue attributes most of them to the product, so they are realistic.
    let recognised = twins.iter().filter(|twin| {
        super::recognise(&ObservedResponse {
            status: twin.reply.status,
            phrase: twin.reply.reason_phrase.as_deref(),
            headers: &twin.reply.headers,
            trailers: &http::HeaderMap::new(),
            body: &String::from_utf8_lossy(&twin.reply.body_start),
            waited: std::time::Duration::from_millis(twin.waited),
        })
        .is_some()
    });
    assert!(recognised.count() * 2 > twins.len());
}
