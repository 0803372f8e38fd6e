//! Preprocesses the command line. It converts the syntax of `blackbox_exporter`'s flag library (kingpin) to that of
//! clap.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Read as _;

/// Maximum number of argument files. The limit stops files that refer to each other.
const MOST_FILES: usize = 16;

/// Maximum size of an argument file in bytes.
const LARGEST: u64 = 1 << 20;

/// Subcommands. `@file` is not expanded after them, because `@name` is an abstract socket there.
const SUBCOMMANDS: [&str; 3] = ["check", "config", "healthcheck"];

/// Alternative spellings that kingpin accepts, and the flags they stand for.
const SPELLINGS: [(&str, &str); 3] = [
    ("--help-long", "--help"),
    ("--no-help", "--help"),
    ("--no-version", "--version"),
];

/// Returns the arguments with each `@file` replaced by the lines of the file. Skips empty lines and lines that start
/// with `#`. `written` does not include the program name.
///
/// # Errors
/// When a file cannot be read, or there are too many files.
pub(super) fn expanded(written: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, String> {
    let (mut waiting, mut done, mut files) = (written.collect::<VecDeque<_>>(), Vec::new(), 0);
    while let Some(argument) = waiting.pop_front() {
        let text = argument.to_str().unwrap_or_default();
        if text == "--" || SUBCOMMANDS.contains(&text) {
            done.push(argument);
            done.extend(waiting);
            break;
        }
        if let Some(path) = text.strip_prefix('@') {
            files += 1;
            if files > MOST_FILES {
                return Err(format!("too many argument files: expected up to {MOST_FILES}"));
            }
            for line in lines(path)?.into_iter().rev() {
                waiting.push_front(line);
            }
            continue;
        }
        let other = SPELLINGS.iter().find(|(spelling, _)| *spelling == text);
        done.push(other.map_or(argument, |(_, usual)| usual.into()));
    }
    Ok(done)
}

fn lines(path: &str) -> Result<Vec<OsString>, String> {
    if path.is_empty() {
        return Err("invalid argument \"@\": expected a file name after it".to_owned());
    }
    let unusable = |error: std::io::Error| format!("failed to open arguments file {path:?}: {error}");
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unusable)?;
    file.take(LARGEST).read_to_string(&mut text).map_err(unusable)?;
    let counts = |line: &&str| !line.is_empty() && !line.starts_with('#');
    Ok(text.lines().filter(counts).map(OsString::from).collect())
}

#[cfg(test)]
mod tests {
    use super::expanded;
    use std::ffi::OsString;

    fn of(written: &[&str]) -> Result<Vec<String>, String> {
        let expanded = expanded(written.iter().map(OsString::from))?;
        Ok(expanded
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect())
    }

    #[test]
    fn files_stand_for_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("a"), "# flags\n--one=1\r\n\n--two\n").unwrap();
        std::fs::write(path("nested"), format!("@{}\n--three", path("a"))).unwrap();
        std::fs::write(path("endless"), format!("@{}", path("endless"))).unwrap();
        let at = |name: &str| format!("@{}", path(name));
        assert_eq!(of(&["-x", &at("a"), "y"]).unwrap(), ["-x", "--one=1", "--two", "y"]);
        assert_eq!(of(&[&at("nested")]).unwrap(), ["--one=1", "--two", "--three"]);
        // A flag's value may be read from a file. A value after `=` is taken literally.
        assert_eq!(of(&["--flag", &at("a")]).unwrap(), ["--flag", "--one=1", "--two"]);
        assert_eq!(of(&["--flag=@a"]).unwrap(), ["--flag=@a"]);
        for wrong in [at("endless"), at("none"), "@".to_owned()] {
            assert!(of(&[&wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_subcommand_is_given_stays() {
        assert_eq!(of(&["--a", "check", "@socket"]).unwrap(), ["--a", "check", "@socket"]);
        assert_eq!(of(&["--", "@file"]).unwrap(), ["--", "@file"]);
    }

    #[test]
    fn other_spellings_are_the_usual_ones() {
        assert_eq!(of(&["--help-long"]).unwrap(), ["--help"]);
        assert_eq!(
            of(&["--no-version", "check", "--no-help"]).unwrap(),
            ["--version", "check", "--no-help"]
        );
    }
}
