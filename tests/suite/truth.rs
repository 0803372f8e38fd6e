//! A busy exporter must not make a target look slow: phases have the times of the packets, independent of scheduling.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::eventually;
use socket2::{Domain, Socket, Type};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Time for which the exporter's only thread is blocked before it can read the response.
const BUSY: Duration = Duration::from_millis(200);

fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
}

/// A server on a separate thread: reads a request, blocks the exporter's thread, responds, and unblocks the thread
/// later.
fn answers_a_blocked_exporter() -> (SocketAddr, tokio::sync::oneshot::Receiver<mpsc::Receiver<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (block, blocked) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        // The channel has no buffer, so the exporter's thread is blocked as soon as it has received the message.
        let (taken, let_go) = mpsc::sync_channel(0);
        block.send(let_go).unwrap();
        taken.send(()).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nglass")
            .unwrap();
        thread::sleep(BUSY);
        taken.send(()).unwrap();
        // Wait until the exporter has read, because the kernel would merge the FIN with the earlier data and use its
        // timestamp.
        let _ = stream.read(&mut [0]);
    });
    (address, blocked)
}

// One thread runs the exporter, its server and this test, so blocking it blocks all of them.
#[tokio::test(flavor = "current_thread")]
async fn the_scheduling_delay_is_in_no_phase() {
    let (target, blocked) = answers_a_blocked_exporter();
    let exporter = Exporter::start("modules: {http_2xx: {prober: http}}").await;
    tokio::spawn(async move {
        let let_go = blocked.await.unwrap();
        for _ in 0..2 {
            let_go.recv().unwrap();
        }
    });
    let probed = exporter.probe("http_2xx", &format!("http://{target}/")).await;
    let page = &probed.page;
    assert_eq!(page.value("probe_success"), 1.0);

    let clocks = &probed.evidence["target"]["exchanges"][0]["clocks"];
    for moment in ["connected", "first_byte", "last_byte"] {
        assert_eq!(clocks[moment], "kernel", "{clocks:#}");
    }
    let late = clocks["scheduling_delay_seconds"].as_f64().unwrap();
    assert!(late >= BUSY.as_secs_f64(), "{clocks:#}");
    assert!(clocks["wakeup_delay_seconds"].as_f64().unwrap() >= BUSY.as_secs_f64());
    assert_eq!(probed.evidence["late"], true);

    // The delay is in the duration of the probe, not in the phases, and is exported separately.
    let whole = page.value("probe_duration_seconds");
    let phases: f64 = page
        .starting("probe_http_duration_seconds{")
        .map(|(_, seconds)| seconds)
        .sum();
    assert!(phases + late <= whole + 1e-6, "{phases} and {late} of {whole}");
    assert!(page.value("probe_unattributed_seconds") >= BUSY.as_secs_f64());
    let succeeded = page.value("probe_success_duration_seconds_sum");
    assert!(
        (succeeded + late - whole).abs() < 1e-6,
        "{succeeded} and {late} of {whole}"
    );

    assert_eq!(exporter.own("glassbox_late_probes_total").await, 1.0);
    assert_eq!(exporter.own("glassbox_wakeup_delay_seconds_count").await, 1.0);
    assert!(exporter.own("glassbox_wakeup_delay_seconds_sum").await >= BUSY.as_secs_f64());
}

/// A flight of the handshake that needs several reads waits in the buffer. This delay is counted once.
#[tokio::test(flavor = "current_thread")]
async fn an_unread_large_certificate_does_not_change_the_handshake_time() {
    let authority = Authority::new();
    let many_names = |params: &mut rcgen::CertificateParams| {
        let names = (0..250).map(|number| format!("name-{number}.of-a-large-certificate.test"));
        let names = names.map(|name| rcgen::SanType::DnsName(name.try_into().unwrap()));
        params.subject_alt_names.extend(names);
    };
    let server = authority.leaf_with("127.0.0.1", many_names).server(&[]);
    let (target, blocked) = tls_before_a_blocked_exporter(server);
    let config = format!(
        "modules: {{http_2xx: {{prober: http, http: {{tls_config: {{ca_file: {}}}}}}}}}",
        authority.ca_file.display()
    );
    let exporter = Exporter::start(&config).await;
    tokio::spawn(async move {
        let let_go = blocked.await.unwrap();
        for _ in 0..2 {
            let_go.recv().unwrap();
        }
    });
    let probed = exporter.probe("http_2xx", &format!("https://{target}/")).await;
    let page = &probed.page;
    assert_eq!(page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let clocks = &probed.evidence["target"]["exchanges"][0]["clocks"];
    assert_eq!(clocks["secured"], "kernel");
    let (late, whole) = (
        clocks["scheduling_delay_seconds"].as_f64().unwrap(),
        page.value("probe_duration_seconds"),
    );
    assert!(late >= BUSY.as_secs_f64() && late < whole, "{clocks:#}");
    assert!(page.value("probe_http_duration_seconds{phase=\"tls\"}") > 0.0);
    let phases: f64 = page
        .starting("probe_http_duration_seconds{")
        .map(|(_, seconds)| seconds)
        .sum();
    assert!(phases + late <= whole + 1e-6, "{phases} and {late} of {whole}");
    assert!(page.value("probe_success_duration_seconds_sum") > 0.0);
}

/// A TLS server and a relay on separate threads. The relay blocks the exporter's thread at the first bytes of the
/// server and unblocks it later.
fn tls_before_a_blocked_exporter(
    server: Arc<rustls::ServerConfig>,
) -> (SocketAddr, tokio::sync::oneshot::Receiver<mpsc::Receiver<()>>) {
    let (told, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let peer = Peer::with_tls(server, ok).await;
            told.send(peer.address).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let server = address.recv().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (block, blocked) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let (exporter, _) = listener.accept().unwrap();
        let server = TcpStream::connect(server).unwrap();
        let (mut from, mut to) = (exporter.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (mut from, mut to) = (server, exporter);
        let mut piece = [0; 16 * 1024];
        let count = from.read(&mut piece).unwrap();
        let (taken, let_go) = mpsc::sync_channel(0);
        block.send(let_go).unwrap();
        taken.send(()).unwrap();
        to.write_all(&piece[..count]).unwrap();
        // The rest of the flight also arrives meanwhile.
        from.set_read_timeout(Some(BUSY)).unwrap();
        while let Ok(count) = from.read(&mut piece) {
            to.write_all(&piece[..count]).unwrap();
        }
        from.set_read_timeout(None).unwrap();
        taken.send(()).unwrap();
        std::io::copy(&mut from, &mut to).unwrap();
    });
    (address, blocked)
}

/// Whether a connection to an address has sent its SYN and has no response yet (proc(5), `SYN_SENT`).
fn waits_for_an_answer(to: SocketAddr) -> bool {
    let remote = format!(":{:04X} 02 ", to.port());
    std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&remote)
}

/// If the first SYN is lost, the kernel measures the round trip from the second one. The connect phase must include the
/// first one.
#[tokio::test]
async fn a_lost_first_segment_is_in_the_connect_phase() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    // The backlog has room for one connection that is never accepted. Later ones are dropped.
    listener.listen(0).unwrap();
    let listener = TcpListener::from(listener);
    let target = listener.local_addr().unwrap();
    let _taken = TcpStream::connect(target).unwrap();
    let (make_room, room) = mpsc::channel();
    let server = thread::spawn(move || {
        room.recv().unwrap();
        drop(listener.accept().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    let exporter = Exporter::start("modules: {http_2xx: {prober: http}}").await;
    let begun = Instant::now();
    let url = format!("http://{target}/");
    // After the exporter's first SYN is dropped, the test makes room for the second one.
    let (probed, ()) = tokio::join!(exporter.probe("http_2xx", &url), async {
        eventually("a SYN without a response", async || waits_for_an_answer(target)).await;
        make_room.send(()).unwrap();
    });
    assert_eq!(probed.page.value("probe_success"), 1.0);
    let connect = probed.page.value("probe_http_duration_seconds{phase=\"connect\"}");
    // The kernel retransmits after one second.
    assert!((0.9..=begun.elapsed().as_secs_f64()).contains(&connect), "{connect}");
    let exchange = &probed.evidence["target"]["exchanges"][0];
    assert_eq!(exchange["clocks"]["connected"], "exporter", "{exchange:#}");
    assert!(exchange["socket"]["retransmits"].as_u64().unwrap() >= 1);
    server.join().unwrap();
}
