//! The manifests in `examples/kubernetes`: valid by the schemas of Kubernetes, and consistent with the exporter.

use crate::examples::example;
use crate::support::process::project;
use glassbox_exporter::server::ServerSettings;
use regex::Regex;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Manifests of Kubernetes' own kinds.
const MANIFESTS: [&str; 3] = ["exporter.yml", "shards.yml", "browsers.yml"];

/// The oldest version that the README states, and the latest one of the checker.
const VERSIONS: [&str; 2] = ["1.25", "1.37"];

fn manifests(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n");
    documents
        .map(|document| serde_yaml::from_str(document).unwrap())
        .collect()
}

fn of_kind<'a>(all: &'a [Value], kind: &str) -> &'a Value {
    all.iter().find(|one| one["kind"] == kind).unwrap()
}

/// The text with all keys that are commented out: there, no space follows the `#`.
fn uncommented(text: &str) -> String {
    let (head, body) = text.split_at(text.find("apiVersion").unwrap());
    let key = Regex::new(r"(?m)^( *)#(\S|  +\S)").unwrap();
    format!("{head}{}", key.replace_all(body, "$1$2"))
}

/// The errors of the schemas, empty if the file is valid. Unknown keys are errors.
fn errors(version: &str, file: &Path) -> String {
    let checker = project("target/tools/kubernetes-validate");
    let output = Command::new("python3")
        .args([
            "-m",
            "kubernetes_validate",
            "--strict",
            "--no-warn",
            "--quiet",
            "-k",
            version,
        ])
        .arg(file)
        .env("PYTHONPATH", checker)
        .output()
        .expect("python3 is required; `make deps` installs it");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let is_run = output.status.success() || text.contains("did not validate");
    assert!(is_run, "{text}; `make test` installs the checker");
    text
}

#[test]
fn the_manifests_are_valid_by_the_schemas_of_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.yml");
    for name in MANIFESTS {
        let text = example(&format!("kubernetes/{name}"));
        for variant in [text.clone(), uncommented(&text)] {
            for version in VERSIONS {
                std::fs::write(&file, &variant).unwrap();
                assert_eq!(errors(version, &file), "", "{name}, {version}");
            }
        }
        // The checker finds a misspelled key.
        std::fs::write(&file, text.replace("podSelector:", "podSelektor:")).unwrap();
        assert!(errors(VERSIONS[0], &file).contains("podSelektor"), "{name}");
    }
}

/// The exporter may use its whole time for the probes in flight.
#[test]
fn the_grace_period_is_longer_than_the_shutdown() {
    for (name, kind) in [("exporter.yml", "Deployment"), ("shards.yml", "StatefulSet")] {
        let all = manifests(&example(&format!("kubernetes/{name}")));
        let pod = &of_kind(&all, kind)["spec"]["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(
            grace >= ServerSettings::default().shutdown_timeout.as_secs() + 5,
            "{name}"
        );
    }
}

/// Bytes of a quantity such as `512Mi`.
fn bytes(quantity: &Value) -> f64 {
    let number = quantity.as_str().unwrap().strip_suffix("Mi").unwrap();
    number.parse::<f64>().unwrap() * f64::from(1 << 20)
}

/// A hostile target must not get the exporter killed.
#[test]
fn the_memory_limit_exceeds_what_the_limits_of_the_exporter_allow() {
    // After probes of 10,000 targets, according to docs/performance.md.
    const MEASURED: f64 = 54_100_000.0;
    let limits = glassbox_probe::limits::Limits::default();
    let row = |wanted: &str| limits.rows().iter().find(|(name, _)| *name == wanted).unwrap().1;
    for (name, kind) in [("exporter.yml", "Deployment"), ("shards.yml", "StatefulSet")] {
        let all = manifests(&example(&format!("kubernetes/{name}")));
        let resources = &of_kind(&all, kind)["spec"]["template"]["spec"]["containers"][0]["resources"];
        assert!(bytes(&resources["requests"]["memory"]) > MEASURED, "{name}");
        let most = MEASURED + row("history_bytes") + row("probe_memory");
        assert!(bytes(&resources["limits"]["memory"]) > most, "{name}");
    }
}

/// A budget for a single pod would block the drain of its node.
#[test]
fn only_what_has_several_pods_has_a_disruption_budget() {
    for (name, has_budget) in [("exporter.yml", false), ("shards.yml", true), ("browsers.yml", true)] {
        let all = manifests(&example(&format!("kubernetes/{name}")));
        let budgets: Vec<_> = all.iter().filter(|one| one["kind"] == "PodDisruptionBudget").collect();
        assert_eq!(budgets.len(), usize::from(has_budget), "{name}");
        for budget in budgets {
            let pods = all.iter().find(|one| one["spec"]["replicas"].is_u64()).unwrap();
            assert_eq!(budget["spec"]["selector"], pods["spec"]["selector"], "{name}");
            let [most, all] = [&budget["spec"]["maxUnavailable"], &pods["spec"]["replicas"]].map(Value::as_u64);
            assert!(most >= Some(1) && most < all, "{name}: {most:?} of {all:?}");
        }
    }
}

/// The proxy in the cluster is the tested one, except for what is different in a cluster.
#[test]
fn the_proxy_of_the_ingress_is_the_tested_example() {
    let all = manifests(&example("kubernetes/browsers.yml"));
    let in_cluster = of_kind(&all, "ConfigMap")["data"]["default.conf"].as_str().unwrap();
    let tested = example("browsers/basic-auth.conf")
        .replace("/etc/nginx/glassbox.htpasswd", "/etc/glassbox/htpasswd")
        .replace("127.0.0.1:9115", "glassbox.monitoring.svc:9115");
    let directives = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let of_the_listener = ["listen ", "server_name ", "ssl_certificate"];
    let mut expected = directives(&tested);
    expected.retain(|line| !of_the_listener.iter().any(|key| line.starts_with(key)));
    let health = [
        "listen 8080;",
        "location = /healthz {",
        "auth_basic off;",
        "access_log off;",
        "return 204;",
        "}",
    ];
    let server = expected.iter().position(|line| line == "server {").unwrap() + 1;
    expected.splice(server..server, health.map(str::to_owned));
    assert_eq!(directives(in_cluster), expected);
}

/// The selectors of both network policies match the pods of the other manifests.
#[test]
fn the_network_policy_lets_the_proxy_reach_the_exporters() {
    let all = manifests(&example("kubernetes/browsers.yml"));
    let policy = all
        .iter()
        .find(|one| one["metadata"]["name"] == "glassbox-from-browsers")
        .unwrap();
    let matches = |selector: &Value, pods: &Value| {
        let labels = &pods["spec"]["template"]["metadata"]["labels"];
        selector["matchLabels"]
            .as_object()
            .unwrap()
            .iter()
            .all(|(key, value)| labels[key] == *value)
    };
    for (name, kind) in [("exporter.yml", "Deployment"), ("shards.yml", "StatefulSet")] {
        let exporters = manifests(&example(&format!("kubernetes/{name}")));
        assert!(
            matches(&policy["spec"]["podSelector"], of_kind(&exporters, kind)),
            "{name}"
        );
    }
    let from = &policy["spec"]["ingress"][0]["from"][0]["podSelector"];
    assert!(matches(from, of_kind(&all, "Deployment")));
}
