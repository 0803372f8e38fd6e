//! The response for evidence that is not stored: why, and what is stored of the same target.

use super::page_head::page_head;
use super::plain;
use crate::history::store::EvidenceSummary;
use glassbox_probe::target::Target;
use glassbox_verdict::utc::to_the_second;
use maud::{DOCTYPE, Markup, html};

/// Evidence that is not stored.
#[derive(Clone, Debug)]
pub struct GoneEvidence {
    /// Why it is not stored, as sentences.
    pub why: String,
    /// The target as written, if it is known. Only the page shows it, without its secrets.
    pub target: Option<String>,
    /// Stored probes of this target, newest first.
    pub others: Vec<EvidenceSummary>,
}

/// Title of the page.
const TITLE: &str = "Evidence not found";

impl GoneEvidence {
    /// The response as a page. `prefix` is added to every path.
    #[must_use]
    pub fn page(&self, prefix: &str) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (page_head(TITLE, prefix, None))
                body {
                    header { p.brand { a href={ (prefix) "/" } { "glassbox_exporter" } } }
                    main {
                        section.finding.suspect aria-label="What happened" {
                            h1.suspect { (TITLE) }
                            p { (self.why) }
                        }
                        (self.offer(prefix))
                    }
                }
            }
        };
        page.into_string()
    }

    fn offer(&self, prefix: &str) -> Markup {
        html! {
            @match &self.target {
                None => p { a href={ (prefix) "/" } { "All targets" } },
                Some(target) if self.others.is_empty() => p { "No probe of " bdi { (Target::new(target)) } " is stored." },
                Some(target) => {
                    section aria-labelledby="others" {
                        h2 #others { "Stored probes of " bdi { (Target::new(target)) } }
                        table.fields {
                            thead { tr { @for title in ["Start", "Module", "Result"] { th scope="col" { (title) } } } }
                            tbody {
                                @for probe in &self.others {
                                    tr {
                                        td { a href={ (prefix) "/evidence/" (probe.id) } { (to_the_second(probe.began)) } }
                                        td { (probe.module) }
                                        td { (result(probe)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The response as plain text.
    #[must_use]
    pub fn text(&self, prefix: &str) -> String {
        let mut text = format!("{TITLE}. {}\n", self.why);
        for probe in &self.others {
            let began = to_the_second(probe.began);
            let line = format!(
                "{prefix}/evidence/{} {began} {} {}",
                probe.id,
                probe.module,
                result(probe)
            );
            text.extend(line.chars().map(plain));
            text.push('\n');
        }
        text
    }
}

fn result(probe: &EvidenceSummary) -> String {
    match (&probe.link, &probe.reason) {
        (Some(link), Some(reason)) => format!("{link}: {reason}"),
        _ => "all links are healthy".to_owned(),
    }
}
