//! The catalogue of gateways. Each product has one row: its own responses, their meaning, and the marks of relayed
//! responses.

mod apis;
mod cdns;
mod clouds;
mod firewalls;
mod forward;
mod meanings;
mod meshes;
mod microsoft;
mod page_text;
mod platforms;
mod proxies;
mod servers;
mod signature;
mod structured;
mod tolerance;

pub use meanings::{by_status, can_mean, own_reason};
pub use signature::{ObservedResponse, Signature};
pub use tolerance::head_limit;

use crate::reason::Reason;
use std::cell::LazyCell;

/// One product.
#[derive(Debug)]
pub struct Gateway {
    /// Name in `answered_by`.
    pub name: &'static str,
    /// Position in the chain, which decides how much its own page proves.
    pub kind: GatewayKind,
    /// Source of its rows.
    pub known: Provenance,
    /// Whether it also serves as a forward proxy, which a module may name.
    pub forward: bool,
    /// Marks that appear only on its own responses, never on relayed ones. Each proves that it generated the
    /// response.
    pub own_fields: &'static [Signature],
    /// A whole body that reads so (`page_text`) is its own, where no application puts its name to it: no application
    /// says just this and nothing else.
    pub own_texts: &'static [&'static str],
    /// Marks that show that the product is on the path, regardless of who generated the response.
    pub here: &'static [Signature],
    /// Marks that show that it relayed the response of a backend.
    pub through: &'static [Signature],
    /// Its own pages, recognised by their text. The first match decides.
    pub own: &'static [ErrorPage],
    /// Shapes of its own pages for any status. All marks of one list must match. Only the status gives such a page a
    /// meaning.
    pub template: &'static [&'static [Signature]],
}

/// A product without marks. Each row states its source and takes the other fields from here.
const UNMARKED: Gateway = Gateway {
    name: "",
    kind: GatewayKind::Gateway,
    known: Provenance::Documented(""),
    forward: false,
    own_fields: &[],
    own_texts: &[],
    here: &[],
    through: &[],
    own: &[],
    template: &[],
};

/// Position of a product in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayKind {
    /// Only at the edge: its own page is the edge's.
    Edge,
    /// Anywhere, but never as the application. Another gateway without marks may be in front of it.
    Gateway,
    /// Anywhere, and also as the application's own web server.
    Server,
    /// Between clients and the Internet: a proxy that the module names.
    Forward,
}

/// Source of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Measured with a version of the product in a lab.
    Measured(&'static str),
    /// Documented in its source or manual.
    Documented(&'static str),
}

/// A kind of response that a product generates itself.
#[derive(Debug)]
pub struct ErrorPage {
    /// All of these must match.
    pub signatures: &'static [Signature],
    /// Meaning of the response.
    pub meaning: Meaning,
    /// Strength of the proof.
    pub weight: SignatureWeight,
    /// Whether the row also applies to a relayed response, which a second gateway of the same product generated.
    pub inner: bool,
    /// Source, if it differs from the product's other rows.
    pub known: Option<Provenance>,
}

/// How much a page proves, where it is proven that the product made it. Else no page proves anything: an application
/// may print any text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureWeight {
    /// The product generates it only for this meaning.
    Sure,
    /// The product, or an application, may also generate it for other causes.
    Likely,
    /// Other software generates the same page: it counts only if no other product is recognised.
    Common,
}

/// A row of a product's own pages.
const fn page(signatures: &'static [Signature], meaning: Meaning) -> ErrorPage {
    ErrorPage {
        signatures,
        meaning,
        weight: SignatureWeight::Sure,
        inner: false,
        known: None,
    }
}

/// A row that may have another meaning.
const fn likely(signatures: &'static [Signature], meaning: Meaning) -> ErrorPage {
    ErrorPage {
        weight: SignatureWeight::Likely,
        ..page(signatures, meaning)
    }
}

/// A row for a page that other software also generates.
const fn common_page(signatures: &'static [Signature], meaning: Meaning) -> ErrorPage {
    ErrorPage {
        weight: SignatureWeight::Common,
        ..page(signatures, meaning)
    }
}

impl ErrorPage {
    /// Applies to relayed responses as well.
    const fn or_inner(self) -> Self {
        Self { inner: true, ..self }
    }

    /// Sets a source that differs from the product's other rows.
    const fn documented(self, source: &'static str) -> Self {
        Self {
            known: Some(Provenance::Documented(source)),
            ..self
        }
    }

    fn fits(&self, answer: &ObservedResponse<'_>) -> bool {
        self.signatures.iter().all(|signature| signature.holds(answer))
    }
}

/// Meaning of a product's own response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The exchange with its upstream failed, in one of these ways.
    Upstream(&'static [Reason]),
    /// It refused or failed by itself.
    Itself(Reason),
    /// It generated the page, but its upstream caused the failure and the status.
    Origin,
}

/// A response that a product generated itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnResponse {
    /// Name of the product.
    pub by: &'static str,
    /// Position of the product in the chain.
    pub kind: GatewayKind,
    /// Whether a module may name the product as its proxy.
    pub forward: bool,
    /// Meaning of the response.
    pub meaning: Meaning,
    /// Whether it is proven that the product generated the response.
    pub proven: bool,
    /// Whether that is proven and the response has no other meaning.
    pub sure: bool,
}

/// Result of a lookup in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// A product generated the response, with this meaning.
    Own(OwnResponse),
    /// The product generates such responses, and so does other software.
    Perhaps(&'static str, Meaning),
    /// A product relayed the response.
    Through(&'static str),
}

/// Every product, those with the most telling marks first: a page inside a page is the outer one's.
pub fn catalogue() -> impl Iterator<Item = &'static Gateway> {
    [
        platforms::ROWS,
        cdns::ROWS,
        firewalls::ROWS,
        clouds::ROWS,
        microsoft::ROWS,
        apis::ROWS,
        meshes::ROWS,
        forward::ROWS,
        proxies::ROWS,
        servers::ROWS,
    ]
    .into_iter()
    .flatten()
}

/// Looks an answer up: what it says in fields made for it comes before what it looks like.
#[must_use]
pub fn recognise(answer: &ObservedResponse<'_>) -> Option<Recognised> {
    structured::read(answer).or_else(|| {
        let (gateway, recognised) = by_its_looks(answer)?;
        Some(match recognised {
            // What another product says of itself came from behind the one that stands nearest to us.
            Recognised::Own(own) if matches!(own.meaning, Meaning::Itself(_)) => {
                let nearer = nearest_product(answer).filter(|nearer| !std::ptr::eq(*nearer, gateway));
                match nearer {
                    Some(nearer) if own.kind == GatewayKind::Server => Recognised::Through(nearer.name),
                    _ if another_is_here(gateway, answer) => Recognised::Own(OwnResponse { sure: false, ..own }),
                    _ => recognised,
                }
            }
            _ => recognised,
        })
    })
}

/// A product and what it says.
type Found = (&'static Gateway, Recognised);

/// What a product says comes before how its pages look, and both before what others make, too.
fn by_its_looks(answer: &ObservedResponse<'_>) -> Option<Found> {
    let said = |common: bool| {
        let fits = move |(_, page): &(_, &'static ErrorPage)| (page.weight == SignatureWeight::Common) == common;
        catalogue().find_map(move |gateway| Some((gateway, row_of(gateway, answer)?)).filter(fits))
    };
    let said = |common| said(common).map(|(gateway, page)| (gateway, gateway.says(page, answer)));
    let passed_on = || {
        catalogue()
            .find(|gateway| gateway.passed_on(answer))
            .map(|gateway| (gateway, Recognised::Through(gateway.name)))
    };
    said(false)
        .or_else(|| catalogue().find_map(|gateway| by_its_template(gateway, answer)))
        .or_else(|| said(true))
        .or_else(passed_on)
}

/// The row of a product that matches a response.
fn row_of(gateway: &'static Gateway, answer: &ObservedResponse<'_>) -> Option<&'static ErrorPage> {
    // Most rows fit no page: what shows that an answer was passed on is looked for only where one fits.
    let passed_on = LazyCell::new(|| gateway.passed_on(answer));
    let fits = |page: &&ErrorPage| page.fits(answer) && (page.inner || !*passed_on);
    gateway.own.iter().find(fits)
}

fn by_its_template(gateway: &'static Gateway, answer: &ObservedResponse<'_>) -> Option<Found> {
    let looks_so = |signatures: &&[Signature]| signatures.iter().all(|signature| signature.holds(answer));
    let own = answer.status >= 400 && gateway.template.iter().any(looks_so) && !gateway.passed_on(answer);
    // A status alone never proves a reason.
    own.then(|| (gateway, gateway.made(by_status(answer.status), false, answer)))
}

impl Gateway {
    fn passed_on(&self, answer: &ObservedResponse<'_>) -> bool {
        self.through.iter().any(|signature| signature.holds(answer))
    }

    fn is_here(&self, answer: &ObservedResponse<'_>) -> bool {
        self.here.iter().any(|signature| signature.holds(answer))
    }

    /// Whether this product made the answer, and nobody behind it can have.
    fn is_proven(&self, answer: &ObservedResponse<'_>) -> bool {
        // An application that asks others through such a product may pass on what that says, with all its fields: it
        // does not pass on what the product writes on every answer.
        let is_here = || self.here.is_empty() || self.is_here(answer);
        let by_field = || self.own_fields.iter().any(|signature| signature.holds(answer)) && is_here();
        let by_text = || {
            let reads = |pattern: &&str| page_text::reads(answer.body, pattern, answer.status);
            self.own_texts.iter().any(reads) && is_here()
        };
        !self.passed_on(answer) && (by_field() || by_text()) && !names_an_application(answer)
    }

    fn says(&self, page: &ErrorPage, answer: &ObservedResponse<'_>) -> Recognised {
        match page.weight {
            SignatureWeight::Common => Recognised::Perhaps(self.name, page.meaning),
            weight => self.made(page.meaning, weight == SignatureWeight::Sure, answer),
        }
    }

    fn made(&self, meaning: Meaning, nothing_else: bool, answer: &ObservedResponse<'_>) -> Recognised {
        let proven = self.is_proven(answer);
        Recognised::Own(OwnResponse {
            by: self.name,
            kind: self.kind,
            forward: self.forward || self.kind == GatewayKind::Forward,
            meaning,
            proven,
            sure: proven && nothing_else,
        })
    }
}

/// Fields by which applications and their servers say what they are, and gateways do not. Identifiers of requests
/// (`x-request-id`, `x-correlation-id`) gateways write, too.
pub const OF_APPLICATIONS: [&str; 6] = [
    "x-powered-by",
    "x-runtime",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-generator",
    "x-drupal-cache",
];

/// Whether `Server` names a program that is not in the catalogue, or another field an application.
fn names_an_application(answer: &ObservedResponse<'_>) -> bool {
    let unknown = answer.headers.contains_key("server") && nearest(answer).is_none();
    unknown || has_an_applications_field(answer)
}

/// Whether a field says which application answered. Some gateways write such a field, too: their rows say what.
fn has_an_applications_field(answer: &ObservedResponse<'_>) -> bool {
    let of_gateway = |name: &str| {
        let mut signatures = catalogue().flat_map(|gateway| gateway.here);
        signatures.any(|signature| signature.is_of(name) && signature.holds(answer))
    };
    let mut fields = OF_APPLICATIONS.iter();
    fields.any(|name| answer.headers.contains_key(*name) && !of_gateway(name))
}

/// Marks on a successful response that a gateway built from a broken one.
const LAUNDERED: &[(&str, Signature, Reason)] = &[
    // The upstream response was not HTTP, or was HTTP/0.9.
    (
        "squid",
        Signature::Says("x-transformed-from", "HTTP/0.9"),
        Reason::UpstreamHttpProtocolError,
    ),
];

/// Which product made a good answer out of a broken one, and how that was broken.
#[must_use]
pub fn laundered(answer: &ObservedResponse<'_>) -> Option<(&'static str, Reason)> {
    let (product, _, reason) = LAUNDERED.iter().find(|(_, signature, _)| signature.holds(answer))?;
    // An application may also write that field.
    let is_here = catalogue().any(|gateway| gateway.name == *product && gateway.is_here(answer));
    (is_here && !names_an_application(answer)).then_some((product, *reason))
}

/// The product that stands nearest to us, by what it writes on every answer.
#[must_use]
pub fn nearest(answer: &ObservedResponse<'_>) -> Option<&'static str> {
    nearest_product(answer).map(|gateway| gateway.name)
}

fn nearest_product(answer: &ObservedResponse<'_>) -> Option<&'static Gateway> {
    catalogue().find(|gateway| gateway.is_here(answer))
}

/// Whether another product is also on the path, so that it is unknown which of them is the edge.
fn another_is_here(gateway: &Gateway, answer: &ObservedResponse<'_>) -> bool {
    catalogue().any(|other| !std::ptr::eq(other, gateway) && other.is_here(answer))
}

#[cfg(test)]
pub(crate) mod lookalikes;

#[cfg(test)]
mod tests;
