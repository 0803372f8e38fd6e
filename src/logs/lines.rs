//! Log lines with `blackbox_exporter`'s keys (Go's `log/slog`): `time`, `level`, `source`, `msg`, then the fields,
//! without duplicate keys. Programs that parse `blackbox_exporter`'s logs can also parse these lines.

use super::LogFormat;
use super::writer::LogWriter;
use glassbox_verdict::utc::rfc3339;
use serde_json::Value;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Keys of every line, in this order.
const FIRST_KEYS: [&str; 4] = ["time", "level", "source", "msg"];

/// Tracing layer that writes each event to stderr as one line.
#[derive(Debug)]
pub struct LogLines {
    format: LogFormat,
    writer: LogWriter,
}

impl<S: Subscriber> Layer<S> for LogLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.writer.write(line(self.format, event, SystemTime::now()));
    }
}

impl LogLines {
    /// Creates the layer. A separate thread writes the lines.
    #[must_use]
    pub fn new(format: LogFormat) -> Self {
        Self {
            format,
            writer: LogWriter::to_stderr(),
        }
    }
}

fn line(format: LogFormat, event: &Event<'_>, at: SystemTime) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let first = [
        rfc3339(at),
        level(event.metadata()),
        source(event.metadata()),
        fields.message,
    ];
    let first = FIRST_KEYS.into_iter().map(str::to_owned).zip(first.map(Value::String));
    let all = first.chain(fields.others);
    match format {
        LogFormat::Logfmt => logfmt(all),
        LogFormat::Json => json(all),
    }
}

fn level(event: &Metadata<'_>) -> String {
    event.level().as_str().to_owned()
}

/// Source file without its directories, and the line of the log statement.
fn source(event: &Metadata<'_>) -> String {
    let file = event.file().map(Path::new).and_then(Path::file_name);
    let file = file.map_or_else(|| event.target().into(), |name| name.to_string_lossy());
    format!("{file}:{}", event.line().unwrap_or_default())
}

fn logfmt(fields: impl Iterator<Item = (String, Value)>) -> String {
    let mut line = String::new();
    for (key, value) in fields {
        let text = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let space = if line.is_empty() { "" } else { " " };
        let text = if needs_quotes(&text) { quoted(&text) } else { text };
        write!(line, "{space}{key}={text}").expect("writing to a String cannot fail");
    }
    line + "\n"
}

/// Formats a line as one flat object. `serde_json` may sort the keys of a map, so each pair is written separately in
/// the order of the fields.
fn json(fields: impl Iterator<Item = (String, Value)>) -> String {
    let pairs: Vec<_> = fields
        .map(|(key, value)| format!("{}:{value}", Value::String(key)))
        .collect();
    format!("{{{}}}\n", pairs.join(","))
}

/// Whether a value needs quotes in a logfmt line. As in slog, a backslash and DEL do not need quotes, and U+FFFD does.
fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || text.chars().any(|c| match c {
            '\\' | '\u{7f}' => false,
            ' ' | '"' | '=' | '\u{fffd}' => true,
            c => !is_printable(c),
        })
}

fn is_printable(c: char) -> bool {
    matches!(c, '\'' | '"' | '\\') || c.escape_debug().len() == 1
}

/// Quotes a string with Go's escapes.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if is_printable(c) => out.push(c),
            c => match u32::from(c) {
                code @ ..0x80 => write!(out, "\\x{code:02x}"),
                code @ 0x80..=0xffff => write!(out, "\\u{code:04x}"),
                code => write!(out, "\\U{code:08x}"),
            }
            .expect("writing to a String cannot fail"),
        }
    }
    out.push('"');
    out
}

/// The message and the other fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let key = match field.name() {
            "message" => {
                self.message = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                return;
            }
            "error" => "err".to_owned(),
            // A library may use one of these names for a field.
            name if FIRST_KEYS.contains(&name) => format!("{name}_"),
            name => name.to_owned(),
        };
        if self.others.iter().all(|(known, _)| *known != key) {
            self.others.push((key, value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::{LogFormat, logfmt, quoted};
    use serde_json::Value;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, UNIX_EPOCH};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    /// Layer that stores the lines instead of writing them.
    struct Kept(LogFormat, Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let at = UNIX_EPOCH + Duration::from_millis(1_500);
            self.1.lock().unwrap().push(super::line(self.0, event, at));
        }
    }

    fn line(format: LogFormat, write: impl FnOnce()) -> String {
        let kept = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Kept(format, Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, write);
        let lines = kept.lock().unwrap();
        lines.concat()
    }

    fn write() {
        let target = "http://a/?b=1";
        tracing::error!(target: "prober", module = "m", %target, error = "it \"fails\"\n", level = 3, seconds = 0.5, ok = true, "Probe failed");
    }

    #[test]
    fn a_line_has_the_keys_of_slog_each_once() {
        let logfmt = line(LogFormat::Logfmt, write);
        let (first, rest) = logfmt.split_once(" source=lines.rs:").unwrap();
        assert_eq!(first, "time=1970-01-01T00:00:01.500Z level=ERROR");
        let rest = rest.split_once(' ').unwrap().1;
        let fields = r#"module=m target="http://a/?b=1" err="it \"fails\"\n" level_=3 seconds=0.5 ok=true"#;
        assert_eq!(rest, format!("msg=\"Probe failed\" {fields}\n"));
    }

    #[test]
    fn json_is_flat_and_keeps_numbers() {
        let json = line(LogFormat::Json, write);
        assert!(json.starts_with("{\"time\":\"1970") && json.ends_with("}\n"), "{json}");
        let record: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(record["msg"], "Probe failed");
        assert_eq!(record["target"], "http://a/?b=1");
        assert_eq!(record["err"], "it \"fails\"\n");
        assert_eq!(record["seconds"], 0.5);
        assert!(record.as_object().unwrap().values().all(|value| !value.is_object()));
    }

    #[test]
    fn what_would_end_a_value_or_a_line_is_quoted_as_go_does() {
        let pair = |value: &str| logfmt([("k".to_owned(), value.into())].into_iter());
        assert_eq!(pair("plain/ü:1"), "k=plain/ü:1\n");
        assert_eq!(pair(""), "k=\"\"\n");
        assert_eq!(pair("a b"), "k=\"a b\"\n");
        assert_eq!(pair("it's"), "k=it's\n");
        assert_eq!(pair("127.0.0.1\\x"), "k=127.0.0.1\\x\n");
        assert_eq!(pair("a\u{7f}"), "k=a\u{7f}\n");
        assert_eq!(pair("\\\u{7}\u{8}\u{b}\u{c}"), "k=\"\\\\\\a\\b\\v\\f\"\n");
        assert_eq!(quoted("\u{1b}[31m\u{85}\u{202e}\\"), "\"\\x1b[31m\\u0085\\u202e\\\\\"");
    }
}
