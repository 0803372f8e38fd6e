//! `docs/verdicts.md` is the decision table of the code: made from it, and held to it.

use crate::support::process::project;
use glassbox_exporter::attribution::{RULES, Rule};
use glassbox_exporter::chain::Link;
use glassbox_exporter::gateways::{Gateway, Means, catalogue};
use glassbox_exporter::reason::Reason;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Where the parts that are made begin; what stands before is written by hand.
const MADE: &str =
    "<!-- From here on this file is made from the code: UPDATE_DOCS=1 cargo test --test suite documents -->\n";

#[test]
fn the_verdicts_that_are_published_are_those_of_the_code() {
    let path = project("docs/verdicts.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (by_hand, made) = text.split_once(MADE).expect("the mark is in docs/verdicts.md");
    let right = format!("\n{}\n{}\n{}", rules(), reasons(), gateways());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{by_hand}{MADE}{right}")).unwrap();
        return;
    }
    assert!(
        made == right,
        "docs/verdicts.md is not what the code says: run UPDATE_DOCS=1 cargo test --test suite documents"
    );
}

#[test]
fn every_link_is_explained() {
    let text = std::fs::read_to_string(project("docs/verdicts.md")).unwrap();
    for link in Link::ALL {
        assert!(text.contains(&format!("| `{}` |", link.as_str())), "{}", link.as_str());
    }
}

fn rules() -> String {
    let table = |title: &str, masked: bool| {
        let mut text =
            format!("## {title}\n\n| # | rule | speaks when, and blames | blind where |\n|---|---|---|---|\n");
        let rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.masked == masked).collect();
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
        table("The rules for a failed probe", false),
        table("The rules for a good answer, which may hide a broken link", true)
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
        "## The gateways that are known\n\n| gateway | own pages | that speak of |\n|---|---|---|\n".to_owned();
    for gateway in catalogue() {
        let spoken = spoken_of(gateway);
        writeln!(
            text,
            "| `{}` | {} | {} |",
            gateway.name,
            gateway.own.len(),
            spoken.join(", ")
        )
        .unwrap();
    }
    text
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
