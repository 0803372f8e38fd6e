//! The dashboards: what Grafana's linter demands of them, and expressions that Prometheus can read.

use crate::support::process::project;
use regex::Regex;
use serde_json::Value;
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

/// All panels that show something, those in closed rows, too.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let outer = entries(dashboard, "panels").iter();
    let all = outer.flat_map(|panel| std::iter::once(panel).chain(entries(panel, "panels")));
    all.filter(|panel| panel["type"] != "row" && panel["type"] != "text")
        .collect()
}

#[test]
fn each_follows_the_rules_of_the_linter() {
    let all = dashboards();
    assert_eq!(all.len(), 3);
    for (name, dashboard) in &all {
        assert_eq!(dashboard["uid"], name.as_str());
        assert!(
            dashboard["id"].is_null() && dashboard.get("__inputs").is_none(),
            "{name}"
        );
        assert_eq!(dashboard["editable"], false, "{name}");
        let schema = dashboard["schemaVersion"].as_u64().unwrap();
        assert!((39..=42).contains(&schema), "{name}: {schema}");
        let variables = entries(&dashboard["templating"], "list");
        let variable = |wanted: &str| {
            let found = variables.iter().find(|variable| variable["name"] == wanted);
            found.unwrap_or_else(|| panic!("{name} has no variable {wanted}"))
        };
        assert_eq!(variable("datasource")["type"], "datasource", "{name}");
        assert_eq!(variable("datasource")["label"], "Data source", "{name}");
        for wanted in ["job", "instance"] {
            assert_eq!(variable(wanted)["type"], "query", "{name}");
            assert_eq!(
                variable(wanted)["datasource"]["uid"],
                "${datasource}",
                "{name} {wanted}"
            );
        }
        assert!(!panels(dashboard).is_empty());
        for panel in panels(dashboard) {
            let title = panel["title"].as_str().unwrap_or_default();
            assert!(!title.is_empty(), "{name}: a panel without a title");
            assert!(
                panel["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{name}: {title}"
            );
            let targets = entries(panel, "targets");
            assert!(!targets.is_empty(), "{name}: {title} asks for nothing");
            for target in targets {
                let expression = target["expr"].as_str().unwrap();
                let names_both = expression.contains("job=~\"$job\"") && expression.contains("instance=~\"$instance\"");
                assert!(names_both, "{name}: {title}: {expression}");
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{name}: {title}");
            }
        }
    }
}

#[test]
fn prometheus_can_read_every_expression() {
    let variable = Regex::new(r"\$\{?\w+(:\w+)?\}?").unwrap();
    let range = Regex::new(r"\[\$\{?\w+\}?").unwrap();
    let mut rules = String::from("groups:\n- name: dashboards\n  rules:\n");
    let mut count = 0;
    for (_, dashboard) in dashboards() {
        for target in panels(&dashboard).iter().flat_map(|panel| entries(panel, "targets")) {
            let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
            let expression = expression.replace("$__range", "1h").replace("$__interval", "1m");
            let expression = range.replace_all(&expression, "[1h");
            let expression = variable.replace_all(&expression, "1");
            count += 1;
            let quoted = Value::String(expression.into_owned());
            writeln!(rules, "  - {{record: 'a:b{count}', expr: {quoted}}}").unwrap();
        }
    }
    assert!(count > 30);
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
