//! Writes the manual page for `--help-man` (man(7)).

use clap::{Arg, Command};
use std::fmt::Write as _;

/// What the options do not describe.
const END: &str = ".SH \"ENVIRONMENT\"
.TP
\\fBCOLUMNS\\fR
Width of the output of \\fBcheck\\fR and of the help. The default is the width of the terminal.
.TP
\\fBLC_ALL\\fR, \\fBLC_CTYPE\\fR, \\fBLANG\\fR
Without UTF\\-8 in the locale, \\fBcheck\\fR prints only ASCII.
.TP
\\fBNO_COLOR\\fR, \\fBCLICOLOR\\fR, \\fBCLICOLOR_FORCE\\fR
Colours of \\fBcheck\\fR. The default is colours on terminals only.
.SH \"EXIT STATUS\"
.TP
\\fB0\\fR
The command succeeded.
.TP
\\fB1\\fR
The configuration is invalid, a probe of \\fBcheck\\fR failed, or the exporter is not healthy.
.TP
\\fB2\\fR
An argument is invalid.
.SH \"SIGNALS\"
.TP
\\fBSIGHUP\\fR
Reloads the configuration file.
.TP
\\fBSIGTERM\\fR, \\fBSIGINT\\fR
Ends the exporter when the running probes have ended, or after \\fB\\-\\-web.shutdown\\-timeout\\fR.
";

/// Returns the manual page of a command.
pub(super) fn page(command: &Command) -> String {
    let name = command.get_name();
    let mut page = format!(
        ".TH {name} 1 \"\" \"{name} {}\"\n.SH \"NAME\"\n{name} \\- {}\n.SH \"SYNOPSIS\"\n\\fB{name}\\fR [<flags>] [<command>]\n\
         .SH \"DESCRIPTION\"\n{}\n.SH \"OPTIONS\"\n",
        env!("CARGO_PKG_VERSION"),
        "probes targets stage by stage for Prometheus",
        escaped(&command.get_about().map(ToString::to_string).unwrap_or_default()),
    );
    arguments(&mut page, command);
    page.push_str(".SH \"COMMANDS\"\n");
    subcommands(&mut page, command, "");
    page.push_str(END);
    page
}

/// The visible arguments of a command.
fn arguments(page: &mut String, command: &Command) {
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        put(page, &title(argument), argument.get_help().map(ToString::to_string));
    }
}

/// All subcommands with their own arguments. `above` is the name of the command, with a space.
fn subcommands(page: &mut String, command: &Command, above: &str) {
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        let name = format!("{above}{}", inner.get_name());
        let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(page, ".SS \"{name}\"\n{}", escaped(&about)).expect("writing to a String cannot fail");
        let is_own = |argument: &&Arg| !argument.is_global_set() && argument.get_id() != "help";
        for argument in inner.get_arguments().filter(is_own) {
            put(page, &title(argument), argument.get_help().map(ToString::to_string));
        }
        subcommands(page, inner, &format!("{name} "));
    }
}

fn put(page: &mut String, title: &str, words: Option<String>) {
    let words = escaped(&words.unwrap_or_default());
    writeln!(page, ".TP\n\\fB{}\\fR\n{words}", escaped(title)).expect("writing to a String cannot fail");
}

/// Formats the argument with its default value.
fn title(argument: &Arg) -> String {
    let short = argument
        .get_short()
        .map_or_else(String::new, |short| format!("-{short}, "));
    let named = argument
        .get_value_names()
        .and_then(<[_]>::first)
        .map_or("VALUE", |name| name.as_str());
    let Some(long) = argument.get_long() else {
        return format!("<{named}>");
    };
    let value = match (argument.get_action().takes_values(), argument.get_default_values()) {
        (false, _) => String::new(),
        (true, [default, ..]) => format!("={}", default.to_string_lossy()),
        (true, []) => format!("=<{named}>"),
    };
    format!("{short}--{long}{value}")
}

/// Escapes text. A line that starts with a period or an apostrophe would be a roff request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-").replace('…', "...");
    let lines = text.lines().map(|line| {
        if line.starts_with(['.', '\'']) {
            format!("\\&{line}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
