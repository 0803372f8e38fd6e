//! The catalogue of gateways: one row a product says how its own answers look, what they mean, and what marks an answer
//! that only came through it.

mod apis;
mod cdns;
mod clouds;
mod firewalls;
mod forward;
mod mark;
mod meshes;
mod microsoft;
mod platforms;
mod proxies;
mod servers;
mod structured;

pub use mark::{Answer, Mark};

use crate::reason::Reason;

/// One product.
#[derive(Debug)]
pub struct Gateway {
    /// Its name in `answered_by`.
    pub name: &'static str,
    /// Where it stands in a chain: how much its own page proves.
    pub kind: Kind,
    /// How its rows are known.
    pub known: Known,
    /// Any of these shows that it stands on the way, whoever made the answer.
    pub here: &'static [Mark],
    /// Any of these shows that it passed the answer on: somebody behind it made it.
    pub through: &'static [Mark],
    /// Its own pages by what they say; the first that fits.
    pub own: &'static [Page],
    /// How each of its own pages looks, whatever the status: one of these lists holds as a whole. What a page then means
    /// is told by its status alone.
    pub template: &'static [&'static [Mark]],
}

/// A product without marks. Each row says how it is known, and takes the rest from here.
const UNMARKED: Gateway = Gateway {
    name: "",
    kind: Kind::Gateway,
    known: Known::Documented(""),
    here: &[],
    through: &[],
    own: &[],
    template: &[],
};

/// Where a product stands in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At the end that faces the world, and nowhere else: its own page is that of the front.
    Edge,
    /// Anywhere, and never as the application: there may be another gateway before it that leaves no mark.
    Gateway,
    /// Anywhere, and as the application's own web server, too.
    Server,
    /// Between clients and the world: a proxy that the module itself names.
    Forward,
}

/// How a row is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// From the product itself, in a version that ran in a lab.
    Measured(&'static str),
    /// From its source or its documents.
    Documented(&'static str),
}

/// One kind of answer that a product makes itself.
#[derive(Debug)]
pub struct Page {
    /// All of these hold.
    pub marks: &'static [Mark],
    /// What it means.
    pub means: Means,
    /// How much it proves.
    pub weight: Weight,
    /// Whether it counts on an answer that was passed on, too: a second gateway of the same product made it there.
    pub inner: bool,
    /// How it is known, where not as the other rows of the product.
    pub known: Option<Known>,
}

/// How much a page proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The product makes it for what it means, and for nothing else.
    Sure,
    /// The product makes it for other causes as well, or an application may.
    Likely,
    /// Others make the same page: it tells only where nobody else is known.
    Common,
}

/// A row of a product's own pages.
const fn page(marks: &'static [Mark], means: Means) -> Page {
    Page {
        marks,
        means,
        weight: Weight::Sure,
        inner: false,
        known: None,
    }
}

/// One that may mean something else.
const fn likely(marks: &'static [Mark], means: Means) -> Page {
    Page {
        weight: Weight::Likely,
        ..page(marks, means)
    }
}

/// One that others make, too.
const fn common_page(marks: &'static [Mark], means: Means) -> Page {
    Page {
        weight: Weight::Common,
        ..page(marks, means)
    }
}

impl Page {
    /// Counts also where the answer was passed on.
    const fn or_inner(self) -> Self {
        Self { inner: true, ..self }
    }

    /// Known in another way than the rows beside it.
    const fn documented(self, source: &'static str) -> Self {
        Self {
            known: Some(Known::Documented(source)),
            ..self
        }
    }

    fn fits(&self, answer: &Answer<'_>) -> bool {
        self.marks.iter().all(|mark| mark.holds(answer))
    }
}

/// What a product's own answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Its exchange with what stands behind it failed, in one of these ways.
    Upstream(&'static [Reason]),
    /// It refused or failed by itself.
    Front(Reason),
    /// It made the page, but what stands behind it made the failure and its status.
    Origin,
}

/// An answer that a product made itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// The name of the product.
    pub by: &'static str,
    /// Where such a product stands.
    pub kind: Kind,
    /// What the answer means.
    pub means: Means,
    /// Whether it can mean nothing else.
    pub sure: bool,
}

/// What the catalogue says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// A product made it, and it means this.
    Own(Own),
    /// A product makes such, and others do.
    Perhaps(&'static str, Means),
    /// A product passed it on.
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

/// What a status means on a page of a gateway's own that says nothing more (RFC 9110 section 15, and the numbers that
/// products made up).
#[must_use]
pub const fn by_status(status: u16) -> Means {
    use Reason::{
        UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
        UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationUnavailable as Unavailable,
        UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseTimeout as ResponseTimeout,
    };
    match status {
        502 => Means::Upstream(&[Refused, Terminated, Protocol, Unavailable]),
        // A limit of its own, or a switch that somebody turned, has the same status.
        503 => Means::Upstream(&[Unavailable, Reason::FrontOverloaded]),
        504 => Means::Upstream(&[ResponseTimeout, ConnectTimeout]),
        _ => Means::Front(own_reason(status)),
    }
}

/// What a gateway means that answers by itself with a status that is not about what stands behind it.
#[must_use]
pub const fn own_reason(status: u16) -> Reason {
    match status {
        401..=403 | 405..=407 | 451 | 561 => Reason::FrontDenied,
        404 | 410 | 421 => Reason::FrontNotFound,
        429 => Reason::FrontRateLimited,
        508 => Reason::FrontLoop,
        400..=499 => Reason::FrontRequestRefused,
        _ => Reason::FrontInternalError,
    }
}

/// Looks an answer up: what it says in fields made for it comes before what it looks like.
#[must_use]
pub fn recognise(answer: &Answer<'_>) -> Option<Recognised> {
    structured::read(answer).or_else(|| match by_its_looks(answer)? {
        // What another product says of itself came from behind the one that stands nearest to us.
        Recognised::Own(own) if matches!(own.means, Means::Front(_)) => match nearest(answer) {
            Some(nearer) if nearer != own.by && own.kind == Kind::Server => Some(Recognised::Through(nearer)),
            Some(nearer) if nearer != own.by => Some(Recognised::Own(Own { sure: false, ..own })),
            _ => Some(Recognised::Own(own)),
        },
        other => Some(other),
    })
}

/// What a product says comes before how its pages look, and both before what others make, too.
fn by_its_looks(answer: &Answer<'_>) -> Option<Recognised> {
    let said = |common: bool| {
        let fits = move |recognised: &Recognised| matches!(recognised, Recognised::Perhaps(..)) == common;
        catalogue().find_map(move |gateway| by_what_it_says(gateway, answer).filter(fits))
    };
    let passed_on = || {
        catalogue()
            .find(|gateway| gateway.passed_on(answer))
            .map(|gateway| Recognised::Through(gateway.name))
    };
    said(false)
        .or_else(|| catalogue().find_map(|gateway| by_its_template(gateway, answer)))
        .or_else(|| said(true))
        .or_else(passed_on)
}

fn by_what_it_says(gateway: &Gateway, answer: &Answer<'_>) -> Option<Recognised> {
    let passed_on = gateway.passed_on(answer);
    let fits = |page: &&Page| (page.inner || !passed_on) && page.fits(answer);
    let page = gateway.own.iter().find(fits)?;
    Some(match page.weight {
        Weight::Common => Recognised::Perhaps(gateway.name, page.means),
        weight => Recognised::Own(Own {
            by: gateway.name,
            kind: gateway.kind,
            means: page.means,
            sure: weight == Weight::Sure && !passed_on,
        }),
    })
}

fn by_its_template(gateway: &Gateway, answer: &Answer<'_>) -> Option<Recognised> {
    let looks_so = |marks: &&[Mark]| marks.iter().all(|mark| mark.holds(answer));
    let own = answer.status >= 400 && !gateway.passed_on(answer) && gateway.template.iter().any(looks_so);
    own.then(|| {
        let means = by_status(answer.status);
        Recognised::Own(Own {
            by: gateway.name,
            kind: gateway.kind,
            means,
            sure: matches!(means, Means::Front(_)),
        })
    })
}

impl Gateway {
    fn passed_on(&self, answer: &Answer<'_>) -> bool {
        self.through.iter().any(|mark| mark.holds(answer))
    }
}

/// Marks on a good answer that a gateway put together from a broken one.
const LAUNDERED: &[(&str, Mark, Reason)] = &[
    // What came was no HTTP, or HTTP/0.9.
    (
        "squid",
        Mark::Says("x-transformed-from", "HTTP/0.9"),
        Reason::UpstreamHttpProtocolError,
    ),
];

/// Which product made a good answer out of a broken one, and how that was broken.
#[must_use]
pub fn laundered(answer: &Answer<'_>) -> Option<(&'static str, Reason)> {
    let row = LAUNDERED.iter().find(|(_, mark, _)| mark.holds(answer))?;
    Some((row.0, row.2))
}

/// The product that stands nearest to us, by what it writes on every answer.
#[must_use]
pub fn nearest(answer: &Answer<'_>) -> Option<&'static str> {
    let here = |gateway: &&Gateway| gateway.here.iter().any(|mark| mark.holds(answer));
    catalogue().find(here).map(|gateway| gateway.name)
}

#[cfg(test)]
mod tests {
    use super::{Answer, Known, Means, Own, Recognised, UNMARKED, catalogue, recognise};
    use http::{HeaderMap, HeaderName, HeaderValue};
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    /// An answer as it was captured (or written from the product's description), and what it should be taken for.
    struct Capture {
        file: String,
        expected: String,
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
            // "# own nginx upstream", or "# own nginx upstream after 3000 ms".
            let first = lines.next().unwrap().trim_start_matches("# ");
            let (expected, waited) = first.split_once(" after ").unwrap_or((first, "3 ms"));
            let mut status = lines.next().unwrap().splitn(3, ' ').skip(1);
            let fields = lines.map(|line| line.split_once(": ").unwrap());
            Self {
                file: path.file_name().unwrap().to_string_lossy().into_owned(),
                expected: expected.to_owned(),
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

        fn answer(&self) -> Answer<'_> {
            Answer {
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
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gateways");
        let files = fs::read_dir(folder).unwrap();
        files.map(|file| Capture::read(&file.unwrap().path())).collect()
    }

    /// `own nginx upstream.connection_refused`, `through envoy`, `none`; `upstream` alone stands for several reasons.
    fn words(recognised: Option<Recognised>) -> String {
        match recognised {
            None => "none".to_owned(),
            Some(Recognised::Through(name)) => format!("through {name}"),
            Some(Recognised::Perhaps(by, means)) => words(Some(Recognised::Own(Own {
                by,
                means,
                kind: UNMARKED.kind,
                sure: false,
            })))
            .replacen("own", "perhaps", 1),
            Some(Recognised::Own(Own { by, means, .. })) => match means {
                Means::Origin => format!("own {by} origin"),
                Means::Front(reason) => format!("own {by} {}", reason.as_str()),
                Means::Upstream(reasons @ ([_] | [_, _])) => {
                    let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
                    format!("own {by} {}", reasons.join(" "))
                }
                Means::Upstream(_) => format!("own {by} upstream"),
            },
        }
    }

    #[test]
    fn each_capture_is_taken_for_what_it_is() {
        let wrong: Vec<_> = captures()
            .iter()
            .filter_map(|capture| {
                let taken = words(recognise(&capture.answer()));
                let right = taken == capture.expected
                    || (capture.expected.ends_with(" upstream") && taken.starts_with(&capture.expected));
                (!right).then(|| format!("{}: {taken}, not {}", capture.file, capture.expected))
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
            // Fastly is built on Varnish and keeps its page.
            let others = claims.iter().filter(|name| **name != "varnish");
            assert!(others.count() <= 1, "{}: {claims:?}", capture.file);
        }
    }

    #[test]
    fn each_row_says_how_it_is_known() {
        for gateway in catalogue() {
            let known = gateway.own.iter().filter_map(|page| page.known).chain([gateway.known]);
            for Known::Measured(source) | Known::Documented(source) in known {
                assert!(source.len() > 4, "{}: {source:?}", gateway.name);
            }
        }
    }
}
