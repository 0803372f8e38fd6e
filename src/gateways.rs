//! The catalogue of gateways: one row a product says how its own answers look, what they mean, and what marks an answer
//! that only came through it.

mod apis;
mod cdns;
mod clouds;
mod mark;
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
    /// Any of these shows that it stands on the way, whoever made the answer.
    pub here: &'static [Mark],
    /// Any of these shows that it passed the answer on: somebody behind it made it.
    pub through: &'static [Mark],
    /// How its own answers look and what they mean; the first that fits.
    pub own: &'static [Page],
}

/// One kind of answer that a product makes itself.
#[derive(Debug)]
pub struct Page {
    /// All of these hold.
    pub marks: &'static [Mark],
    /// What it means.
    pub means: Means,
    /// Whether others make the same page: it tells only where nobody else is known.
    pub common: bool,
}

/// A row of a product's own pages.
const fn page(marks: &'static [Mark], means: Means) -> Page {
    Page {
        marks,
        means,
        common: false,
    }
}

/// One that others make, too.
const fn common_page(marks: &'static [Mark], means: Means) -> Page {
    Page {
        marks,
        means,
        common: true,
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

/// What the catalogue says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// A product made it, and it means this.
    Own(&'static str, Means),
    /// A product makes such, and others do.
    Perhaps(&'static str, Means),
    /// A product passed it on.
    Through(&'static str),
}

/// Every product, those with the most telling marks first: a page inside a page is the outer one's.
pub fn catalogue() -> impl Iterator<Item = &'static Gateway> {
    cdns::ROWS
        .iter()
        .chain(clouds::ROWS)
        .chain(apis::ROWS)
        .chain(proxies::ROWS)
        .chain(servers::ROWS)
}

/// Looks an answer up: what it says in fields made for it comes before what it looks like.
#[must_use]
pub fn recognise(answer: &Answer<'_>) -> Option<Recognised> {
    structured::read(answer).or_else(|| match by_its_looks(answer)? {
        // What another product says of itself came from behind the one that stands nearest to us.
        Recognised::Own(name, Means::Front(_)) => match nearest(answer) {
            Some(nearer) if nearer != name => Some(Recognised::Through(nearer)),
            _ => by_its_looks(answer),
        },
        other => Some(other),
    })
}

fn by_its_looks(answer: &Answer<'_>) -> Option<Recognised> {
    let own = catalogue().find_map(|gateway| {
        let passed_on = gateway.through.iter().any(|mark| mark.holds(answer));
        let page = gateway
            .own
            .iter()
            .find(|page| !passed_on && page.marks.iter().all(|mark| mark.holds(answer)))?;
        Some(if page.common {
            Recognised::Perhaps(gateway.name, page.means)
        } else {
            Recognised::Own(gateway.name, page.means)
        })
    });
    own.or_else(|| {
        let through = |gateway: &&Gateway| gateway.through.iter().any(|mark| mark.holds(answer));
        catalogue()
            .find(through)
            .map(|gateway| Recognised::Through(gateway.name))
    })
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
    use super::{Answer, Means, Recognised, catalogue, recognise};
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
            Some(Recognised::Perhaps(name, means)) => {
                words(Some(Recognised::Own(name, means))).replacen("own", "perhaps", 1)
            }
            Some(Recognised::Own(name, Means::Origin)) => format!("own {name} origin"),
            Some(Recognised::Own(name, Means::Front(reason))) => format!("own {name} {}", reason.as_str()),
            Some(Recognised::Own(name, Means::Upstream(reasons))) => match reasons {
                [_] | [_, _] => {
                    let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
                    format!("own {name} {}", reasons.join(" "))
                }
                _ => format!("own {name} upstream"),
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
                .filter(|gateway| {
                    let fits = |page: &super::Page| page.marks.iter().all(|mark| mark.holds(&capture.answer()));
                    gateway.own.iter().any(fits)
                })
                .map(|gateway| gateway.name)
                .collect();
            // Fastly is built on Varnish and keeps its page.
            let others = claims.iter().filter(|name| **name != "varnish");
            assert!(others.count() <= 1, "{}: {claims:?}", capture.file);
        }
    }
}
