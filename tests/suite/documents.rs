//! Tables in the documents that are generated from the code: verdicts in `docs/verdicts.md`, metrics in
//! `docs/metrics.md`, metadata services in `SECURITY.md`. The tests compare them with the code.

use crate::support::exporter::Exporter;
use crate::support::process::project;
use glassbox_probe::diagnostics::DIAGNOSTICS;
use glassbox_probe::metrics::{Level, METRICS, Metric};
use glassbox_probe::policy::metadata_services;
use glassbox_verdict::attribution::{AttributionRule, MASKS, RULES};
use glassbox_verdict::chain::Link;
use glassbox_verdict::gateways::{Gateway, Meaning, Provenance, catalogue};
use glassbox_verdict::reason::Reason;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The generated part is between these marks, or from the first mark to the end. The rest is written by hand.
const MADE: &str = "<!-- Made from the code by UPDATE_DOCS=1 cargo test --test suite documents -->\n";
const MADE_ENDS: &str = "<!-- Made to here -->\n";

/// Compares the generated part of a document with the code, or updates it if `UPDATE_DOCS` is set.
fn hold(document: &str, right: &str) {
    let path = project(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(MADE).unwrap_or_else(|| panic!("no mark in {document}"));
    let (made, after) = rest.find(MADE_ENDS).map_or((rest, ""), |end| rest.split_at(end));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{MADE}{right}{after}")).unwrap();
        return;
    }
    assert!(
        made == right,
        "{document} is outdated: run UPDATE_DOCS=1 cargo test --test suite documents"
    );
}

#[test]
fn the_documented_verdicts_match_the_code() {
    hold(
        "docs/verdicts.md",
        &format!("\n{}\n{}\n{}\n{}", diagnostics(), rules(), reasons(), gateways()),
    );
}

#[tokio::test]
async fn the_documented_metrics_match_the_code() {
    let mut all = Vec::new();
    for (level, title) in [
        (Level::Blackbox, "From `metrics: blackbox` on: as in blackbox_exporter"),
        (Level::Standard, "From `metrics: standard` on: glassbox only"),
        (Level::Full, "With `metrics: full`: glassbox only"),
    ] {
        let of_level: Vec<_> = METRICS.iter().filter(|metric| metric.level == level).collect();
        if !of_level.is_empty() {
            all.push((title, metrics(&of_level)));
        }
    }
    all.push(("The exporter itself, on `/metrics`", own_metrics().await));
    let all = all.into_iter().map(|(title, table)| format!("\n## {title}\n\n{table}"));
    hold("docs/metrics.md", &all.collect::<String>());
}

const HEAD: &str = "| name | type | labels | meaning |\n|---|---|---|---|\n";

fn row(name: &str, kind: &str, labels: &[&str], help: &str) -> String {
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "))
}

fn metrics(metrics: &[&&Metric]) -> String {
    let rows = metrics
        .iter()
        .map(|metric| row(metric.name, metric.kind.as_str(), metric.labels, metric.help));
    HEAD.to_owned() + &rows.collect::<String>()
}

/// The exporter's own metrics as in a scrape. Metrics without a value at the start get their row when they first occur.
async fn own_metrics() -> String {
    let exporter = Exporter::start_with("modules: {http_2xx: {prober: http}}", |settings| {
        settings.external_url = Some("https://probes.example".to_owned());
    })
    .await;
    let page = exporter.get("/metrics").await.text().await.unwrap();
    let words = |line: &str, key: &str| {
        let (name, words) = line.strip_prefix(key)?.split_once(' ')?;
        Some((name.to_owned(), words.to_owned()))
    };
    let helps = page.lines().filter_map(|line| words(line, "# HELP "));
    let kinds: BTreeMap<_, _> = page.lines().filter_map(|line| words(line, "# TYPE ")).collect();
    let rows = helps.map(|(name, help)| {
        let samples = page
            .lines()
            .filter_map(|line| line.strip_prefix(name.as_str())?.strip_prefix('{')?.split_once('}'));
        let pairs = samples.flat_map(|(labels, _)| labels.split("\","));
        let labels: BTreeSet<_> = pairs.filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
        row(&name, &kinds[&name], &Vec::from_iter(labels), &help)
    });
    HEAD.to_owned() + &rows.collect::<String>()
}

#[test]
fn the_documented_metadata_services_match_the_code() {
    let mut text = "\n| product | addresses | published by |\n|---|---|---|\n".to_owned();
    for (product, addresses, source) in metadata_services() {
        writeln!(text, "| {product} | {addresses} | {source} |").unwrap();
    }
    hold("SECURITY.md", &format!("{text}\n"));
}

#[test]
fn links_between_documents_are_valid() {
    let link = Regex::new(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)").unwrap();
    let mut found = 0;
    for folder in ["", "docs", "dashboards", "examples/kubernetes", "examples/places"] {
        let files = std::fs::read_dir(project(folder))
            .unwrap()
            .map(|file| file.unwrap().path());
        for file in files.filter(|file| file.extension().is_some_and(|kind| kind == "md")) {
            let text = std::fs::read_to_string(&file).unwrap();
            for [link, heading] in link
                .captures_iter(&text)
                .map(|found| [1, 2].map(|part| found.get(part).map_or("", |part| part.as_str())))
                .filter(|[link, _]| !link.contains("://"))
            {
                let target = file.parent().unwrap().join(link);
                assert!(target.exists(), "{}: {link}", file.display());
                if !heading.is_empty() {
                    let target = std::fs::read_to_string(target).unwrap();
                    let mut headings = target.lines().filter(|line| line.starts_with('#')).map(anchor);
                    assert!(headings.any(|known| known == heading), "{}: {heading}", file.display());
                }
                found += 1;
            }
        }
    }
    assert!(found > 30, "{found} links");
}

/// The anchor that GitHub generates for a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_is_explained() {
    let text = std::fs::read_to_string(project("docs/verdicts.md")).unwrap();
    for link in Link::ALL {
        assert!(text.contains(&format!("| `{}` |", link.as_str())), "{}", link.as_str());
    }
}

/// A link without a CSS rule would have the grey of `unknown` in target rows and in the legend.
#[test]
fn every_link_has_a_colour() {
    let text = std::fs::read_to_string(project("src/server/style.css")).unwrap();
    for link in Link::ALL.into_iter().filter(|link| *link != Link::Unknown) {
        let name = link.as_str();
        let rule = format!(".mark.{name}, .bars .{name} {{ --mark: ");
        assert!(text.contains(&rule), "{rule}");
    }
}

fn diagnostics() -> String {
    let mut text = "## Diagnostics\n\n| diagnostic | what it changes | when it runs | application requests |\n\
                    |---|---|---|---|\n"
        .to_owned();
    for row in DIAGNOSTICS {
        let (name, changes, when, cost) = (row.name, row.changes, row.when, row.cost);
        writeln!(text, "| `{name}` | {changes} | {when} | {cost} |").unwrap();
    }
    text
}

fn rules() -> String {
    let table = |title: &str, rules: &[AttributionRule]| {
        let mut text = format!("## {title}\n\n| # | rule | condition: verdict | limits |\n|---|---|---|---|\n");
        for (number, rule) in rules.iter().enumerate() {
            writeln!(
                text,
                "| {} | `{}` | {} | {} |",
                number + 1,
                rule.id.as_str(),
                rule.when,
                rule.blind
            )
            .unwrap();
        }
        text
    };
    format!(
        "{}\n{}",
        table("Rules for a failed probe", RULES),
        table("Rules for a successful probe, which may hide a broken link", MASKS)
    )
}

fn reasons() -> String {
    let mut text = "## Reasons\n\n| reason | meaning |\n|---|---|\n".to_owned();
    for reason in Reason::ALL {
        writeln!(text, "| `{}` | {} |", reason.as_str(), reason.meaning()).unwrap();
    }
    text
}

fn gateways() -> String {
    let mut text =
        "## Known gateways\n\n| gateway | signatures | recognised at any status | reasons that they indicate | source |\n|---|---|---|---|---|\n"
            .to_owned();
    for gateway in catalogue() {
        let spoken = spoken_of(gateway);
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            gateway.name,
            gateway.own.len(),
            if gateway.template.is_empty() { "no" } else { "yes" },
            spoken.join(", "),
            known(gateway)
        )
        .unwrap();
    }
    text
}

/// Sources of a gateway's signatures, without duplicates.
fn known(gateway: &Gateway) -> String {
    let ways = gateway.own.iter().map(|page| page.known.unwrap_or(gateway.known));
    let ways: BTreeSet<_> = ways
        .chain([gateway.known])
        .map(|known| match known {
            Provenance::Measured(with) => format!("measured: {with}"),
            Provenance::Documented(source) => format!("documented: {source}"),
        })
        .collect();
    Vec::from_iter(ways).join("; ")
}

fn spoken_of(gateway: &Gateway) -> Vec<String> {
    let mut reasons = BTreeSet::new();
    for page in gateway.own {
        match page.meaning {
            Meaning::Upstream(list) => reasons.extend(list.iter().map(|reason| format!("`{}`", reason.as_str()))),
            Meaning::Itself(reason) => {
                reasons.insert(format!("`{}`", reason.as_str()));
            }
            Meaning::Origin => {
                reasons.insert("`origin.status`".to_owned());
            }
        }
    }
    reasons.into_iter().collect()
}
