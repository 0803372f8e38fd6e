//! The command line as `blackbox_exporter`'s library (kingpin) reads it, brought into the form that ours reads.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Read as _;

/// Files that name each other would never end.
const MOST_FILES: usize = 16;

/// Bytes of a file of arguments.
const LARGEST: u64 = 1 << 20;

/// From here on, arguments are those of a subcommand, where `@name` is an abstract socket.
const SUBCOMMANDS: [&str; 3] = ["check", "config", "healthcheck"];

/// Flags that the library takes in other forms as well.
const SPELLINGS: [(&str, &str); 3] = [
    ("--help-long", "--help"),
    ("--no-help", "--help"),
    ("--no-version", "--version"),
];

/// The arguments, without the program's name: `@file` stands for the lines of a file, but for those that begin with `#`.
///
/// # Errors
/// With what there is to say of a file that cannot be read, or that there are too many.
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
                return Err(format!("too many files of arguments: expected up to {MOST_FILES}"));
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
        return Err("invalid argument \"@\": expected the name of a file after it".to_owned());
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
        // The value of a flag may come from a file; what is written after `=` is a value as it stands.
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
