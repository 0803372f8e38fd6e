//! The examples: they load, they say the truth about defaults, and promtool and a running exporter agree with the rules.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::project;
use glassbox_exporter::config::{Config, Defaults, Problem};
use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

fn example(name: &str) -> String {
    let path = project("examples").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything that the module runs with: keys that are not written appear here with their defaults.
fn running(config: &str) -> Result<String, Problem> {
    let config = Config::parse(config, Defaults::default())?;
    let module = config.module("http_2xx").unwrap();
    Ok(format!("{module:#?}\n{:#?}\n{:?}", config.controls(), config.policy()))
}

fn defaults() -> String {
    running("modules: {http_2xx: {prober: http}}").unwrap()
}

/// The keys of the written configuration: those that are served, and those that come later.
fn keys_of_the_source() -> (BTreeSet<String>, BTreeSet<String>) {
    let source = std::fs::read_to_string(project("src/config/file.rs")).unwrap();
    let block = Regex::new(r"(?ms)^block! \{\n(.*?)^\}\n").unwrap();
    let (key, word) = (
        Regex::new(r"(?m)^\s+(?:r#)?(\w+): .*,$").unwrap(),
        Regex::new(r"\w+").unwrap(),
    );
    let (mut served, mut later) = (BTreeSet::new(), BTreeSet::new());
    for block in block.captures_iter(&source) {
        let (now, then) = block[1].split_once("later {").unwrap();
        served.extend(key.captures_iter(now).map(|found| found[1].to_owned()));
        later.extend(word.find_iter(then).map(|found| found.as_str().to_owned()));
    }
    (served, later)
}

#[test]
fn every_key_of_this_version_is_explained_and_no_other() {
    let (served, later) = keys_of_the_source();
    // Were the source written in another way, this test would read nothing from it.
    for known in [
        "prober",
        "resolver",
        "http",
        "allow_missing",
        "key_file",
        "username",
        "type",
    ] {
        assert!(served.contains(known), "{known} is not among {served:?}");
    }
    assert!(
        later.contains("oauth2") && later.contains("credentials_ref"),
        "{later:?}"
    );
    let text = example("glassbox.yml");
    let word = Regex::new(r"\w+").unwrap();
    let words: BTreeSet<_> = word.find_iter(&text).map(|found| found.as_str().to_owned()).collect();
    let missing: Vec<_> = served.difference(&words).collect();
    assert!(missing.is_empty(), "examples/glassbox.yml does not explain {missing:?}");
    // A word of prose may be a later key's name too; a key of the file may not.
    let keys = Regex::new(r"(?m)^\s*#?(\w+):").unwrap();
    let early: Vec<_> = keys
        .captures_iter(&text)
        .map(|found| found[1].to_owned())
        .filter(|key| later.contains(key))
        .collect();
    assert!(
        early.is_empty(),
        "examples/glassbox.yml has what comes later: {early:?}"
    );
}

#[test]
fn the_example_with_every_key_is_the_same_as_the_defaults() {
    let (example, defaults) = (running(&example("glassbox.yml")).unwrap(), defaults());
    // Line by line, since all of it would fill a screen.
    for (line, default) in example.lines().zip(defaults.lines()) {
        assert_eq!(line, default);
    }
    assert_eq!(example, defaults);
}

/// Another value for each key of the example. It shows that the comparison above would see a wrong default.
const OTHER_VALUES: [(&str, &str); 28] = [
    ("timeout", "3s"),
    ("metrics", "full"),
    ("drill", "always"),
    ("bypass_cache", "10"),
    ("reference_request", "true"),
    ("addresses", "all"),
    ("fail_if_slower_than", "2s"),
    ("method", "HEAD"),
    ("headers", "{X-A: b}"),
    ("body", "text"),
    ("follow_redirects", "false"),
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
fn another_value_of_any_key_is_not_the_default() {
    let text = example("glassbox.yml");
    let written = Regex::new(r"(?m)^( +)(\w+): (\S.*)$").unwrap();
    let mut others = BTreeMap::from(OTHER_VALUES);
    for found in written.captures_iter(&text) {
        let (line, key) = (&found[0], &found[2]);
        // The one has no default; the other's settings do not show which name servers they hold.
        if ["prober", "resolver"].contains(&key) {
            continue;
        }
        let other = others.remove(key).unwrap_or_else(|| panic!("no other value for {key}"));
        let changed = text.replacen(line, &format!("{}{key}: {other}", &found[1]), 1);
        assert!(running(&changed).unwrap() != defaults(), "{key}: {other}");
    }
    assert!(others.is_empty(), "not in the example: {others:?}");
}

/// The lines of each commented-out key, which stand without a blank after the mark, and their continuations, which stand
/// with more than one.
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
fn each_key_that_is_commented_out_is_right_once_it_is_not() {
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
        // The old name says here what the new one says above.
        assert_eq!(runs == defaults(), key == "no_follow_redirects", "{key}");
        uncommented.push(key);
    }
    let expected = "controls policy buckets hops no_follow_redirects basic_auth authorization bearer_token bearer_token_file ca_file cert_file";
    assert_eq!(uncommented.join(" "), expected);
}

#[tokio::test]
async fn the_typical_modules_load_and_the_open_ones_probe() {
    let authority = Authority::new();
    let plain = Peer::start(ok).await;
    let modules = example("modules.yml")
        .replace("/etc/glassbox/ca.pem", authority.ca_file.to_str().unwrap())
        .replace("10.0.0.7:8080", &plain.address.to_string());
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
    // Its password file is not there: the module says so, and no other is harmed.
    let probed = exporter.probe("http_basic_auth", &plain.http()).await;
    assert_eq!(probed.evidence["verdict"]["reason"], "local.file_unreadable");
}

/// Runs promtool in the folder of the examples. Without promtool the test fails.
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(project("examples"))
        .output()
        .unwrap_or_else(|error| panic!("promtool: {error}; `make deps` installs it (Debian's package prometheus)"));
    assert!(output.status.success(), "promtool {arguments:?}: {output:#?}");
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules_and_their_tests_pass() {
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["check", "rules", "rules/glassbox.rules.yml"]);
    promtool(&["test", "rules", "rules/glassbox_test.yml"]);
}

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&example(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn rules() -> Vec<Value> {
    let file = yaml("rules/glassbox.rules.yml");
    let groups = list(&file, "groups").iter();
    groups.flat_map(|group| list(group, "rules").to_vec()).collect()
}

#[test]
fn each_alert_says_what_is_wrong_and_is_tested_firing_and_not_firing() {
    let tests = yaml("rules/glassbox_test.yml");
    let asked: Vec<_> = list(&tests, "tests")
        .iter()
        .flat_map(|test| list(test, "alert_rule_test"))
        .collect();
    let mut alerts = 0;
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let name = rule["alert"].as_str().unwrap();
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(name.starts_with("Glassbox"), "{name}");
        assert!(["critical", "warning"].contains(&severity), "{name}");
        let summary = rule["annotations"]["summary"].as_str().unwrap_or_default();
        assert!(summary.ends_with('.') && !summary.contains("{{"), "{name}: {summary:?}");
        assert!(rule["annotations"]["description"].is_string(), "{name}");
        let about: Vec<_> = asked.iter().filter(|test| test["alertname"] == name).collect();
        let fires = |test: &Value| {
            list(test, "exp_alerts")
                .iter()
                .any(|alert| alert["exp_labels"]["severity"] == severity)
        };
        assert!(
            about.iter().any(|test| fires(test)),
            "{name} ({severity}) is not seen firing"
        );
        assert!(
            about.iter().any(|test| !fires(test)),
            "{name} ({severity}) is not seen silent"
        );
        alerts += 1;
    }
    assert!(alerts > 0);
}

#[tokio::test]
async fn the_rules_ask_for_series_that_a_running_exporter_has() {
    let authority = Authority::new();
    let config = format!(
        "modules: {{http_2xx: {{prober: http, http: {{tls_config: {{ca_file: {:?}}}}}}}}}",
        authority.ca_file
    );
    let exporter = Exporter::start(&config).await;
    let secured = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let page = async |path: String| exporter.get(&path).await.text().await.unwrap();
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
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        let words = quoted.replace_all(expression, "");
        let series = word.find_iter(&words).map(|found| found.as_str());
        let of_ours = series.filter(|name| name.contains('_') && !name.contains(':'));
        asked_for.extend(
            of_ours
                .filter(|name| name.starts_with("probe_") || name.contains("box_"))
                .map(str::to_owned),
        );
        // The verdict's labels, which an annotation puts into words.
        let description = rule["annotations"]["description"].as_str().unwrap_or_default();
        if description.contains("probe_failure_info{") {
            let verdict = served
                .lines()
                .find(|line| line.starts_with("probe_failure_info{"))
                .unwrap();
            for found in label.captures_iter(description) {
                assert!(
                    verdict.contains(&format!("{}=\"", &found[1])),
                    "{} is not in {verdict}",
                    &found[1]
                );
            }
        }
    }
    assert!(asked_for.len() >= 6, "{asked_for:?}");
    for series in &asked_for {
        assert!(names.contains(series.as_str()), "{series} is not exported");
    }
}
