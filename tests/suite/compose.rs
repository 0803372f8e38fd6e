//! The Docker Compose example. The tests cannot run it, so they check every path, flag and configuration in it.

use crate::support::process::project;
use glassbox_exporter::config::{Config, Defaults};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn scene() -> Value {
    let text = std::fs::read_to_string(project("examples/docker-compose.yml")).unwrap();
    serde_yaml::from_str(&text).unwrap()
}

fn list<'a>(service: &'a Value, key: &str) -> Vec<&'a str> {
    let entries = service[key].as_array().into_iter().flatten();
    entries.filter_map(Value::as_str).collect()
}

#[test]
fn mounts_exist_and_ports_are_published_on_loopback_only() {
    let scene = scene();
    let services = scene["services"].as_object().unwrap();
    let named = scene["volumes"].as_object().unwrap();
    assert_eq!(services.len(), 6);
    for (name, service) in services {
        for volume in list(service, "volumes") {
            let from = volume.split(':').next().unwrap();
            let there = project("examples").join(from).exists();
            assert!(there || named.contains_key(from), "{name} mounts {volume}");
        }
        for port in list(service, "ports") {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
        if let Some(image) = service["image"].as_str() {
            let tag = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag")).1;
            assert!(
                tag.contains(|c: char| c.is_ascii_digit()),
                "{image} is not pinned to a version"
            );
        }
    }
    assert_eq!(services["glassbox"]["build"]["context"], "..");
    assert!(project("Dockerfile").exists());
}

/// The flags of a command, without their values.
fn flags(service: &Value) -> Vec<String> {
    let words = list(service, "command")
        .into_iter()
        .filter(|word| word.starts_with("--"));
    words.map(|word| word.split('=').next().unwrap().to_owned()).collect()
}

#[test]
fn each_program_supports_its_flags() {
    let scene = scene();
    for (service, program) in [
        ("glassbox", env!("CARGO_BIN_EXE_glassbox_exporter")),
        ("prometheus", "prometheus"),
        ("alertmanager", "prometheus-alertmanager"),
    ] {
        let help = Command::new(program).arg("--help").output();
        let help = help.unwrap_or_else(|error| panic!("{program}: {error}; `make deps` installs it"));
        let help = String::from_utf8_lossy(&help.stdout).into_owned() + &String::from_utf8_lossy(&help.stderr);
        let given = flags(&scene["services"][service]);
        assert!(!given.is_empty(), "{service}");
        for flag in given {
            assert!(help.contains(&flag), "{program} has no {flag}");
        }
    }
    let health = list(&scene["services"]["glassbox"]["healthcheck"], "test");
    assert_eq!(health[..3], ["CMD", "/bin/glassbox_exporter", "healthcheck"]);
    assert_eq!(health[3], "--url=http://127.0.0.1:9115/-/healthy");
    let help = Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"))
        .args(["healthcheck", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.contains("--url") && help.contains(health[3].trim_start_matches("--url=")),
        "{help}"
    );
}

/// The path in the project that a service mounts at a path of its container.
fn mounted(service: &Value, path: &str) -> Option<PathBuf> {
    list(service, "volumes").into_iter().find_map(|volume| {
        let mut parts = volume.split(':');
        let (from, to) = (parts.next()?, parts.next()?);
        let inner = Path::new(path).strip_prefix(to).ok()?;
        let place = project("examples").join(from);
        // A mounted file has no paths below it.
        Some(if inner == Path::new("") {
            place
        } else {
            place.join(inner)
        })
    })
}

#[test]
fn each_path_in_a_container_is_mounted() {
    let scene = scene();
    let services = &scene["services"];
    let mut checked = 0;
    let mut check = |service: &str, path: &str| {
        let file = mounted(&services[service], path);
        assert!(
            file.as_ref().is_some_and(|file| file.exists()),
            "{service}: {path} is {file:?}"
        );
        checked += 1;
    };
    for service in ["glassbox", "prometheus", "alertmanager"] {
        let words = list(&services[service], "command");
        let config = words.iter().find_map(|word| word.strip_prefix("--config.file="));
        check(service, config.unwrap());
    }
    for service in ["edge", "origin"] {
        let words = list(&services[service], "command");
        let place = words.iter().position(|word| *word == "-c").unwrap();
        check(service, words[place + 1]);
    }
    let yaml = |name: &str| -> Value {
        let text = std::fs::read_to_string(project("examples/compose").join(name)).unwrap();
        serde_yaml::from_str(&text).unwrap()
    };
    for rules in yaml("prometheus.yml")["rule_files"].as_array().unwrap() {
        check("prometheus", &format!("/etc/prometheus/{}", rules.as_str().unwrap()));
    }
    let provider = &yaml("grafana/provisioning/dashboards/glassbox.yml")["providers"][0];
    check("grafana", provider["options"]["path"].as_str().unwrap());
    for kind in ["datasources/prometheus.yml", "dashboards/glassbox.yml"] {
        check("grafana", &format!("/etc/grafana/provisioning/{kind}"));
    }
    assert_eq!(checked, 12);
}

#[test]
fn the_services_use_matching_ports() {
    let text = |name: &str| std::fs::read_to_string(project("examples/compose").join(name)).unwrap();
    let listens = |name: &str| {
        let text = text(name);
        let line = text.lines().find_map(|line| line.trim().strip_prefix("listen "));
        line.unwrap().trim_end_matches(';').to_owned()
    };
    let (edge, origin) = (listens("edge.conf"), listens("origin.conf"));
    assert!(text("edge.conf").contains(&format!("proxy_pass http://127.0.0.1:{origin};")));
    assert!(text("glassbox.yml").contains(&format!("address: origin:{origin}")));
    assert!(text("prometheus.yml").contains(&format!("http://edge:{edge}/")));
    let scene = scene();
    let published = list(&scene["services"]["edge"], "ports");
    assert_eq!(published, [format!("127.0.0.1:{edge}:{edge}")]);
    assert!(text("prometheus.yml").contains("glassbox:9115") && text("prometheus.yml").contains("alertmanager:9093"));
    assert!(text("grafana/provisioning/datasources/prometheus.yml").contains("http://prometheus:9090"));
}

#[test]
fn each_configuration_is_valid() {
    let file = |name: &str| project("examples/compose").join(name);
    let config = Config::load(&file("glassbox.yml"), Defaults::default()).unwrap();
    assert!(config.module("chain").is_some_and(|module| module.interval.is_some()));
    for name in ["edge.conf", "origin.conf"] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        // The host name `origin` exists only in the Compose network.
        let text = std::fs::read_to_string(file(name))
            .unwrap()
            .replace("origin:8081", "127.0.0.1:8081");
        let written = folder.path().join(name);
        std::fs::write(&written, text).unwrap();
        let mut nginx = Command::new("/usr/sbin/nginx");
        let tried = nginx
            .arg("-t")
            .arg("-e")
            .arg(&log)
            .arg("-c")
            .arg(&written)
            .output()
            .unwrap();
        assert!(
            tried.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&tried.stderr)
        );
    }
    // Debian's promtool is older than the Prometheus of the example. This is the only key that it does not support.
    let prometheus = std::fs::read_to_string(file("prometheus.yml")).unwrap();
    let known: Vec<_> = prometheus
        .lines()
        .filter(|line| !line.contains("always_scrape_classic"))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prometheus.yml"), known.join("\n")).unwrap();
    std::os::unix::fs::symlink(project("examples/rules"), folder.path().join("rules")).unwrap();
    let checked = Command::new("promtool")
        .args(["check", "config"])
        .arg(folder.path().join("prometheus.yml"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    for name in ["datasources/prometheus.yml", "dashboards/glassbox.yml"] {
        let text = std::fs::read_to_string(file("grafana/provisioning").join(name)).unwrap();
        let provisioned: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(provisioned["apiVersion"], 1, "{name}");
    }
}
