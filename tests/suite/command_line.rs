//! The subcommands as a person or a script uses them: width and character set, errors of a file, health over TLS.

use crate::serving::Running;
use crate::support::pki::Authority;
use crate::web::htpasswd;
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_glassbox_exporter");

/// Runs the program in an empty folder with these variables.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder.path());
    for name in ["COLUMNS", "LC_ALL", "LC_CTYPE", "LANG"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_output_of_check_fits_the_terminal() {
    for columns in [60, 80, 120] {
        let columns_text = columns.to_string();
        let variables = [("COLUMNS", columns_text.as_str()), ("LC_ALL", "C.UTF-8")];
        let shown = text(run(&["check", "http://127.0.0.1:1/"], &variables));
        assert!(shown.contains('█'), "{shown}");
        for line in shown.lines() {
            assert!(line.trim_end().chars().count() <= columns, "{columns}: {line}");
        }
        let unwrapped = shown.replace("\n  ", " ");
        assert!(unwrapped.contains("Call the operator of the edge"), "{shown}");
        assert!(unwrapped.contains("| tcp.refused"), "{shown}");
    }
    // Without a width, the lines of a pipe stay whole.
    let shown = text(run(&["check", "http://127.0.0.1:1/"], &[]));
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("FAILED") && line.ends_with("team).")),
        "{shown}"
    );
}

#[test]
fn a_locale_without_utf_8_gets_ascii() {
    for variables in [
        &[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")][..],
        &[("LANG", "POSIX")],
        &[],
    ] {
        let shown = text(run(&["check", "http://127.0.0.1:1/"], variables));
        assert!(shown.is_ascii() && shown.contains('#'), "{variables:?}: {shown}");
    }
    for variables in [
        &[("LC_ALL", "en_US.UTF-8"), ("LANG", "C")][..],
        &[("LC_CTYPE", "C.utf8")],
    ] {
        let shown = text(run(&["check", "http://127.0.0.1:1/"], variables));
        assert!(shown.contains('█'), "{variables:?}: {shown}");
    }
}

#[test]
fn help_version_and_completions_are_commands() {
    assert_eq!(text(run(&["version"], &[])), text(run(&["--version"], &[])));
    assert!(text(run(&["help"], &[])).contains("--config.file"));
    let help = text(run(&["help", "config", "check"], &[("COLUMNS", "60")]));
    assert!(help.contains("Usage: glassbox_exporter config check"), "{help}");
    assert!(help.lines().all(|line| line.len() <= 60), "{help}");
    for (shell, expected) in [
        ("bash", "complete -F _glassbox_exporter"),
        ("zsh", "#compdef glassbox_exporter"),
        ("fish", "complete -c glassbox_exporter"),
    ] {
        let script = text(run(&["completions", shell], &[]));
        assert!(
            script.contains(expected) && script.contains("healthcheck"),
            "{shell}: {script}"
        );
    }
    let script = text(run(&["completions", "bash"], &[]));
    assert!(
        Command::new("bash")
            .args(["-n", "-c", &script])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn the_manual_page_has_each_command_and_no_warnings() {
    let page = text(run(&["--help-man"], &[]));
    for named in [".SS \"config check\"", "ca\\-file", "COLUMNS", "EXIT STATUS"] {
        assert!(page.contains(named), "{named}: {page}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), page).unwrap();
    let mut groff = Command::new("groff");
    let output = groff
        .args(["-man", "-Tutf8", "-ww", "-z"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

const BROKEN: &str = "modules:
  a:
    prober: http
    http:
      tls_config: {ca_file: /nonexistent/ca.pem}
      bearer_token_file: /nonexistent/token
    tcp: {tls_config: {ca_file: /nonexistent/unused.pem}}
  b:
    prober: http
    http:
      basic_auth: {username: u, password: \"${PASSWORD}\"}
      body: \"${name}\"
      fail_if_body_matches_regexp: ['${A}$']
";

#[test]
fn config_check_reports_missing_files_and_variables() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), BROKEN).unwrap();
    let path = file.path().to_str().unwrap();
    let output = run(&["config", "check", path], &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(output);
    let issues: Vec<_> = shown.lines().filter(|line| !line.contains("allowed_targets")).collect();
    let expected = [
        format!("{path}:5:29: modules.a.http.tls_config.ca_file: cannot read file \"/nonexistent/ca.pem\""),
        format!("{path}:6:26: modules.a.http.bearer_token_file: cannot read file \"/nonexistent/token\""),
        format!("{path}:2:3: modules.a.tcp: this block has no effect"),
        format!("{path}:11:43: modules.b.http.basic_auth.password: ${{…}} is used literally"),
        format!("{path}: 2 errors"),
    ];
    assert_eq!(issues.len(), expected.len(), "{shown}");
    for (issue, expected) in issues.iter().zip(&expected) {
        assert!(issue.starts_with(expected.as_str()), "{issue}, expected {expected}");
    }
}

/// Editors recognise one form of a location.
#[test]
fn each_command_reports_an_invalid_file_in_the_same_form() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "modules:\n  a: {prober: http, http: {methd: GET}}\n").unwrap();
    let path = file.path().to_str().unwrap();
    let flag = format!("--config.file={path}");
    let expected = format!("{path}:2:28: modules.a.http.methd: unknown key; did you mean method? [error]\n");
    let checked = text(run(&["config", "check", path], &[]));
    assert!(checked.starts_with(&expected), "{checked}");
    for arguments in [
        &["check", &flag, "http://127.0.0.1:1/"][..],
        &["config", "explain", path],
    ] {
        let output = run(arguments, &[]);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected, "{arguments:?}");
    }
}

#[tokio::test]
async fn healthcheck_verifies_the_certificate() {
    let authority = Authority::new();
    let (certificate, key) = authority.files("exporter.test");
    let folder = tempfile::tempdir().unwrap();
    let tls = format!(
        "tls_server_config: {{cert_file: {}, key_file: {}}}\n",
        certificate.display(),
        key.display()
    );
    let web = format!("{tls}basic_auth_users: {{alice: '{}'}}\n", htpasswd("right"));
    std::fs::write(folder.path().join("glassbox.yml"), "modules: {}\n").unwrap();
    std::fs::write(folder.path().join("web.yml"), web).unwrap();
    let passwords = tempfile::tempdir().unwrap();
    let password_file = |password: &str| {
        let file = passwords.path().join(password);
        std::fs::write(&file, format!("{password}\n")).unwrap();
        format!("--password-file={}", file.display())
    };
    let (right, wrong) = (password_file("right"), password_file("wrong"));
    let flags = ["--config.file=glassbox.yml", "--web.config.file=web.yml"];
    let running = Running::start_in(folder, &flags).await;
    let url = running.url("/-/healthy").replace("http://", "https://");
    let ca_file = format!("--ca-file={}", authority.ca_file.display());
    let health = |more: &[&str]| {
        let output = run(&[&["healthcheck", "--url", &url][..], more].concat(), &[]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let named = "--server-name=exporter.test";
    let good = health(&[&ca_file, named, "--username=alice", &right]);
    assert_eq!(good, (Some(0), String::new()));
    for (more, expected) in [
        (&[named][..], "UnknownIssuer"),
        (&[&ca_file], "not valid for name"),
        (&[&ca_file, named], "returned 401"),
        (&[&ca_file, named, "--username=alice", &wrong], "returned 401"),
        (
            &["--ca-file=/nonexistent.pem"],
            "--ca-file: cannot read /nonexistent.pem",
        ),
    ] {
        let (code, words) = health(more);
        assert_eq!(code, Some(1), "{words}");
        assert!(words.starts_with("error: ") && words.contains(expected), "{words}");
    }
}
