//! The dashboards: the rules of Grafana's dashboard-linter, and every expression in a live Prometheus.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::{eventually, free_port, project};
use crate::support::prometheus::Prometheus;
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;

fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(project("dashboards")).unwrap();
    let mut found: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (
                name,
                serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap(),
            )
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn entries<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// All panels with data, including those in collapsed rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let outer = entries(dashboard, "panels").iter();
    let all = outer.flat_map(|panel| std::iter::once(panel).chain(entries(panel, "panels")));
    all.filter(|panel| panel["type"] != "row" && panel["type"] != "text")
        .collect()
}

/// Every expression with its panel.
fn targets(dashboard: &Value) -> Vec<(&Value, &Value)> {
    let panels = panels(dashboard).into_iter();
    panels
        .flat_map(|panel| entries(panel, "targets").iter().map(move |target| (panel, target)))
        .collect()
}

fn variable<'a>(dashboard: &'a Value, name: &str) -> &'a Value {
    let variables = entries(&dashboard["templating"], "list");
    let found = variables.iter().find(|variable| variable["name"] == name);
    found.unwrap_or(&Value::Null)
}

/// Violations of a rule.
type Breaches = Vec<String>;

/// Name of a rule, and the function that finds violations.
type Rule = (&'static str, fn(&Value) -> Breaches);

/// The rules of grafana/dashboard-linter with its names, and additional rules for imports. The linter's two `LogQL`
/// rules do not apply, because `panel-datasource-rule` requires Prometheus as the only data source.
const RULES: [Rule; 17] = [
    ("template-datasource-rule", |dashboard| {
        let source = variable(dashboard, "datasource");
        let well =
            source["type"] == "datasource" && source["query"] == "prometheus" && source["label"] == "Data source";
        breach(well, source)
    }),
    ("template-job-rule", |dashboard| filter(dashboard, "job", "Job")),
    ("template-instance-rule", |dashboard| {
        filter(dashboard, "instance", "Instance")
    }),
    ("template-label-promql-rule", |dashboard| {
        let labels = Regex::new(r"^label_values\([a-z_]+(\{[^{}]*\})?, *\w+\)$").unwrap();
        let queries = entries(&dashboard["templating"], "list")
            .iter()
            .filter(|variable| variable["type"] == "query");
        queries
            .filter(|variable| {
                !variable["query"]["query"]
                    .as_str()
                    .is_some_and(|query| labels.is_match(query))
            })
            .map(ToString::to_string)
            .collect()
    }),
    ("template-on-time-change-reload-rule", |dashboard| {
        let queries = entries(&dashboard["templating"], "list")
            .iter()
            .filter(|variable| variable["type"] == "query");
        queries
            .filter(|variable| variable["refresh"] != 2)
            .map(ToString::to_string)
            .collect()
    }),
    ("panel-datasource-rule", |dashboard| {
        let asked = panels(dashboard)
            .into_iter()
            .chain(targets(dashboard).into_iter().map(|(_, target)| target));
        let prometheus =
            |of: &&Value| of["datasource"]["type"] == "prometheus" && of["datasource"]["uid"] == "${datasource}";
        asked.filter(|of| !prometheus(of)).map(ToString::to_string).collect()
    }),
    ("panel-title-description-rule", |dashboard| {
        let told = |panel: &Value| {
            ["title", "description"]
                .iter()
                .all(|key| panel[key].as_str().is_some_and(|text| !text.is_empty()))
        };
        panels(dashboard)
            .into_iter()
            .filter(|panel| !told(panel))
            .map(ToString::to_string)
            .collect()
    }),
    ("panel-units-rule", |dashboard| {
        let unit = |panel: &Value| {
            panel["fieldConfig"]["defaults"]["unit"]
                .as_str()
                .is_some_and(|unit| !unit.is_empty())
        };
        panels(dashboard)
            .into_iter()
            .filter(|panel| !unit(panel))
            .map(|panel| panel["title"].to_string())
            .collect()
    }),
    ("panel-no-targets-rule", |dashboard| {
        let empty = panels(dashboard)
            .into_iter()
            .filter(|panel| entries(panel, "targets").is_empty());
        empty.map(|panel| panel["title"].to_string()).collect()
    }),
    ("target-rate-interval-rule", |dashboard| {
        // The viewer chooses the other ranges: the time range of the dashboard, and the variables.
        let range = Regex::new(r"\b(?:rate|irate|increase)\([^\[]*\[([^\]]*)\]").unwrap();
        let chosen = ["$__rate_interval", "$__range", "$window", "$burn", "$span"];
        each_expression(dashboard, |expression| {
            range.captures_iter(expression).all(|found| chosen.contains(&&found[1]))
        })
    }),
    ("target-job-rule", |dashboard| matched(dashboard, "job=~\"$job\"")),
    ("target-instance-rule", |dashboard| {
        matched(dashboard, "instance=~\"$instance\"")
    }),
    ("target-counter-agg-rule", |dashboard| {
        let counter = Regex::new(r"\w+_(?:total|count|sum|bucket)\{[^}]*\}(.)?").unwrap();
        each_expression(dashboard, |expression| {
            counter
                .captures_iter(expression)
                .all(|found| found.get(1).is_some_and(|next| next.as_str() == "["))
        })
    }),
    ("uneditable-dashboard", |dashboard| {
        breach(dashboard["editable"] == false, &dashboard["editable"])
    }),
    ("a head that can be imported", |dashboard| {
        let schema = dashboard["schemaVersion"].as_u64().unwrap_or_default();
        let new = dashboard["id"].is_null() && dashboard.get("__inputs").is_none() && dashboard["version"] == 1;
        breach(new && (39..=42).contains(&schema), &dashboard["schemaVersion"])
    }),
    ("unique names", |dashboard| {
        let twice =
            |names: Vec<&Value>| names.len() != names.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len();
        let panels = panels(dashboard);
        let same_ids = twice(entries(dashboard, "panels").iter().map(|panel| &panel["id"]).collect());
        let same_targets = panels.iter().filter(|panel| {
            twice(
                entries(panel, "targets")
                    .iter()
                    .map(|target| &target["refId"])
                    .collect(),
            )
        });
        same_targets
            .map(|panel| panel["title"].to_string())
            .chain(same_ids.then(|| "panel ids".to_owned()))
            .collect()
    }),
    ("panels that do not overlap", |dashboard| {
        let mut taken = BTreeSet::new();
        let mut shared = Vec::new();
        for panel in entries(dashboard, "panels") {
            let [x, y, width, height] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            let cells = (x..x + width).flat_map(|column| (y..y + height).map(move |line| (column, line)));
            if !cells.fold(x + width <= 24, |free, cell| taken.insert(cell) && free) {
                shared.push(panel["title"].to_string());
            }
        }
        shared
    }),
];

fn breach(well: bool, found: &Value) -> Breaches {
    if well { Vec::new() } else { vec![found.to_string()] }
}

/// Checks a variable that filters by a label, with several values or all.
fn filter(dashboard: &Value, name: &str, label: &str) -> Breaches {
    let found = variable(dashboard, name);
    let well = found["type"] == "query"
        && found["label"] == label
        && found["datasource"]["uid"] == "${datasource}"
        && found["multi"] == true
        && found["includeAll"] == true
        && found["allValue"] == ".+";
    breach(well, found)
}

fn each_expression(dashboard: &Value, well: impl Fn(&str) -> bool) -> Breaches {
    let expressions = targets(dashboard)
        .into_iter()
        .map(|(_, target)| target["expr"].as_str().unwrap_or_default());
    expressions
        .filter(|expression| !well(expression))
        .map(str::to_owned)
        .collect()
}

/// Checks that every selector has matchers, including this one.
fn matched(dashboard: &Value, matcher: &str) -> Breaches {
    let series = Regex::new(r"\b(?:(?:probe|glassbox|blackbox|process|promhttp|net)_\w+|up)\b(\{[^}]*\})?").unwrap();
    let words = Regex::new(r"\b(?:by|without|on|ignoring|group_left|group_right) ?\([^)]*\)").unwrap();
    each_expression(dashboard, |expression| {
        let expression = words.replace_all(expression, "");
        let mut found = series.captures_iter(&expression).peekable();
        found.peek().is_some()
            && found.all(|found| found.get(1).is_some_and(|matchers| matchers.as_str().contains(matcher)))
    })
}

#[test]
fn each_dashboard_follows_the_linter_rules() {
    let all = dashboards();
    assert_eq!(all.len(), 3);
    for (name, dashboard) in &all {
        assert_eq!(dashboard["uid"], name.as_str());
        assert!(!panels(dashboard).is_empty());
        for (rule, breaches) in RULES {
            let breaches = breaches(dashboard);
            assert!(breaches.is_empty(), "{name}: {rule}: {breaches:#?}");
        }
    }
}

/// An expression with the variables as Grafana replaces them, for a scrape interval of one second.
fn substituted(expression: &str) -> String {
    let mut expression = expression.to_owned();
    for (variable, value) in [
        ("$__rate_interval", "20s"),
        ("${__range_s}", "60"),
        ("${__interval_ms}", "5000"),
        ("$__range", "60s"),
        ("$__interval", "5s"),
        ("$job", ".+"),
        ("$instance", ".+"),
        ("$phase", ".+"),
        ("$module", ".*"),
        ("$place", ".*"),
        ("$team", ".*"),
        ("$objective", "99.5"),
        ("$window", "60s"),
        ("$burn", "60s"),
        ("$span", "60s"),
    ] {
        expression = expression.replace(variable, value);
    }
    // The `$1` of `label_replace` is not a variable.
    let left = expression.replace("\"$1\"", "");
    assert!(!left.contains('$'), "a variable without a value: {expression}");
    expression
}

/// `target-promql-rule`: Prometheus can parse every expression.
#[test]
fn prometheus_can_read_every_expression() {
    let mut rules = String::from("groups:\n- name: dashboards\n  rules:\n");
    for (name, dashboard) in dashboards() {
        for (number, (_, target)) in targets(&dashboard).into_iter().enumerate() {
            let quoted = Value::String(substituted(target["expr"].as_str().unwrap()));
            writeln!(
                rules,
                "  - {{record: '{}:{number}', expr: {quoted}}}",
                name.replace('-', "_")
            )
            .unwrap();
        }
    }
    assert!(rules.lines().count() > 80);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboards.yml");
    std::fs::write(&file, rules).unwrap();
    let checked = Command::new("promtool")
        .args(["check", "rules"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// A scrape job: a module and its targets.
pub fn job(exporter: &Exporter, module: &str, targets: &[String]) -> String {
    format!(
        "- job_name: {module}\n  metrics_path: /probe\n  params: {{module: [{module}]}}\n  \
         static_configs: [{{targets: {targets:?}}}]\n  relabel_configs:\n  \
         - {{source_labels: [__address__], target_label: __param_target}}\n  \
         - {{source_labels: [__param_target], target_label: instance}}\n  \
         - {{target_label: job, replacement: glassbox}}\n  \
         - {{target_label: __address__, replacement: '{}'}}\n",
        exporter.address
    )
}

/// Targets that give every panel data: a healthy chain, one broken at the edge, one broken behind a gateway, one over
/// TLS, one with a lease, and one whose successful response masks a dead backend.
#[tokio::test]
async fn every_expression_returns_data_with_classic_and_native_histograms() {
    let authority = Authority::new();
    let well = Peer::start(ok).await;
    let secure = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let gateway = Peer::answering("HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n").await;
    let config = format!(
        "controls: [{{address: '{good}'}}]\nmodules:\n  \
         web: {{prober: http, backends: [{{name: app, address: '{good}'}}]}}\n  \
         tls: {{prober: http, http: {{tls_config: {{ca_file: {ca}}}}}}}\n  \
         cached: {{prober: http, diagnostics: {{backends: always}}, \
         backends: [{{name: app, address: '127.0.0.1:{dead}', reachable: true}}]}}\n  \
         leased: {{prober: http, interval: 200ms}}\n",
        good = well.address,
        ca = authority.ca_file.display(),
        dead = free_port(),
    );
    let exporter = Exporter::start(&config).await;
    let jobs = [
        (
            "web",
            vec![
                well.http(),
                gateway.http(),
                format!("http://127.0.0.1:{}/", free_port()),
            ],
        ),
        ("tls", vec![secure.https()]),
        ("cached", vec![format!("{}cached", well.http())]),
        ("leased", vec![format!("{}leased", well.http())]),
    ];
    let jobs: String = jobs
        .iter()
        .map(|(module, targets)| job(&exporter, module, targets))
        .collect();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n{jobs}\
         - {{job_name: exporter, static_configs: [{{targets: ['{}']}}]}}\n",
        exporter.address
    );
    let classic = Prometheus::start(&config, &[]).await;
    let native = Prometheus::start(&config, &["--enable-feature=native-histograms"]).await;
    for (histograms, prometheus) in [("classic", &classic), ("native", &native)] {
        for (name, dashboard) in dashboards() {
            for (panel, target) in targets(&dashboard) {
                let expression = substituted(target["expr"].as_str().unwrap());
                let what = format!("{histograms}: {name}: {}: {expression}", panel["title"]);
                eventually(&what, async || has_a_value(prometheus, &expression).await).await;
            }
        }
    }
}

/// Whether an expression returns a number or a native histogram.
async fn has_a_value(prometheus: &Prometheus, expression: &str) -> bool {
    let answer = prometheus.ask("query", &[("query", expression)]).await;
    assert_eq!(answer["status"], "success", "{expression}: {answer}");
    let series = entries(&answer["data"], "result").iter();
    let mut values = series.filter(|series| series["histogram"].is_array() || series["value"][1] != "NaN");
    values.next().is_some()
}
