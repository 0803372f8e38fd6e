//! The steps of `query_response`: expected data, sent data, and STARTTLS.

mod transcript;

pub(super) use transcript::{ReceivedLines, TranscriptMasks};

use super::ProbeFailed;
use crate::check::{BRIEF, BlockingError, Check, DialogueRead, Tls, WorkClock, WorkLimits, WorkStopped, compute};
use crate::limits::label;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{Dialogue, FailedStep, Mismatch, ProtocolFacts};
use go_regexp::{Captures, Regexp, expand};

/// Maximum length of a line in bytes, the same as in `blackbox_exporter`.
const LONGEST_LINE: usize = 64 * 1024;

/// The data that a step waits for.
#[derive(Debug)]
pub enum Expect {
    /// A line or message that matches this expression.
    Regexp(Regexp),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Expect {
    /// The expectation for display. Secrets are masked, since a module may expect the server to echo what it sends.
    fn shown(&self, masks: &TranscriptMasks) -> String {
        masks.shown(match self {
            Self::Regexp(wanted) => wanted.as_str().as_bytes(),
            Self::Bytes(wanted) => wanted,
        })
    }
}

/// What a step waits for, and what it has received so far.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Whether the expected data has not arrived yet.
    pub expects: bool,
    pub received: ReceivedLines,
}

impl Waiting {
    /// The state at the start of a step.
    pub fn of(step: &Step) -> Self {
        Self {
            expects: step.expect.is_some(),
            received: ReceivedLines::default(),
        }
    }
}

/// One step. Its parts run in the order of the fields.
#[derive(Debug, Default)]
pub struct Step {
    /// Wait for this data.
    pub expect: Option<Expect>,
    /// Export these labels, built from the match: name and template.
    pub labels: Vec<(String, String)>,
    /// Send this text. After a match, `${1}` refers to a group of it. May contain secrets.
    pub send: Vec<u8>,
    /// Start TLS.
    pub starttls: bool,
}

/// All steps.
#[derive(Debug, Default)]
pub struct Script(pub Vec<Step>);

/// A match of the expected data.
pub(super) struct Match {
    text: Vec<u8>,
    captures: Captures,
}

impl Match {
    /// The match, if the expression matches the text.
    pub fn of(wanted: &Regexp, text: &[u8]) -> Option<Self> {
        Some(Self {
            captures: wanted.captures(text)?,
            text: text.to_vec(),
        })
    }

    /// The match, if the search ends before its deadline.
    fn until(wanted: &Regexp, text: &[u8], clock: &WorkClock) -> Result<Option<Self>, WorkStopped> {
        match wanted.is_match_until(text, || clock.is_over()) {
            None => Err(WorkStopped),
            Some(false) => Ok(None),
            Some(true) => Ok(Self::of(wanted, text)),
        }
    }

    fn fill(&self, template: &[u8]) -> Vec<u8> {
        expand(template, &self.text, &self.captures)
    }
}

impl Script {
    /// Whether no step sends or expects anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any step expects data.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.0.iter().any(|step| step.expect.is_some())
    }

    /// Whether any step sends data.
    #[must_use]
    pub fn says(&self) -> bool {
        self.0.iter().any(|step| !step.send.is_empty())
    }

    /// Whether any step starts TLS.
    #[must_use]
    pub fn begins_tls(&self) -> bool {
        self.0.iter().any(|step| step.starttls)
    }

    /// Runs the line-based dialogue on an open connection. The outcome is recorded even if a step fails.
    pub(super) async fn play(&self, check: &mut Check, tls: &Secured<'_>) -> Result<(), ProbeFailed> {
        let (mut dialogue, mut waiting) = (Dialogue::default(), Waiting::default());
        self.add_secrets(check);
        let played = self.play_steps(check, tls, &mut dialogue, &mut waiting).await;
        if played.is_err() {
            dialogue.failed = Some(self.failed_step(dialogue.steps, &waiting, TranscriptMasks::default()));
        }
        check.note(ProtocolFacts::Dialogue(dialogue));
        played.map_err(|stopped| check.failed_by_tls(stopped))
    }

    /// The sent data may contain passwords, and the target may repeat them.
    pub(super) fn add_secrets(&self, check: &mut Check) {
        for step in &self.0 {
            check.secrets_mut().add_dialogue(&step.send);
        }
    }

    /// The failed step after `done` completed steps. Data that any step sends and secrets in `masks` are masked.
    pub(super) fn failed_step(&self, done: usize, waiting: &Waiting, mut masks: TranscriptMasks) -> FailedStep {
        for step in &self.0 {
            masks.add(&step.send);
            // Mask the regex-escaped form too, as it appears in an `expect` pattern.
            masks.add(regex_syntax::escape(&String::from_utf8_lossy(&step.send)).as_bytes());
        }
        let step = self.0.get(done).filter(|_| waiting.expects);
        FailedStep {
            number: done + 1,
            expected: step
                .and_then(|step| step.expect.as_ref())
                .map(|expect| expect.shown(&masks)),
            received: waiting.received.shown(&masks),
        }
    }

    async fn play_steps(
        &self,
        check: &mut Check,
        tls: &Secured<'_>,
        dialogue: &mut Dialogue,
        waiting: &mut Waiting,
    ) -> Result<(), ProbeFailed> {
        for step in &self.0 {
            *waiting = Waiting::of(step);
            let received = &mut waiting.received;
            let heard = match &step.expect {
                None => None,
                Some(Expect::Regexp(wanted)) => Some(hear_line(check, wanted, dialogue, received).await?),
                Some(Expect::Bytes(wanted)) => {
                    hear_bytes(check, wanted, dialogue, received).await?;
                    None
                }
            };
            *waiting = Waiting::default();
            if let Some(heard) = &heard {
                step.label(heard, dialogue);
            }
            let words = step.words(heard.as_ref());
            if !words.is_empty() {
                check.write(&[&words[..], b"\n"].concat()).await?;
            }
            if step.starttls {
                tls.begin(check).await?;
            }
            dialogue.steps += 1;
        }
        Ok(())
    }
}

impl Step {
    /// The data to send. As in `blackbox_exporter`, templates are expanded only after a match.
    pub(super) fn words(&self, heard: Option<&Match>) -> Vec<u8> {
        heard.map_or_else(|| self.send.clone(), |heard| heard.fill(&self.send))
    }

    /// Steps with the same labels share a series. The values are truncated before the comparison, since that may make
    /// them equal.
    fn label(&self, heard: &Match, dialogue: &mut Dialogue) {
        let text = |template: &str| label(&String::from_utf8_lossy(&heard.fill(template.as_bytes())));
        let mut labels: Vec<_> = self
            .labels
            .iter()
            .map(|(name, template)| (name.clone(), text(template)))
            .collect();
        labels.sort();
        if !labels.is_empty() && !dialogue.labels.contains(&labels) {
            dialogue.labels.push(labels);
        }
    }
}

/// A module's TLS settings, and the name for SNI and certificate verification.
pub(super) struct Secured<'a> {
    pub tls: &'a Tls,
    pub name: &'a str,
}

impl Secured<'_> {
    /// Performs the handshake.
    pub async fn begin(&self, check: &mut Check) -> Result<(), ProbeFailed> {
        check.secure(self.tls, self.name, true).await
    }
}

async fn hear_line(
    check: &mut Check,
    wanted: &Regexp,
    dialogue: &mut Dialogue,
    received: &mut ReceivedLines,
) -> Result<Match, ProbeFailed> {
    let heard = match check.await_data().await {
        Ok(()) => {
            let work_limits = check.work_limits();
            check
                .hear(|bytes, ended| next_line(bytes, ended, wanted, &work_limits, received))
                .await
        }
        Err(stopped) => Err(stopped),
    };
    if heard.is_err() && check.failed_because(&[Reason::ContentExpect, Reason::TcpClosed]) {
        dialogue.mismatch = Some(Mismatch::Regexp);
    }
    heard
}

/// The first complete line in `bytes`, if it matches. At the end of the stream, text without a line ending counts as a
/// line.
fn next_line(
    bytes: &[u8],
    ended: bool,
    wanted: &Regexp,
    work_limits: &WorkLimits,
    received: &mut ReceivedLines,
) -> DialogueRead<Match> {
    let (line, taken) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], end + 1),
        None if bytes.len() >= LONGEST_LINE => {
            let words = format!("The server sent a line longer than {LONGEST_LINE} bytes.");
            return DialogueRead::Never(Reason::ContentLineTooLong, words);
        }
        None if ended && !bytes.is_empty() => (bytes, bytes.len()),
        None if ended => {
            let words = "The server closed the connection before it sent a line that the module expects.";
            return DialogueRead::Never(Reason::ContentExpect, words.to_owned());
        }
        None => {
            received.unfinished(bytes);
            return DialogueRead::More(0);
        }
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    received.line(line);
    let judged = move |found: Result<Option<Match>, BlockingError>| match found {
        Ok(Some(heard)) => DialogueRead::Whole(taken, heard),
        Ok(None) => DialogueRead::Other(taken),
        Err(late) => {
            let (reason, words) = late.while_looking();
            DialogueRead::Never(reason, words.to_owned())
        }
    };
    if line.len() <= BRIEF {
        return judged(Ok(Match::of(wanted, line)));
    }
    let found = search_blocking(wanted, line.to_vec(), work_limits);
    DialogueRead::Later(Box::pin(async move { judged(found.await) }))
}

/// Searches a message for an expression, outside the async runtime if the message is long.
pub(super) async fn look(
    wanted: &Regexp,
    text: Vec<u8>,
    work_limits: &WorkLimits,
) -> Result<Option<Match>, BlockingError> {
    if text.len() <= BRIEF {
        return Ok(Match::of(wanted, &text));
    }
    search_blocking(wanted, text, work_limits).await
}

fn search_blocking(
    wanted: &Regexp,
    text: Vec<u8>,
    work_limits: &WorkLimits,
) -> impl Future<Output = Result<Option<Match>, BlockingError>> + Send + use<> {
    let wanted = wanted.clone();
    compute(work_limits.host, work_limits.until, move |clock| {
        Match::until(&wanted, &text, clock)
    })
}

async fn hear_bytes(
    check: &mut Check,
    wanted: &[u8],
    dialogue: &mut Dialogue,
    received: &mut ReceivedLines,
) -> Result<(), ProbeFailed> {
    check.await_data().await?;
    let heard = check
        .hear(|bytes, ended| {
            received.unfinished(bytes);
            match bytes.get(..wanted.len()) {
                Some(heard) if heard == wanted => DialogueRead::Whole(wanted.len(), ()),
                None if !ended && wanted.starts_with(bytes) => DialogueRead::More(0),
                _ => {
                    let words = "The server sent bytes that the module does not expect.";
                    DialogueRead::Never(Reason::ContentExpect, words.to_owned())
                }
            }
        })
        .await;
    if heard.is_err() && check.failed_because(&[Reason::ContentExpect]) {
        dialogue.mismatch = Some(Mismatch::Bytes);
    }
    heard
}

#[cfg(test)]
mod tests {
    use super::{DialogueRead, Expect, Match, ReceivedLines, Script, Step, TranscriptMasks, Waiting, next_line};
    use crate::check::{FairnessKey, ProbeMemory, WorkLimits};
    use glassbox_verdict::reason::Reason;
    use glassbox_verdict::report::Dialogue;
    use go_regexp::Regexp;
    use std::time::{Duration, Instant};

    async fn next(bytes: &[u8], ended: bool, wanted: &str) -> DialogueRead<Match> {
        let work_limits = WorkLimits {
            until: Instant::now() + Duration::from_mins(1),
            host: FairnessKey::default(),
            memory: ProbeMemory::default(),
        };
        match next_line(
            bytes,
            ended,
            &Regexp::new(wanted).unwrap(),
            &work_limits,
            &mut ReceivedLines::default(),
        ) {
            DialogueRead::Later(found) => found.await,
            heard => heard,
        }
    }

    #[tokio::test]
    async fn a_line_is_taken_when_it_is_whole() {
        let next = async |bytes: &[u8], ended| next(bytes, ended, "^220").await;
        assert!(matches!(next(b"", false).await, DialogueRead::More(0)));
        assert!(matches!(next(b"220 re", false).await, DialogueRead::More(0)));
        assert!(matches!(next(b"hello\r\n220 re", false).await, DialogueRead::Other(7)));
        assert!(
            matches!(next(b"220 ready\r\nmore", false).await, DialogueRead::Whole(11, line) if line.text == b"220 ready")
        );
        assert!(matches!(next(b"220 re", true).await, DialogueRead::Whole(6, _)));
        assert!(matches!(
            next(b"", true).await,
            DialogueRead::Never(Reason::ContentExpect, _)
        ));
        let long = vec![b'x'; 64 * 1024];
        assert!(matches!(
            next(&long, false).await,
            DialogueRead::Never(Reason::ContentLineTooLong, _)
        ));
    }

    #[tokio::test]
    async fn a_template_is_filled_from_what_matched_and_stays_where_nothing_did() {
        let step = Step {
            labels: vec![("b".to_owned(), "${2}".to_owned()), ("a".to_owned(), "$1".to_owned())],
            send: b"PONG $1".to_vec(),
            ..Step::default()
        };
        let heard = match next(b"PING x y\n", false, "PING (.) (.)").await {
            DialogueRead::Whole(_, heard) => heard,
            other => panic!("{}", matches!(other, DialogueRead::More(_))),
        };
        let mut dialogue = Dialogue::default();
        step.label(&heard, &mut dialogue);
        step.label(&heard, &mut dialogue);
        assert_eq!(step.words(Some(&heard)), b"PONG x");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(dialogue.labels, [vec![pair("a", "x"), pair("b", "y")]]);
        assert_eq!(step.words(None), b"PONG $1");
    }

    #[test]
    fn what_is_sent_is_hidden_in_what_is_expected_too() {
        for (send, expect, shown) in [
            ("AUTH s3cret-word", "^OK s3cret-word$", "^OK <secret>$"),
            ("PASS p.w+d1", r"^OK p\.w\+d1$", "^OK <secret>$"),
            ("AUTH s3cret-word", "^220 ready", "^220 ready"),
        ] {
            let says = Step {
                send: send.into(),
                ..Step::default()
            };
            let hears = Step {
                expect: Some(Expect::Regexp(Regexp::new(expect).unwrap())),
                ..Step::default()
            };
            let waiting = Waiting::of(&hears);
            let failed = Script(vec![says, hears]).failed_step(1, &waiting, TranscriptMasks::default());
            assert_eq!(failed.expected.as_deref(), Some(shown));
        }
    }

    #[test]
    fn labels_that_differ_only_where_they_are_cut_are_one_series() {
        let step = Step {
            labels: vec![("banner".to_owned(), "$0".to_owned())],
            ..Step::default()
        };
        let mut dialogue = Dialogue::default();
        for end in ["a", "b"] {
            let line = "x".repeat(60_000) + end;
            let heard = Match::of(&Regexp::new(".*").unwrap(), line.as_bytes()).unwrap();
            step.label(&heard, &mut dialogue);
        }
        let [labels] = &dialogue.labels[..] else {
            panic!("{} series", dialogue.labels.len());
        };
        assert_eq!(labels[0].1, crate::limits::label(&"x".repeat(60_000)));
    }
}
