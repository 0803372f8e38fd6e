//! The catalogue of gateways. Each product has one row: the responses that it generates, their meaning, and the
//! signatures of the responses that it relays.

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
pub mod tolerance;

pub use meanings::{by_status, can_mean, own_reason};
pub use signature::{ObservedResponse, Signature};
pub use tolerance::head_limit;

use crate::reason::Reason;
use std::cell::LazyCell;
use std::sync::LazyLock;

/// One product.
#[derive(Debug)]
#[non_exhaustive]
pub struct Gateway {
    /// Name of the product, as in `answered_by`.
    pub name: &'static str,
    /// Possible positions in the chain. They determine how much one of the product's pages proves.
    pub kind: GatewayKind,
    /// Source of the product's rows.
    pub known: Provenance,
    /// Whether the product can also be a forward proxy, which a module may configure.
    pub forward: bool,
    /// Signatures that appear only on the product's own responses, never on relayed ones. Each of them proves that the
    /// product generated the response.
    pub own_fields: &'static [Signature],
    /// Templates (`page_text`) of complete bodies that only the product generates. A matching body proves that the
    /// product generated the response, unless a header field names an application.
    pub own_texts: &'static [&'static str],
    /// Signatures that show that the product is on the path, regardless of which machine generated the response.
    pub here: &'static [Signature],
    /// Signatures that show that the product relayed a backend's response.
    pub through: &'static [Signature],
    /// The product's own pages. The first matching row applies.
    pub own: &'static [ErrorPage],
    /// Signatures of successful responses that the product built from a malformed one, and what was wrong with it.
    pub repairs: &'static [(Signature, Reason)],
    /// Layouts of the product's own pages, independent of the status. All signatures of one list must match. The status
    /// alone determines the meaning of a page that matches only a layout.
    pub template: &'static [&'static [Signature]],
}

/// A product without signatures: the defaults of the rows.
const UNMARKED: Gateway = Gateway {
    name: "",
    kind: GatewayKind::Gateway,
    known: Provenance::Documented(""),
    forward: false,
    own_fields: &[],
    own_texts: &[],
    repairs: &[],
    here: &[],
    through: &[],
    own: &[],
    template: &[],
};

/// Position of a product in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayKind {
    /// Only at the edge. A page of this product comes from the edge.
    Edge,
    /// Anywhere, except as the application. An unrecognisable gateway may be in front of it.
    Gateway,
    /// Anywhere, including as the application's own web server.
    Server,
    /// Between clients and the Internet: a proxy that the module configures.
    Forward,
}

/// Source of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Observed in a lab, with a version of the product.
    Measured(&'static str),
    /// Documented in its source or manual.
    Documented(&'static str),
}

/// A kind of response that a product generates itself.
#[derive(Debug)]
#[non_exhaustive]
pub struct ErrorPage {
    /// Signatures of the page. All of them must match.
    pub signatures: &'static [Signature],
    /// Meaning of the response.
    pub meaning: Meaning,
    /// Strength of the evidence.
    pub weight: SignatureWeight,
    /// Whether the row also applies to a relayed response, because a second gateway of the same product may have
    /// generated it.
    pub inner: bool,
    /// Source, if it differs from the product's other rows.
    pub known: Option<Provenance>,
}

/// How much a page proves once it is proven that the product generated it. Without this proof, a page proves nothing,
/// because an application may return any text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureWeight {
    /// The product generates the page only for this meaning.
    Sure,
    /// The product or an application may also generate the page for other causes.
    Likely,
    /// Other software generates the same page. The row counts only if no more specific row matches.
    Common,
}

/// A row for a page with exactly one meaning.
const fn page(signatures: &'static [Signature], meaning: Meaning) -> ErrorPage {
    ErrorPage {
        signatures,
        meaning,
        weight: SignatureWeight::Sure,
        inner: false,
        known: None,
    }
}

/// A row for a page that may have another meaning.
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
    /// Applies the row to relayed responses as well.
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
    /// The exchange with the upstream failed for one of these reasons.
    Upstream(&'static [Reason]),
    /// The product itself refused the request or failed.
    Itself(Reason),
    /// The product generated the page, but the upstream failed and determined the status.
    Origin,
}

/// A response that a product generated itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnResponse {
    /// Name of the product.
    pub by: Option<&'static str>,
    /// Position of the product in the chain.
    pub kind: GatewayKind,
    /// Whether the product can be the proxy that a module configures.
    pub forward: bool,
    /// Meaning of the response.
    pub meaning: Meaning,
    /// Whether it is proven that the product generated the response.
    pub proven: bool,
    /// Whether that is proven and the response has exactly one meaning.
    pub sure: bool,
}

/// Result of a lookup in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recognised {
    /// A product generated the response, with this meaning.
    Own(OwnResponse),
    /// The product generates such responses, but other software does as well.
    Perhaps(&'static str, Meaning),
    /// A product relayed the response.
    Through(Option<&'static str>),
}

/// All products. Products with specific signatures come first, because their pages may contain a generic page of
/// another product.
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

/// Looks up a response. Standard fields, such as `Proxy-Status`, take precedence over the rows of the catalogue.
#[must_use]
pub fn recognise(answer: &ObservedResponse<'_>) -> Option<Recognised> {
    structured::read(answer).or_else(|| {
        let (gateway, recognised) = by_its_looks(answer)?;
        Some(match recognised {
            // If another product is closer to the exporter, it relayed this product's error.
            Recognised::Own(own) if matches!(own.meaning, Meaning::Itself(_)) => {
                let nearer = nearest_product(answer).filter(|nearer| !std::ptr::eq(*nearer, gateway));
                match nearer {
                    Some(nearer) if own.kind == GatewayKind::Server => Recognised::Through(Some(nearer.name)),
                    _ if another_is_here(gateway, answer) => Recognised::Own(OwnResponse { sure: false, ..own }),
                    _ => recognised,
                }
            }
            _ => recognised,
        })
    })
}

/// A product and the meaning of its response.
type Found = (&'static Gateway, Recognised);

/// Looks up the rows of the catalogue: first the specific pages, then the layouts, then the pages that several products
/// share, and last the signatures of relayed responses.
fn by_its_looks(answer: &ObservedResponse<'_>) -> Option<Found> {
    let said = |common: bool| {
        let fits = move |(_, page): &(_, &'static ErrorPage)| (page.weight == SignatureWeight::Common) == common;
        catalogue().find_map(move |gateway| Some((gateway, row_of(gateway, answer)?)).filter(fits))
    };
    let said = |common| said(common).map(|(gateway, page)| (gateway, gateway.says(page, answer)));
    let passed_on = || {
        catalogue()
            .find(|gateway| gateway.passed_on(answer))
            .map(|gateway| (gateway, Recognised::Through(Some(gateway.name))))
    };
    said(false)
        .or_else(|| catalogue().find_map(|gateway| by_its_template(gateway, answer)))
        .or_else(|| said(true))
        .or_else(passed_on)
}

/// The row of a product that matches a response.
fn row_of(gateway: &'static Gateway, answer: &ObservedResponse<'_>) -> Option<&'static ErrorPage> {
    // Most rows do not match. The check for a relayed response therefore runs only after a match.
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

    /// Whether only this product can have generated the response, not a machine behind it.
    fn is_proven(&self, answer: &ObservedResponse<'_>) -> bool {
        // An application may call a service through such a product and forward the product's error with its fields.
        // The fields that the product adds to every response are missing from the forwarded error.
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
            by: Some(self.name),
            kind: self.kind,
            forward: self.forward || self.kind == GatewayKind::Forward,
            meaning,
            proven,
            sure: proven && nothing_else,
        })
    }
}

/// Header fields that identify applications and their servers. Request identifiers (`x-request-id`,
/// `x-correlation-id`) are not in the list because gateways add them as well.
pub const OF_APPLICATIONS: [&str; 6] = [
    "x-powered-by",
    "x-runtime",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-generator",
    "x-drupal-cache",
];

/// Whether `Server` names a program that is not in the catalogue, or another field identifies an application.
fn names_an_application(answer: &ObservedResponse<'_>) -> bool {
    let unknown = answer.headers.contains_key("server") && nearest(answer).is_none();
    unknown || has_an_applications_field(answer)
}

/// Whether a header field identifies an application. A field that matches a gateway's row does not count.
fn has_an_applications_field(answer: &ObservedResponse<'_>) -> bool {
    let of_gateway = |name: &str| {
        let mut signatures = catalogue().flat_map(|gateway| gateway.here);
        signatures.any(|signature| signature.is_of(name) && signature.holds(answer))
    };
    let mut fields = OF_APPLICATIONS.iter();
    fields.any(|name| answer.headers.contains_key(*name) && !of_gateway(name))
}

/// The products that repair responses. Each successful response is compared with them, so the others are skipped.
static REPAIRING: LazyLock<Vec<&'static Gateway>> =
    LazyLock::new(|| catalogue().filter(|gateway| !gateway.repairs.is_empty()).collect());

/// The product that built a successful response from a malformed one, and the defect of the malformed one.
#[must_use]
pub fn laundered(answer: &ObservedResponse<'_>) -> Option<(&'static str, Reason)> {
    let repaired = |gateway: &&'static Gateway| {
        let (_, reason) = gateway.repairs.iter().find(|(signature, _)| signature.holds(answer))?;
        // An application may also send this field.
        gateway.is_here(answer).then_some((gateway.name, *reason))
    };
    REPAIRING
        .iter()
        .find_map(repaired)
        .filter(|_| !names_an_application(answer))
}

/// The product closest to the exporter, recognised by the signatures of all its responses. The order of the catalogue
/// decides between several products.
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
