//! The examples are valid, document the correct defaults, and have rules that match promtool and a running exporter.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::project;
use clap::Parser as _;
use glassbox_exporter::cli::Cli;
use glassbox_exporter::config::{Config, ConfigIssue, Defaults};
use glassbox_exporter::server::listeners::Listen;
use glassbox_probe::probers::PROBERS;
use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn example(name: &str) -> String {
    let path = project("examples").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The effective settings of a module, including the defaults of missing keys.
fn running(config: &str) -> Result<String, ConfigIssue> {
    let config = Config::parse(config, Defaults::default())?;
    let module = config.module("http_2xx").unwrap();
    let (controls, policy, limits) = (config.controls(), config.policy(), config.limits());
    Ok(format!("{module:#?}\n{controls:#?}\n{policy:?}\n{limits:?}"))
}

fn defaults() -> String {
    running("modules: {http_2xx: {prober: http}}").unwrap()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries.flat_map(files).collect()
}

/// The keys in the source code: supported ones, and known but unsupported ones.
fn keys_of_the_source() -> (BTreeSet<String>, BTreeSet<String>) {
    let mut source = std::fs::read_to_string(project("src/config/file.rs")).unwrap();
    for file in files_below(&project("crates/glassbox-probe/src/probers")) {
        source += &std::fs::read_to_string(file).unwrap();
    }
    let mut served: BTreeSet<_> = PROBERS.iter().map(|name| (*name).to_owned()).collect();
    let block = Regex::new(r"(?ms)^block! \{\n(.*?)^\}\n").unwrap();
    let (key, word) = (
        Regex::new(r"(?m)^\s+(?:r#)?(\w+): .*,$").unwrap(),
        Regex::new(r"\w+").unwrap(),
    );
    let mut unserved = BTreeSet::new();
    for block in block.captures_iter(&source) {
        let (now, then) = block[1].split_once("unserved {").unwrap();
        served.extend(key.captures_iter(now).map(|found| found[1].to_owned()));
        unserved.extend(word.find_iter(then).map(|found| found.as_str().to_owned()));
    }
    (served, unserved)
}

#[test]
fn the_example_documents_exactly_the_supported_keys() {
    let (served, unserved) = keys_of_the_source();
    // Checks that the keys were found, because the extraction depends on the style of the source code.
    for known in [
        "prober",
        "resolver",
        "http",
        "allow_missing",
        "key_file",
        "username",
        "type",
    ] {
        assert!(served.contains(known), "{known} was not found: {served:?}");
    }
    assert!(
        unserved.contains("ca_ref") && unserved.contains("credentials_ref"),
        "{unserved:?}"
    );
    let text = example("glassbox.yml");
    let word = Regex::new(r"\w+").unwrap();
    let words: BTreeSet<_> = word.find_iter(&text).map(|found| found.as_str().to_owned()).collect();
    let missing: Vec<_> = served.difference(&words).collect();
    assert!(
        missing.is_empty(),
        "examples/glassbox.yml does not document {missing:?}"
    );
    // Words of prose may equal such a key. Keys of the file may not.
    let keys = Regex::new(r"(?m)^\s*#?(\w+):").unwrap();
    let early: Vec<_> = keys
        .captures_iter(&text)
        .map(|found| found[1].to_owned())
        // `dns` is a block of a module, and also the name of a diagnostic that cannot be configured.
        .filter(|key| unserved.contains(key) && !served.contains(key))
        .collect();
    assert!(
        early.is_empty(),
        "examples/glassbox.yml has unsupported keys: {early:?}"
    );
}

#[test]
fn the_example_with_every_key_is_the_same_as_the_defaults() {
    let (example, defaults) = (running(&example("glassbox.yml")).unwrap(), defaults());
    // Line by line, because a diff of the whole file would fill the screen.
    for (line, default) in example.lines().zip(defaults.lines()) {
        assert_eq!(line, default);
    }
    assert_eq!(example, defaults);
}

#[test]
fn the_other_probers_of_the_example_have_their_defaults() {
    for (name, module) in [
        ("unix_socket", "{prober: unix}"),
        (
            "dns_zone",
            "{prober: dns, dns: {query_name: example.org, query_type: SOA}}",
        ),
        ("ping", "{prober: icmp}"),
        ("grpc_health", "{prober: grpc, grpc: {}}"),
        ("websocket", "{prober: websocket}"),
    ] {
        let shown = |text: &str| {
            let config = Config::parse(text, Defaults::default()).unwrap();
            format!("{:#?}", config.module(name).unwrap())
        };
        let (example, defaults) = (
            shown(&example("glassbox.yml")),
            shown(&format!("modules: {{{name}: {module}}}")),
        );
        assert_eq!(example, defaults, "{name}");
    }
}

/// A non-default value for each key of the example. It proves that the comparison above detects a wrong default.
const OTHER_VALUES: &[(&str, &str)] = &[
    ("leases", "5"),
    ("probes", "5"),
    ("queue", "1s"),
    ("per_destination", "5"),
    ("matched_body", "1KB"),
    ("json_values", "100"),
    ("response_head", "8KB"),
    ("response_fields", "5"),
    ("interim_responses", "5"),
    ("redirects", "5"),
    ("parameter", "1KB"),
    ("history_bytes", "1MB"),
    ("probe_memory", "16MB"),
    ("connections", "50"),
    ("request_head", "1s"),
    ("diagnostics", "5/m"),
    ("interval", "1s"),
    ("timeout", "3s"),
    ("metrics", "full"),
    ("backends", "always"),
    ("cache_bypass", "10"),
    ("reference_request", "true"),
    ("budget", "5/m"),
    ("addresses", "all"),
    ("fail_if_slower_than", "2s"),
    ("method", "HEAD"),
    ("headers", "{X-A: b}"),
    ("http_headers", "{X-A: {values: [b]}}"),
    ("body", "text"),
    ("fail_if_body_json_matches_cel", "body.a"),
    ("fail_if_body_json_not_matches_cel", "body.a"),
    ("follow_redirects", "false"),
    ("skip_resolve_phase_with_proxy", "true"),
    ("preferred_ip_protocol", "ip4"),
    ("ip_protocol_fallback", "false"),
    ("enable_http2", "false"),
    ("server_name", "name.test"),
    ("insecure_skip_verify", "true"),
    ("min_version", "TLS13"),
    ("max_version", "TLS12"),
    ("valid_status_codes", "[204]"),
    ("valid_http_versions", "[HTTP/1.1]"),
    ("fail_if_ssl", "true"),
    ("fail_if_not_ssl", "true"),
    ("fail_if_body_matches_regexp", "[a]"),
    ("fail_if_body_not_matches_regexp", "[a]"),
    ("fail_if_header_matches", "[{header: A, regexp: b}]"),
    ("fail_if_header_not_matches", "[{header: A, regexp: b}]"),
    ("body_size_limit", "1KB"),
    ("compression", "gzip"),
];

#[test]
fn other_values_differ_from_the_defaults() {
    let text = example("glassbox.yml");
    let (first, _) = text.split_once("  # The other probers.").unwrap();
    let written = Regex::new(r"(?m)^( +)(\w+): (\S.*)$").unwrap();
    let mut others = OTHER_VALUES.iter().copied().collect::<BTreeMap<_, _>>();
    for found in written.captures_iter(first) {
        let (line, key) = (&found[0], &found[2]);
        // `prober` has no default, the name servers of `resolver` are not displayed, and HTTP/3 excludes HTTP/2.
        if ["prober", "resolver", "enable_http3"].contains(&key) {
            continue;
        }
        let other = others
            .remove(key)
            .unwrap_or_else(|| panic!("OTHER_VALUES has no value for {key}"));
        let changed = text.replacen(line, &format!("{}{key}: {other}", &found[1]), 1);
        assert!(running(&changed).unwrap() != defaults(), "{key}: {other}");
    }
    assert!(others.is_empty(), "keys that are not in the example: {others:?}");
}

/// The lines of each commented-out key. The key has no space after the `#`, continuation lines have more than one.
fn commented_out(text: &str) -> Vec<Vec<usize>> {
    let line_of_key = Regex::new(r"^ *#(\S|  +\S)").unwrap();
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| line_of_key.is_match(line)) {
        match blocks.last_mut() {
            Some(block) if block.last() == Some(&(number - 1)) => block.push(number),
            _ => blocks.push(vec![number]),
        }
        assert!(!line.contains("##"), "{line}");
    }
    blocks
}

#[test]
fn each_commented_out_key_is_valid() {
    let authority = Authority::new();
    let (cert_file, key_file) = authority.files("client.test");
    let text = example("glassbox.yml")
        .replace("/etc/glassbox/ca.pem", authority.ca_file.to_str().unwrap())
        .replace("/etc/glassbox/client.pem", cert_file.to_str().unwrap())
        .replace("/etc/glassbox/client-key.pem", key_file.to_str().unwrap());
    let blocks = commented_out(&text);
    let mut uncommented = Vec::new();
    for block in &blocks {
        let lines = text.lines().enumerate().map(|(number, line)| {
            if block.contains(&number) {
                line.replacen('#', "", 1)
            } else {
                line.to_owned()
            }
        });
        let config: Vec<_> = lines.collect();
        let key = config[block[0]].split(':').next().unwrap().trim().to_owned();
        let runs = running(&config.join("\n")).unwrap_or_else(|problem| panic!("{key}: {problem}"));
        // Here the old name has the same value as the new one above.
        assert_eq!(runs == defaults(), key == "no_follow_redirects", "{key}");
        uncommented.push(key);
    }
    let expected = "controls policy buckets allowed_targets backends body_file no_follow_redirects proxy_url proxy_from_environment basic_auth authorization bearer_token bearer_token_file oauth2 ca_file cert_file";
    assert_eq!(uncommented.join(" "), expected);
}

#[tokio::test]
async fn the_typical_modules_load_and_those_without_files_probe() {
    let authority = Authority::new();
    let plain = Peer::start(ok).await;
    let modules = example("modules.yml")
        .replace("/etc/glassbox/ca.pem", authority.ca_file.to_str().unwrap())
        .replace("10.0.0.7:8080", &plain.address.to_string())
        .replace("intranet.example", "127.0.0.1");
    let exporter = Exporter::start(&modules).await;
    let secured = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let healthy = Peer::answering("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}").await;
    let redirect = "HTTP/1.1 302 Found\r\nLocation: /login?next=/\r\nContent-Length: 0\r\n\r\n";
    let login = Peer::answering(redirect).await;
    for (module, target) in [
        ("http_2xx", plain.http()),
        ("http_post_2xx", plain.http()),
        ("https_own_authority", secured.https()),
        ("http_redirects_to_login", login.http()),
        ("http_healthy", healthy.http()),
        ("http_ip4_own_resolver", plain.http()),
        ("http_few_series", plain.http()),
        ("http_behind_a_load_balancer", plain.http()),
    ] {
        let probed = exporter.probe(module, &target).await;
        assert_eq!(
            probed.page.value("probe_success"),
            1.0,
            "{module}: {:#?}",
            probed.evidence
        );
    }
    // The password file does not exist. Only this module is affected, and its evidence has the error.
    let probed = exporter.probe("http_basic_auth", &plain.http()).await;
    assert_eq!(probed.evidence["verdict"]["reason"], "local.file_unreadable");
}

/// Runs promtool in the folder of the examples. The test fails if promtool is not installed.
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(project("examples"))
        .output()
        .unwrap_or_else(|error| panic!("promtool: {error}; `make deps` installs it (Debian's package prometheus)"));
    assert!(output.status.success(), "promtool {arguments:?}: {output:#?}");
}

/// Rule files, each with its test files.
const RULES: [(&str, &[&str]); 5] = [
    // The tests of the other files also test the settings.
    ("rules/settings.rules.yml", &[]),
    ("rules/glassbox.rules.yml", &["rules/glassbox_test.yml"]),
    (
        "rules/slo.rules.yml",
        &["rules/slo_test.yml", "rules/slo_days_test.yml"],
    ),
    ("rules/exporter.rules.yml", &["rules/exporter_test.yml"]),
    ("places/places.rules.yml", &["places/places_test.yml"]),
];

#[test]
fn promtool_accepts_the_configuration_and_the_rules_and_their_tests_pass() {
    for config in ["prometheus.yml", "places/prometheus.yml"] {
        promtool(&["check", "config", config]);
    }
    for (rules, tests) in RULES {
        promtool(&["check", "rules", rules]);
        for test in tests {
            promtool(&["test", "rules", test]);
        }
    }
}

/// Complete configurations in the documents must be valid.
#[test]
fn promtool_accepts_the_configurations_in_the_documents() {
    let text = std::fs::read_to_string(project("docs/scaling.md")).unwrap();
    let shown = Regex::new(r"(?s)<!-- promtool -->\n```yaml\n(.*?)```").unwrap();
    let mut found = 0;
    for snippet in shown.captures_iter(&text) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, &snippet[1]).unwrap();
        promtool(&["check", "config", file.to_str().unwrap()]);
        found += 1;
    }
    assert!(found > 0);
}

#[test]
fn every_rule_file_is_listed() {
    for folder in ["rules", "places"] {
        for file in std::fs::read_dir(project("examples").join(folder)).unwrap() {
            let name = format!("{folder}/{}", file.unwrap().file_name().to_str().unwrap());
            let known = |(rules, tests): &(&str, &[&str])| *rules == name || tests.contains(&name.as_str());
            let is_rules = name.ends_with(".rules.yml") || name.ends_with("_test.yml");
            assert!(!is_rules || RULES.iter().any(known), "{name}");
        }
    }
}

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&example(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn rules_of(name: &str) -> Vec<Value> {
    let file = yaml(name);
    let groups = list(&file, "groups").iter();
    groups.flat_map(|group| list(group, "rules").to_vec()).collect()
}

#[test]
fn each_alert_says_what_is_wrong_and_is_tested_firing_and_not_firing() {
    for (rules, tests) in RULES {
        let asked: Vec<Value> = tests
            .iter()
            .flat_map(|file| list(&yaml(file), "tests").to_vec())
            .flat_map(|test| list(&test, "alert_rule_test").to_vec())
            .collect();
        let alerts: Vec<_> = rules_of(rules)
            .into_iter()
            .filter(|rule| rule["alert"].is_string())
            .collect();
        assert_eq!(alerts.is_empty(), tests.is_empty(), "{rules}");
        // The heartbeat always fires, so that its absence is noticed.
        for alert in alerts.iter().filter(|alert| alert["alert"] != "GlassboxHeartbeat") {
            assert_alert_is_clear_and_tested(alert, &asked);
        }
    }
}

fn assert_alert_is_clear_and_tested(rule: &Value, asked: &[Value]) {
    let name = rule["alert"].as_str().unwrap();
    let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
    assert!(name.starts_with("Glassbox"), "{name}");
    assert!(["critical", "warning"].contains(&severity), "{name}");
    let summary = rule["annotations"]["summary"].as_str().unwrap_or_default();
    assert!(summary.ends_with('.') && !summary.contains("{{"), "{name}: {summary:?}");
    assert!(rule["annotations"]["description"].is_string(), "{name}");
    let about: Vec<_> = asked.iter().filter(|test| test["alertname"] == name).collect();
    let fires = |test: &Value| {
        let expected = list(test, "exp_alerts").iter();
        expected
            .into_iter()
            .any(|alert| alert["exp_labels"]["severity"] == severity)
    };
    let is_silent = |test: &Value| !fires(test);
    assert!(
        about.iter().any(|test| fires(test)),
        "no test expects {name} ({severity}) to fire"
    );
    assert!(
        about.iter().any(|test| is_silent(test)),
        "no test expects {name} ({severity}) not to fire"
    );
}

/// A label that changes during a fault would create a new alert and restart its `for`.
#[test]
fn no_alert_has_the_link_among_its_labels() {
    for (rules, _) in RULES {
        for rule in rules_of(rules).iter().filter(|rule| rule["alert"].is_string()) {
            let labels: Vec<_> = rule["labels"].as_object().unwrap().keys().collect();
            assert_eq!(labels, ["severity"], "{}", rule["alert"]);
            let severity = rule["labels"]["severity"].as_str().unwrap();
            assert_eq!(severity == "none", rule["alert"] == "GlassboxHeartbeat");
            let expression = rule["expr"].as_str().unwrap();
            let of_links = expression.contains("probe_failure_info") || expression.contains("probe_failures_total");
            assert!(
                severity != "critical" || !of_links,
                "{} is a page, and its expression depends on the link",
                rule["alert"]
            );
        }
    }
}

/// Users choose the names of their jobs.
#[test]
fn no_rule_depends_on_the_name_of_a_job() {
    let named = Regex::new(r#"\bjob *(=|!=|=~|!~) *"[^$"%]"#).unwrap();
    for name in RULES.iter().map(|(rules, _)| *rules).chain(["alertmanager.yml"]) {
        let text = example(name);
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let found: Vec<_> = lines
            .filter(|line| named.is_match(line) || line.contains("job !="))
            .collect();
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

/// All lines that a user must change are in one file.
#[test]
fn only_the_settings_have_lines_to_edit() {
    for (rules, _) in RULES {
        assert_eq!(
            example(rules).contains("EDIT"),
            rules == "rules/settings.rules.yml",
            "{rules}"
        );
    }
}

/// While the exporter's network is down, exactly the alerts on the exporter itself remain active.
#[test]
fn the_vantage_alert_inhibits_all_alerts_except_those_on_the_exporter() {
    let alertmanager = yaml("alertmanager.yml");
    let rules = list(&alertmanager, "inhibit_rules").iter();
    let inhibition = rules
        .clone()
        .find(|rule| rule["source_matchers"][0] == "alertname = GlassboxVantageDown")
        .unwrap();
    let kept = inhibition["target_matchers"][1].as_str().unwrap();
    let kept = kept.strip_prefix("alertname !~ ").unwrap().trim_matches('"');
    let kept = Regex::new(&format!("^(?:{kept})$")).unwrap();
    // These alerts are about results that the exporter's network affects.
    let about_targets = ["GlassboxVantageSuspect", "GlassboxProbeStale"];
    for (file, _) in RULES {
        for rule in rules_of(file).iter().filter(|rule| rule["alert"].is_string()) {
            let name = rule["alert"].as_str().unwrap();
            let is_on_the_exporter = file == "rules/exporter.rules.yml" && !about_targets.contains(&name);
            assert_eq!(kept.is_match(name), is_on_the_exporter, "{name}");
        }
    }
}

#[tokio::test]
async fn the_evidence_links_of_all_alerts_read_the_url_of_the_exporter() {
    let exporter = Exporter::start_with("modules: {}", |settings| {
        settings.external_url = Some("https://probes.example".to_owned());
    })
    .await;
    let metrics = exporter.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("\nglassbox_external_url_info{url=\"https://probes.example\"} 1\n"));
    let mut links = 0;
    for rule in RULES.iter().flat_map(|(rules, _)| rules_of(rules)) {
        let annotations = ["evidence", "description"].map(|key| rule["annotations"][key].as_str().unwrap_or_default());
        for annotation in annotations.iter().filter(|text| text.contains("/evidence?target=")) {
            assert!(annotation.contains("glassbox_external_url_info{"), "{annotation}");
            assert!(annotation.contains(".Labels.url"), "{annotation}");
            links += 1;
        }
    }
    assert!(links > 10, "{links}");
}

#[tokio::test]
async fn the_rules_use_series_of_a_running_exporter() {
    let authority = Authority::new();
    let control = Peer::start(ok).await;
    let config = format!(
        "controls: [{{address: \"{}\"}}]\n\
         modules: {{http_2xx: {{prober: http, interval: 1m, http: {{tls_config: {{ca_file: {:?}}}}}}}}}",
        control.address, authority.ca_file
    );
    let exporter = Exporter::start(&config).await;
    let secured = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let page = async |path: String| exporter.get(&path).await.text().await.unwrap();
    // The second scrape starts a lease.
    page(format!("/probe?target={}", secured.https())).await;
    let good = page(format!("/probe?target={}", secured.https())).await;
    let failed = page("/probe?target=http://127.0.0.1:1/".to_owned()).await;
    assert!(good.contains("\nprobe_success 1\n") && failed.contains("\nprobe_success 0\n"));
    let served = [good, failed, page("/metrics".to_owned()).await].join("\n");
    let name = Regex::new(r"(?m)^[a-z_]+").unwrap();
    let names: BTreeSet<_> = name.find_iter(&served).map(|found| found.as_str()).collect();

    let (quoted, word) = (
        Regex::new(r#""[^"]*""#).unwrap(),
        Regex::new(r"[a-z_:][a-z0-9_:]*").unwrap(),
    );
    let label = Regex::new(r"\.Labels\.(\w+)").unwrap();
    let mut asked_for = BTreeSet::new();
    for rule in RULES.iter().flat_map(|(rules, _)| rules_of(rules)) {
        let lines = rule["expr"].as_str().unwrap().lines();
        let expression: String = lines.filter(|line| !line.trim_start().starts_with('#')).collect();
        let words = quoted.replace_all(&expression, "");
        let series = word.find_iter(&words).map(|found| found.as_str());
        let of_ours = series.filter(|name| name.contains('_') && !name.contains(':'));
        asked_for.extend(
            of_ours
                .filter(|name| name.starts_with("probe_") || name.contains("box_"))
                .map(str::to_owned),
        );
        // Labels of the verdict that the annotation uses.
        let description = rule["annotations"]["description"].as_str().unwrap_or_default();
        if description.contains("probe_failure_info") {
            let verdict = served
                .lines()
                .find(|line| line.starts_with("probe_failure_info{"))
                .unwrap();
            // Prometheus adds the label of a place.
            // `url` is a label of the exporter's own metric.
            let of_verdict = |name: &str| !["place", "url"].contains(&name);
            for found in label.captures_iter(description).filter(|found| of_verdict(&found[1])) {
                assert!(
                    verdict.contains(&format!("{}=\"", &found[1])),
                    "{} is not a label of {verdict}",
                    &found[1]
                );
            }
        }
    }
    assert!(asked_for.len() >= 15, "{asked_for:?}");
    for series in &asked_for {
        // The text format contains a native histogram only as buckets.
        let buckets = format!("{series}_bucket");
        let is_exported = names.contains(series.as_str()) || names.contains(buckets.as_str());
        assert!(is_exported, "{series} is not exported");
    }
}

/// The systemd units use flags and a port that the program supports.
#[test]
fn the_systemd_units_use_supported_flags() {
    let service = example("systemd/glassbox_exporter.service");
    let start = service
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let words = start.split(' ').chain(["--web.systemd-socket"]);
    let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cli.listen_addresses(), Listen::Inherited);
    // The exporter notifies systemd when it is ready, reloads and stops. A test in `web` checks this.
    assert!(service.lines().any(|line| line == "Type=notify"));
    let socket = example("systemd/glassbox_exporter.socket");
    assert!(socket.lines().any(|line| line == "ListenStream=9115"));
}
