//! Writes log lines in a separate thread, so that logging never blocks on a slow reader of stderr or a slow disk.
//!
//! A bounded queue holds the lines. If the queue is full or a write fails, the line is dropped and counted.

use std::io::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// Maximum number of lines in the queue.
const LINES: usize = 4096;

/// Maximum total size of the lines in the queue, in bytes.
const BYTES: usize = 4 << 20;

/// Maximum time that the exporter waits at exit for the last lines to be written. Lines that remain are lost.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Number of dropped lines by reason.
static DROPPED: [(&str, AtomicU64); 2] = [("queue_full", AtomicU64::new(0)), ("write_failed", AtomicU64::new(0))];

/// Returns the number of dropped log lines by reason.
pub fn dropped_log_lines() -> impl Iterator<Item = (&'static str, u64)> {
    DROPPED.iter().map(|(why, count)| (*why, count.load(Ordering::Relaxed)))
}

fn dropped(why: usize) {
    DROPPED[why].1.fetch_add(1, Ordering::Relaxed);
}

/// The log writer of this process.
static STDERR: OnceLock<LogWriter> = OnceLock::new();

/// Waits up to 500 ms until the queued lines are written.
pub fn flush_logs() {
    if let Some(writer) = STDERR.get() {
        writer.flush(LAST_LINES);
    }
}

/// Sender side of the queue.
#[derive(Clone, Debug)]
pub(super) struct LogWriter {
    queue: SyncSender<Message>,
    /// Total size of the queued lines in bytes.
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

impl LogWriter {
    /// Returns the writer to stderr. The first call starts its thread.
    pub fn to_stderr() -> Self {
        STDERR.get_or_init(|| Self::to(std::io::stderr())).clone()
    }

    /// Creates a writer to `out`. If the thread cannot be started, every line is dropped.
    fn to(out: impl Write + Send + 'static) -> Self {
        let (queue, lines) = sync_channel(LINES);
        let waiting = Arc::new(AtomicUsize::new(0));
        let rest = waiting.clone();
        let write = move || write_all(out, &lines, &rest);
        // A failure to start the log thread cannot be logged.
        let _ended_with_the_process = thread::Builder::new().name("log".to_owned()).spawn(write);
        Self { queue, waiting }
    }

    /// Queues a line, or drops it if the queue is full.
    pub fn write(&self, line: String) {
        let length = line.len();
        let before = self.waiting.fetch_add(length, Ordering::SeqCst);
        if before + length > BYTES || self.queue.try_send(Message::Line(line)).is_err() {
            self.waiting.fetch_sub(length, Ordering::SeqCst);
            dropped(0);
        }
    }

    fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _late = written.recv_timeout(patience);
        }
    }
}

fn write_all(mut out: impl Write, lines: &Receiver<Message>, waiting: &AtomicUsize) {
    for message in lines {
        match message {
            Message::Line(line) => {
                if out.write_all(line.as_bytes()).is_err() {
                    dropped(1);
                }
                waiting.fetch_sub(line.len(), Ordering::SeqCst);
            }
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES, LogWriter, dropped_log_lines};
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// Writer that handles one line per message: `true` accepts it, `false` fails the write.
    struct Slow {
        turns: Receiver<bool>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.turns.recv() {
                Ok(true) => self.taken.lock().unwrap().extend_from_slice(bytes),
                Ok(false) => return Err(io::ErrorKind::StorageFull.into()),
                Err(_) => {}
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (LogWriter, Sender<bool>, Arc<Mutex<Vec<u8>>>) {
        let (go, turns) = channel();
        let taken = Arc::default();
        let out = Slow {
            turns,
            taken: Arc::clone(&taken),
        };
        (LogWriter::to(out), go, taken)
    }

    #[test]
    fn who_logs_does_not_wait_and_what_finds_no_room_is_counted() {
        let dropped = || dropped_log_lines().map(|(_, count)| count).collect::<Vec<_>>();
        let before = dropped();
        let (writer, go, taken) = slow();
        // The thread is blocked in its first write, so the queue fills up.
        let line = "x".repeat(BYTES / 8 - 1) + "\n";
        for _ in 0..20 {
            writer.write(line.clone());
        }
        assert_eq!(dropped()[0], before[0] + 12);
        for _ in 0..7 {
            go.send(true).unwrap();
        }
        go.send(false).unwrap();
        writer.flush(Duration::from_mins(1));
        assert_eq!(taken.lock().unwrap().len(), 7 * line.len());
        assert_eq!(dropped()[1], before[1] + 1);
        // After the failed write, the next line is written again.
        go.send(true).unwrap();
        writer.write("last\n".to_owned());
        writer.flush(Duration::from_mins(1));
        assert!(taken.lock().unwrap().ends_with(b"last\n"));
    }

    #[test]
    fn the_end_of_the_process_does_not_wait_for_a_reader() {
        let (writer, _go, taken) = slow();
        writer.write("lost\n".to_owned());
        writer.flush(Duration::from_millis(10));
        assert!(taken.lock().unwrap().is_empty());
    }
}
