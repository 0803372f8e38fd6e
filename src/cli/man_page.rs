//! Writes the manual page for `--help-man` (man(7)).

use clap::{Arg, Command};
use std::fmt::Write as _;

/// Returns the manual page of a command.
pub(super) fn page(command: &Command) -> String {
    let name = command.get_name();
    let mut page = format!(
        ".TH {name} 1 \"{name} {}\"\n.SH \"NAME\"\n{name}\n.SH \"SYNOPSIS\"\n.TP\n\\fB{name} [<flags>] [<command>]\\fR\n\
         .SH \"DESCRIPTION\"\n{}\n.SH \"OPTIONS\"\n",
        env!("CARGO_PKG_VERSION"),
        escaped(&command.get_about().map(ToString::to_string).unwrap_or_default()),
    );
    for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
        put(&mut page, &title(flag), flag.get_help().map(ToString::to_string));
    }
    page.push_str(".SH \"COMMANDS\"\n");
    for inner in command.get_subcommands() {
        put(&mut page, inner.get_name(), inner.get_about().map(ToString::to_string));
    }
    page
}

fn put(page: &mut String, title: &str, words: Option<String>) {
    let words = escaped(&words.unwrap_or_default());
    writeln!(page, ".TP\n\\fB{}\\fR\n{words}", escaped(title)).expect("writing to a String cannot fail");
}

/// Formats the flag with its default value.
fn title(flag: &Arg) -> String {
    let short = flag.get_short().map_or_else(String::new, |short| format!("-{short}, "));
    let long = flag.get_long().unwrap_or_else(|| flag.get_id().as_str());
    let value = match (
        flag.get_action().takes_values(),
        flag.get_default_values(),
        flag.get_value_names(),
    ) {
        (false, ..) => String::new(),
        (true, [default, ..], _) => format!("={}", default.to_string_lossy()),
        (true, [], Some([name, ..])) => format!("=<{name}>"),
        (true, [], _) => "=<VALUE>".to_owned(),
    };
    format!("{short}--{long}{value}")
}

/// Escapes text. A line that starts with a period or an apostrophe would be a roff request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-");
    let lines = text.lines().map(|line| {
        if line.starts_with(['.', '\'']) {
            format!("\\&{line}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
