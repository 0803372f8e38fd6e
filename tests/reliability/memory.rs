//! R4: targets that send endless data cost a bounded amount of memory. The response is in time and has the right
//! reason.

use crate::clients::{Answer, forget_peak, peak, peer, probe, resident, scrape, scrape_all};
use crate::program::{OURS, Program};
use crate::support::peer::{Peer, ok, read_head};
use crate::table::{Figure, Table};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;

const MODULES: &str = "modules:
  plain: {prober: http, timeout: 4s}
  matching: {prober: http, timeout: 4s, http: {fail_if_body_matches_regexp: [zzz]}}
  gzip: {prober: http, timeout: 4s, http: {compression: gzip, headers: {Accept-Encoding: gzip}, fail_if_body_matches_regexp: [zzz]}}
  br: {prober: http, timeout: 4s, http: {compression: br, headers: {Accept-Encoding: br}, fail_if_body_matches_regexp: [zzz]}}
  br_plain: {prober: http, timeout: 4s, http: {compression: br, headers: {Accept-Encoding: br}}}
  gzip_plain: {prober: http, timeout: 4s, http: {compression: gzip, headers: {Accept-Encoding: gzip}}}
";

/// Timeout of the modules, in seconds.
const DEADLINE: f64 = 4.0;

/// Maximum memory growth in MiB: 16, plus 10 for the part of the body that is matched.
const MOST_GROWTH: f64 = 26.0;

/// Maximum size of the Brotli window in MiB, which the decoder must hold (RFC 7932 section 9.1).
const BROTLI_WINDOW: f64 = 16.0;

/// A target that sends a header, and then the same bytes until the connection ends.
async fn endless(head: &'static str, piece: Vec<u8>) -> Peer {
    let piece = Arc::new(piece);
    Peer::start(move |mut stream| {
        let piece = piece.clone();
        async move {
            read_head(&mut stream).await;
            if stream.write_all(head.as_bytes()).await.is_ok() {
                while stream.write_all(&piece).await.is_ok() {}
            }
        }
    })
    .await
}

/// A target with a gzip body that decompresses to 4 GiB of zeros, in members of 64 MiB.
async fn bomb() -> Peer {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let member = encoder.finish().unwrap();
    let length = member.len() * 64;
    let member = Arc::new(member);
    Peer::start(move |mut stream| {
        let member = member.clone();
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok();
            for _ in 0..64 {
                if stream.write_all(&member).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// A target with a few hundred bytes of Brotli (RFC 7932) that decompress to 1 GiB of zeros.
async fn brotli_bomb() -> Peer {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 1 << 20, 5, 24);
    for _ in 0..1024 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = encoder.into_inner();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    );
    Peer::answering([head.as_bytes(), &bomb].concat()).await
}

/// A target that sends endless data, its module, and the correct reasons. No reason means success. An immediate 503
/// would also bound the memory, so the reason is checked.
struct Attack {
    what: &'static str,
    module: &'static str,
    target: Peer,
    ends: &'static [Option<&'static str>],
}

impl Attack {
    const fn new(
        what: &'static str,
        module: &'static str,
        target: Peer,
        ends: &'static [Option<&'static str>],
    ) -> Self {
        Self {
            what,
            module,
            target,
            ends,
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\n";
const PLAIN: &str = "HTTP/1.1 200 OK\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Responses with an endless body.
async fn bodies() -> [Attack; 7] {
    const TOO_LARGE: &[Option<&str>] = &[Some("content.body_too_large")];
    const LATE: &[Option<&str>] = &[Some("http.timed_out_mid_body")];
    const WELL_OR_LATE: &[Option<&str>] = &[None, LATE[0]];
    let a = vec![b'a'; 65536];
    let chunk = [&b"10000\r\n"[..], &a, b"\r\n"].concat();
    let (matched, counted) = (endless(PLAIN, a.clone()).await, endless(PLAIN, a).await);
    let chunks = endless(CHUNKED, chunk).await;
    [
        Attack::new("endless body, matched", "matching", matched, TOO_LARGE),
        Attack::new("endless body, counted", "plain", counted, LATE),
        Attack::new("endless chunks, matched", "matching", chunks, TOO_LARGE),
        Attack::new("gzip bomb of 4 GiB, matched", "gzip", bomb().await, TOO_LARGE),
        Attack::new("gzip bomb of 4 GiB, counted", "gzip_plain", bomb().await, WELL_OR_LATE),
        Attack::new("Brotli bomb of 1 GiB, matched", "br", brotli_bomb().await, TOO_LARGE),
        Attack::new(
            "Brotli bomb of 1 GiB, counted",
            "br_plain",
            brotli_bomb().await,
            WELL_OR_LATE,
        ),
    ]
}

/// Responses that never get to a body.
async fn heads() -> [Attack; 4] {
    const INVALID: &[Option<&str>] = &[Some("http.response.invalid")];
    const HEAD: &[Option<&str>] = &[Some("http.response.header_too_large")];
    const INTERIM: &[Option<&str>] = &[Some("http.response.too_many_interim")];
    let a = vec![b'a'; 65536];
    let extension = endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", a.clone()).await;
    let value = endless("HTTP/1.1 200 OK\r\nX-Long: ", a).await;
    let fields = b"X-More: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(1000);
    let fields = endless(OK, fields).await;
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
    let interim = endless("", interim).await;
    [
        Attack::new("endless chunk extension", "plain", extension, INVALID),
        Attack::new("endless headers", "plain", fields, HEAD),
        Attack::new("endless header value", "plain", value, HEAD),
        Attack::new("endless interim responses", "plain", interim, INTERIM),
    ]
}

/// Modules with a regular expression that is large when compiled.
const MODULES_WITH_COUNTS: usize = 1_000;

/// Memory of many modules with counted repetitions, before and after a probe of each. It must be less than twice that
/// of `blackbox_exporter`.
async fn counted_repetitions(table: &mut Table) {
    let target = Peer::start(ok).await;
    let modules = (0..MODULES_WITH_COUNTS).map(|number| {
        let repeats = 200 + number % 100;
        let wanted = format!("(?i)[a-z{}]{{1,{repeats}}}end{number}", number % 10);
        format!("  m{number}: {{prober: http, timeout: 5s, http: {{fail_if_body_matches_regexp: ['{wanted}']}}}}\n")
    });
    let modules = modules.collect::<Vec<_>>().concat();
    let mut resident_of = Vec::new();
    for program in [OURS.to_owned(), peer()] {
        let exporter = Program::start(&program, &format!("modules:\n{modules}")).await;
        let loaded = resident(&exporter);
        let paths = (0..MODULES_WITH_COUNTS)
            .map(|number| probe(&format!("m{number}"), &target.http()))
            .collect();
        let answers = scrape_all(exporter.address, paths, 4, 10.0).await;
        let good = answers.iter().filter(|answer| answer.success() == Some(1.0)).count();
        assert_eq!(good, MODULES_WITH_COUNTS, "{program}");
        resident_of.push([loaded, resident(&exporter)]);
    }
    for (place, when) in ["loaded", "each probed once"].into_iter().enumerate() {
        table.figure(Figure {
            id: "R4",
            what: format!("{MODULES_WITH_COUNTS} modules with counted repetitions, {when}: memory"),
            ours: resident_of[0][place],
            peer: Some(resident_of[1][place]),
            most: 2.0 * resident_of[1][place],
            unit: " MiB",
        });
    }
}

pub async fn run(table: &mut Table) {
    counted_repetitions(table).await;
    let mut dishonest = 0;
    for Attack {
        what,
        module,
        target,
        ends,
    } in bodies().await.into_iter().chain(heads().await)
    {
        let ours = attack(OURS, module, &target.http()).await;
        let peers = attack(&peer(), module, &target.http()).await;
        let reason = ours.answer.reason();
        let is_honest = ours.answer.success().is_some() && ends.contains(&reason.as_deref());
        println!("  {what}: {:?}, {reason:?}", ours.answer.status);
        dishonest += usize::from(!is_honest);
        let most = MOST_GROWTH + if module.starts_with("br") { BROTLI_WINDOW } else { 0.0 };
        for (figure, ours, peers, most, unit) in [
            ("memory growth", ours.grown, peers.grown, most, " MiB"),
            ("response after the deadline", ours.late(), peers.late(), 0.25, " s"),
        ] {
            table.figure(Figure {
                id: "R4",
                what: format!("{what}: {figure}"),
                ours,
                peer: Some(peers),
                most,
                unit,
            });
        }
    }
    table.figure(Figure {
        id: "R4",
        what: "targets that send endless data: responses with a wrong reason".to_owned(),
        ours: dishonest as f64,
        peer: None,
        most: 0.0,
        unit: "",
    });
}

/// Result of an attack.
struct Outcome {
    /// Memory growth in MiB.
    grown: f64,
    answer: Answer,
}

impl Outcome {
    /// Delay of the response after the deadline, in seconds.
    fn late(&self) -> f64 {
        (self.answer.took.as_secs_f64() - DEADLINE).max(0.0)
    }
}

/// Runs an attack on a new process. The next probe must succeed.
async fn attack(program: &str, module: &str, target: &str) -> Outcome {
    let good = Peer::start(crate::support::peer::ok).await;
    let exporter = Program::start(program, MODULES).await;
    let well = scrape(exporter.address, &probe("plain", &good.http()), 10.0).await;
    assert_eq!(well.success(), Some(1.0), "{}", well.body);
    let before = resident(&exporter);
    forget_peak(&exporter);
    let answer = scrape(exporter.address, &probe(module, target), 10.0).await;
    let grown = peak(&exporter) - before;
    let well = scrape(exporter.address, &probe("plain", &good.http()), 10.0).await;
    assert_eq!(well.success(), Some(1.0), "{program}: failed probe after {target}");
    Outcome { grown, answer }
}
