//! Runs the commands of the README as written, with the built program, in a network namespace with only loopback.

use crate::support::process::project;
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_glassbox_exporter");

/// The `run` target of the Makefile. The test runs the program that Cargo has already built.
const RUN: &str = "\nrun:\n\tcargo run --release --locked -- $(ARGS)\n";

/// A command of the README and its documented output.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    command: String,
    output: String,
}

/// The commands of a document: indented lines, lines with `$ ` in code fences with the output below them, and inline
/// code that starts with the program's name.
fn commands(document: &str) -> Vec<Written> {
    let mut found: Vec<Written> = Vec::new();
    let (mut text, mut allowlist) = (String::new(), None);
    for line in document.lines() {
        match (line.strip_prefix("```"), allowlist) {
            (Some(language), None) => allowlist = Some(language),
            (Some(_), Some(_)) => allowlist = None,
            // A fence with a language contains a configuration or a query.
            (None, Some("")) => match (line.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => found.push(written(command)),
                (None, Some(last)) => last.output.extend([line, "\n"]),
                (None, None) => {}
            },
            (None, Some(_)) => {}
            (None, None) => match line.strip_prefix("    ") {
                Some(command) => found.push(written(command)),
                None => text.extend([line, "\n"]),
            },
        }
    }
    let inline = text.split('`').skip(1).step_by(2);
    let inline = inline.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "));
    found.extend(
        inline
            .filter(|code| code.starts_with("glassbox_exporter "))
            .map(|code| written(&code)),
    );
    found
}

fn written(line: &str) -> Written {
    let command = line.split_once("  #").map_or(line, |(command, _)| command);
    Written {
        command: command.trim().to_owned(),
        output: String::new(),
    }
}

/// Runs commands in sequence while the program runs as started by `make run`.
fn run_all(commands: &[String]) -> Vec<Output> {
    const SCRIPT: &str = r#"
        ip link set lo up || exit 9
        export PATH="$1:$PATH" && shift
        glassbox_exporter 2>log &
        until glassbox_exporter healthcheck 2>unhealthy; do kill -0 $! || { cat log >&2; exit 8; }; done
        number=0
        for command; do
            number=$((number + 1))
            sh -c "$command" >"$number.out" 2>"$number.err"
            echo $? >"$number.code"
        done
        kill $!"#;
    let folder = tempfile::tempdir().unwrap();
    let place = std::path::Path::new(PROGRAM).parent().unwrap();
    let ran = Command::new("unshare")
        .args(["--net", "sh", "-c", SCRIPT, "sh"])
        .arg(place)
        .args(commands)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let read = |number: usize, what: &str| std::fs::read(folder.path().join(format!("{number}.{what}"))).unwrap();
    let output = |number| Output {
        status: std::os::unix::process::ExitStatusExt::from_raw(
            String::from_utf8(read(number, "code"))
                .unwrap()
                .trim()
                .parse::<i32>()
                .unwrap()
                << 8,
        ),
        stdout: read(number, "out"),
        stderr: read(number, "err"),
    };
    (1..=commands.len()).map(output).collect()
}

/// A text without the parts that differ between runs: numbers, bars and line breaks.
fn shape(text: &str) -> String {
    let figures = |c: char| c.is_ascii_digit() || matches!(c, '█' | '.' | ',');
    let words = text.split_whitespace().map(|word| word.replace(figures, ""));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_commands_of_the_readme_work_as_written() {
    let readme = std::fs::read_to_string(project("README.md")).unwrap();
    let all = commands(&readme);
    let (made, run): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|written| written.command.starts_with("make "));
    assert!(made.iter().any(|written| written.command == "make run"), "{made:?}");
    assert!(std::fs::read_to_string(project("Makefile")).unwrap().contains(RUN));
    for Written { command, .. } in &made {
        // `-n`, because otherwise this test would run itself.
        let plan = Command::new("make")
            .arg("-n")
            .args(command.split(' ').skip(1))
            .current_dir(project(""))
            .output();
        let plan = plan.unwrap();
        assert!(plan.status.success(), "{command}: {plan:?}");
    }
    let first = &run[0].command;
    assert!(first.starts_with("curl "), "{first}");
    let file = project("examples/glassbox.yml");
    let placeholders = [
        ("FILE", file.to_str().unwrap()),
        ("URL", "http://127.0.0.1:9115/-/healthy"),
    ];
    let filled = |written: &Written| {
        let value_of = |word: &str| {
            let known = placeholders.iter().find(|(name, _)| *name == word);
            known.map_or(word, |(_, value)| value).to_owned()
        };
        written.command.split(' ').map(value_of).collect::<Vec<_>>().join(" ")
    };
    let ran = run_all(&run.iter().map(filled).collect::<Vec<_>>());
    for (written, ran) in run.iter().zip(&ran) {
        let told = String::from_utf8_lossy(&ran.stdout);
        let fails = written.output.contains("FAILED");
        assert_eq!(ran.status.code(), Some(i32::from(fails)), "{written:?} {ran:?}");
        assert!(
            !told.is_empty() || written.command.contains("healthcheck"),
            "{written:?}"
        );
        // Selected metrics are identical in each run. A waterfall is compared by shape only.
        if written.command.starts_with("curl ") {
            assert_eq!(told, written.output, "{}", written.command);
        } else if !written.output.is_empty() {
            assert_eq!(shape(&told), shape(&written.output), "{}", written.command);
        }
    }
    assert!(
        run.iter().filter(|written| !written.output.is_empty()).count() >= 2,
        "the README must show the output of a scrape and of a check: {run:?}"
    );
}

#[test]
fn the_readme_is_short() {
    let readme = std::fs::read_to_string(project("README.md")).unwrap();
    let words = readme.split_whitespace().count();
    assert!(words <= 1500, "{words} words");
    assert_eq!(readme.matches("![").count(), 1, "one picture");
}

#[test]
fn commands_are_extracted_from_the_readme() {
    let document = "Text with `glassbox_exporter config\ncheck FILE` and `other`.\n\n    make run   # builds\n\n```yaml\n    a: 1\n```\n\n\
                    ```\n$ glassbox_exporter check x\nFAILED 1\n```\n";
    let command = |command: &str, output: &str| Written {
        command: command.to_owned(),
        output: output.to_owned(),
    };
    assert_eq!(
        commands(document),
        [
            command("make run", ""),
            command("glassbox_exporter check x", "FAILED 1\n"),
            command("glassbox_exporter config check FILE", ""),
        ]
    );
}
