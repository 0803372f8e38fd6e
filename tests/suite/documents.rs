//! What the documents list is what the code has: the decision table in `docs/verdicts.md`, the metrics in `docs/metrics.md` and
//! in the README. It is made from the code, and held to it.

use crate::support::exporter::Exporter;
use crate::support::process::project;
use glassbox_exporter::attribution::{MASKS, RULES, Rule};
use glassbox_exporter::chain::Link;
use glassbox_exporter::gateways::{Gateway, Known, Means, catalogue};
use glassbox_exporter::metrics::{Level, METRICS, Metric};
use glassbox_exporter::reason::Reason;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What is made stands between these, or from the first to the end; the rest is written by hand.
const MADE: &str = "<!-- Made from the code by UPDATE_DOCS=1 cargo test --test suite documents -->\n";
const MADE_ENDS: &str = "<!-- Made to here -->\n";

/// Holds the made part of a document to what it should be, or makes it anew where that is asked for.
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
        "{document} is not what the code says: run UPDATE_DOCS=1 cargo test --test suite documents"
    );
}

#[test]
fn the_verdicts_that_are_published_are_those_of_the_code() {
    hold(
        "docs/verdicts.md",
        &format!("\n{}\n{}\n{}", rules(), reasons(), gateways()),
    );
}

#[tokio::test]
async fn the_metrics_that_are_published_are_those_of_the_code() {
    let (peers, ours): (Vec<_>, Vec<_>) = METRICS.iter().partition(|metric| metric.level == Level::Peer);
    let ours = metrics(&ours);
    hold("README.md", &format!("\n{ours}\n"));
    let all = [
        ("The peer's, with `metrics: peer` and above", metrics(&peers)),
        ("Ours, with `metrics: standard` and above", ours),
        ("Of the exporter itself, on `/metrics`", own_metrics().await),
    ];
    let all = all.map(|(title, table)| format!("\n## {title}\n\n{table}"));
    hold("docs/metrics.md", &all.concat());
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

/// As a scrape shows them: what has no value at the start is missing there, and has its own row once it is counted.
async fn own_metrics() -> String {
    let exporter = Exporter::start("modules: {http_2xx: {prober: http}}").await;
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
fn every_link_is_explained() {
    let text = std::fs::read_to_string(project("docs/verdicts.md")).unwrap();
    for link in Link::ALL {
        assert!(text.contains(&format!("| `{}` |", link.as_str())), "{}", link.as_str());
    }
}

fn rules() -> String {
    let table = |title: &str, rules: &[Rule]| {
        let mut text =
            format!("## {title}\n\n| # | rule | speaks when, and blames | blind where |\n|---|---|---|---|\n");
        for (number, rule) in rules.iter().enumerate() {
            writeln!(
                text,
                "| {} | `{}` | {} | {} |",
                number + 1,
                rule.name,
                rule.when,
                rule.blind
            )
            .unwrap();
        }
        text
    };
    format!(
        "{}\n{}",
        table("The rules for a failed probe", RULES),
        table("The rules for a good answer, which may hide a broken link", MASKS)
    )
}

fn reasons() -> String {
    let mut text = "## The reasons\n\n| reason | because |\n|---|---|\n".to_owned();
    for reason in Reason::ALL {
        writeln!(text, "| `{}` | {} |", reason.as_str(), reason.meaning()).unwrap();
    }
    text
}

fn gateways() -> String {
    let mut text =
        "## The gateways that are known\n\n| gateway | rows | own pages of any status | that speak of | known |\n|---|---|---|---|---|\n"
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

/// How its rows are known, each way once.
fn known(gateway: &Gateway) -> String {
    let ways = gateway.own.iter().map(|page| page.known.unwrap_or(gateway.known));
    let ways: BTreeSet<_> = ways
        .chain([gateway.known])
        .map(|known| match known {
            Known::Measured(with) => format!("measured: {with}"),
            Known::Documented(source) => format!("documented: {source}"),
        })
        .collect();
    Vec::from_iter(ways).join("; ")
}

fn spoken_of(gateway: &Gateway) -> Vec<String> {
    let mut reasons = BTreeSet::new();
    for page in gateway.own {
        match page.means {
            Means::Upstream(list) => reasons.extend(list.iter().map(|reason| format!("`{}`", reason.as_str()))),
            Means::Front(reason) => {
                reasons.insert(format!("`{}`", reason.as_str()));
            }
            Means::Origin => {
                reasons.insert("`origin.status`".to_owned());
            }
        }
    }
    reasons.into_iter().collect()
}
