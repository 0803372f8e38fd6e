//! The tcp and unix probers: banners, templates, STARTTLS, bytes, labels.

use crate::support::exporter::Exporter;
use crate::support::peer::Peer;
use crate::support::pki::Authority;
use crate::support::process::{Process, free_port};
use std::process::Command;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio_rustls::TlsAcceptor;

fn modules(authority: &Authority) -> String {
    format!(
        "modules:
  connect: {{prober: tcp}}
  ssh:
    prober: tcp
    tcp:
      query_response:
        - expect: \"^SSH-(?P<protocol>[0-9.]+)-(.*)$\"
          labels: [{{name: protocol, value: \"${{protocol}}\"}}, {{name: software, value: \"${{2}}\"}}]
        - send: SSH-2.0-glassbox
  smtp:
    prober: tcp
    tcp:
      query_response:
        - expect: \"^220 ([^ ]+) ESMTP\"
        - send: \"EHLO prober\\r\"
        - expect: ^250-STARTTLS
        - expect: \"^250 \"
        - send: \"STARTTLS\\r\"
        - expect: ^220
        - starttls: true
        - send: \"EHLO prober\\r\"
        - expect: ^250-AUTH
        - send: \"QUIT\\r\"
      tls_config: {{ca_file: {ca}}}
  ping:
    prober: tcp
    tcp: {{query_response: [{{expect: \"^PING :(.*)$\", send: \"PONG ${{1}} $$\"}}, {{expect: ^WELCOME}}]}}
  bytes:
    prober: tcp
    tcp: {{query_response: [{{send: hi}}, {{expect_bytes: !!binary AAEC}}, {{expect: ^rest$}}]}}
  tls:
    prober: tcp
    tcp: {{tls: true, tls_config: {{ca_file: {ca}}}}}
  unix:
    prober: unix
    unix: {{query_response: [{{send: hello}}, {{expect: ^hello$}}]}}",
        ca = authority.ca_file.display()
    )
}

#[tokio::test]
async fn a_real_ssh_server_shows_its_banner() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.expect("`make deps` installs openssh-server").success());
    std::fs::create_dir_all("/run/sshd").unwrap();
    let port = free_port();
    let mut server = Process::start(
        Command::new("/usr/sbin/sshd")
            .args([
                "-D",
                "-e",
                "-f",
                "/dev/null",
                "-o",
                "ListenAddress=127.0.0.1",
                "-p",
                &port.to_string(),
                "-h",
            ])
            .arg(&key)
            .stderr(std::process::Stdio::null()),
    );
    server.listens(port).await;
    let exporter = Exporter::start(&modules(&Authority::new())).await;
    let probed = exporter.probe("ssh", &format!("127.0.0.1:{port}")).await;
    let page = &probed.page;
    assert_eq!(page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let info: Vec<_> = page.starting("probe_expect_info{").collect();
    assert_eq!(info.len(), 1);
    assert!(
        info[0]
            .0
            .starts_with("probe_expect_info{protocol=\"2.0\",software=\"OpenSSH"),
        "{info:?}"
    );
    assert_eq!(page.value("probe_failed_due_to_regex"), 0.0);
    assert_eq!(page.value("probe_failed_due_to_bytes"), 0.0);
    for phase in ["resolve", "connect", "processing", "transfer"] {
        assert!(probed.has_observed(phase), "{phase}");
    }
}

#[tokio::test]
async fn a_mail_server_starts_tls() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(authority.leaf("127.0.0.1").server(&[]));
    let peer = Peer::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.write_all(b"220 mail.test ESMTP ready\r\n").await.unwrap();
            stream.read_line(&mut line).await.unwrap();
            assert_eq!(line, "EHLO prober\r\n");
            stream
                .write_all(b"250-mail.test\r\n250-STARTTLS\r\n250 HELP\r\n")
                .await
                .unwrap();
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            assert_eq!(line, "STARTTLS\r\n");
            stream.write_all(b"220 go ahead\r\n").await.unwrap();
            let mut stream = BufReader::new(acceptor.accept(stream.into_inner()).await.unwrap());
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            stream.write_all(b"250-mail.test\r\n250-AUTH PLAIN\r\n").await.unwrap();
            let _ = stream.read_u8().await;
        }
    })
    .await;
    let exporter = Exporter::start(&modules(&authority)).await;
    let probed = exporter.probe("smtp", &peer.address.to_string()).await;
    let page = &probed.page;
    assert_eq!(page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert!(page.value("probe_ssl_earliest_cert_expiry") > 0.0);
    assert_eq!(page.value("probe_tls_version_info{version=\"TLS 1.3\"}"), 1.0);
    assert!(
        page.starting("probe_tls_cipher_info").next().is_none(),
        "blackbox_exporter has it for http only"
    );
    // One timing for each TLS handshake, sent line and response.
    let timings: Vec<_> = probed.timings().into_iter().map(|timing| timing.0).collect();
    assert_eq!(timings.iter().filter(|phase| *phase == "tls").count(), 1, "{timings:?}");
    assert_eq!(
        timings.iter().filter(|phase| *phase == "request").count(),
        4,
        "{timings:?}"
    );
    assert_eq!(page.value("probe_phase_duration_seconds_count{phase=\"tls\"}"), 1.0);
}

#[tokio::test]
async fn sent_lines_can_use_captured_text() {
    let peer = Peer::start(|stream| async move {
        let mut stream = BufReader::new(stream);
        stream.write_all(b"NOTICE hello\nPING :a b\r\n").await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert_eq!(line, "PONG a b $\n");
        stream.write_all(b"WELCOME").await.unwrap();
    })
    .await;
    let exporter = Exporter::start(&modules(&Authority::new())).await;
    let probed = exporter.probe("ping", &peer.address.to_string()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
}

#[tokio::test]
async fn expected_bytes_are_consumed() {
    let peer = Peer::start(|mut stream| async move {
        let mut said = [0; 3];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hi\n");
        stream.write_all(b"\x00\x01").await.unwrap();
        stream.write_all(b"\x02rest\n").await.unwrap();
    })
    .await;
    let exporter = Exporter::start(&modules(&Authority::new())).await;
    let probed = exporter.probe("bytes", &peer.address.to_string()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
}

#[tokio::test]
async fn tls_from_the_first_byte_and_a_plain_connection() {
    let authority = Authority::new();
    let secured = Peer::with_tls(authority.leaf("good.test").server(&[]), |mut stream| async move {
        let _ = stream.read_u8().await;
    })
    .await;
    let exporter = Exporter::start(&modules(&authority)).await;
    let target = secured.address.to_string();
    let probed = exporter.probe_for("tls", &target, "&hostname=good.test").await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let probed = exporter.probe("tls", &target).await;
    assert_eq!(probed.evidence["verdict"]["reason"], "tls.cert.name_invalid");
    let probed = exporter.probe("connect", &target).await;
    assert_eq!(probed.page.value("probe_success"), 1.0);
    assert!(
        probed
            .page
            .find("probe_phase_duration_seconds_count{phase=\"processing\"}")
            .is_none()
    );
}

#[tokio::test]
async fn a_unix_domain_socket_is_probed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let echo = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
    });
    let exporter = Exporter::start(&modules(&Authority::new())).await;
    let probed = exporter.probe("unix", path.to_str().unwrap()).await;
    let page = &probed.page;
    assert_eq!(page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert!(page.find("probe_ip_protocol").is_none() && page.find("probe_dns_lookup_time_seconds").is_none());
    echo.abort();
}

#[tokio::test]
async fn any_number_of_lines_of_any_length_is_matched() {
    let long = ["x".repeat(20_000), "x".repeat(20_000)];
    let said = format!("{} nothing\n{} needle\n", long[0], long[1]);
    let slow = Peer::start(move |mut stream| {
        let said = said.clone();
        async move {
            stream.write_all(said.as_bytes()).await.ok();
        }
    })
    .await;
    // An endless stream of empty lines.
    let chatty = Peer::start(|mut stream| async move { while stream.write_all(&[b'\n'; 4096]).await.is_ok() {} }).await;
    let config = "modules:\n  m: {prober: tcp, timeout: 2s, tcp: {query_response: [{expect: 'x needle$'}]}}\n";
    let exporter = Exporter::start(config).await;
    let (slow_at, chatty_at) = (slow.address.to_string(), chatty.address.to_string());
    let probed = exporter.probe("m", &slow_at).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let (chatted, beside) = tokio::join!(exporter.probe("m", &chatty_at), exporter.probe("m", &slow_at));
    assert_eq!(beside.page.value("probe_success"), 1.0);
    assert_eq!(chatted.evidence["verdict"]["reason"], "content.expect");
}

/// A server that sends a greeting and rejects each line with an error that repeats it.
async fn refusing() -> Peer {
    Peer::start(|stream| async move {
        let mut stream = BufReader::new(stream);
        let _ = stream.write_all(b"+OK hello\r\n").await;
        let mut line = String::new();
        while matches!(stream.read_line(&mut line).await, Ok(1..)) {
            let refusal = format!("-NOAUTH Authentication required, not \"{}\" \x1b[31m\r\n", line.trim());
            let _ = stream.write_all(refusal.as_bytes()).await;
            line.clear();
        }
    })
    .await
}

#[tokio::test]
async fn a_failed_step_shows_the_received_text_without_secrets() {
    let peer = refusing().await;
    let exporter = Exporter::start(
        "modules:
  m: {prober: tcp, timeout: 1s, tcp: {query_response: [{expect: '^.OK'}, {send: 'AUTH s3cret-word'}, {expect: '^.PONG'}]}}
  b: {prober: tcp, timeout: 1s, tcp: {query_response: [{expect: '^.OK'}, {send: x}, {expect_bytes: !!binary AAEC}]}}
  silent: {prober: tcp, timeout: 1s, tcp: {query_response: [{expect: '^.OK'}, {expect: '^more$'}]}}
  good: {prober: tcp, tcp: {query_response: [{expect: '^.OK'}]}}",
    )
    .await;
    let at = peer.address.to_string();
    let probed = exporter.probe("m", &at).await;
    let failed = &probed.evidence["target"]["exchanges"][0]["dialogue"]["failed_step"];
    assert_eq!(failed["step"], 3, "{failed:#}");
    assert_eq!(failed["expected"], "^.PONG");
    let line = "-NOAUTH Authentication required, not \"AUTH <secret>\" \\u{1b}[31m";
    assert_eq!(failed["received"], serde_json::json!([line]));
    let id = probed.evidence["id"].as_str().unwrap();
    let page = exporter.get(&format!("/evidence/{id}")).await.text().await.unwrap();
    let debug = format!("/probe?module=m&target={at}&debug=true");
    let debug = exporter.get(&debug).await.text().await.unwrap();
    let debug = debug.split("Module configuration").next().unwrap();
    for text in [&page, debug] {
        assert!(
            text.contains("NOAUTH Authentication") && text.contains("^.PONG"),
            "{text}"
        );
        assert!(!text.contains("s3cret"), "{text}");
    }
    let failed = &exporter.probe("b", &at).await.evidence["target"]["exchanges"][0]["dialogue"]["failed_step"];
    assert_eq!(failed["expected"], "\\0\\u{1}\\u{2}", "{failed:#}");
    assert!(
        failed["received"][0].as_str().unwrap().starts_with("-NOAUTH"),
        "{failed:#}"
    );
    let failed = &exporter.probe("silent", &at).await.evidence["target"]["exchanges"][0]["dialogue"]["failed_step"];
    assert_eq!(
        (&failed["step"], &failed["received"]),
        (&2.into(), &serde_json::json!([])),
        "{failed:#}"
    );
    let good = exporter.probe("good", &at).await;
    assert_eq!(
        good.evidence["target"]["exchanges"][0]["dialogue"]["failed_step"],
        serde_json::Value::Null
    );
}

/// A TLS server that closes the connection without a byte if the client does not use TLS.
async fn hangs_up_on_plain_text(authority: &Authority) -> Peer {
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.leaf("127.0.0.1").server(&[]));
    Peer::start(move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut first = [0];
            let _ = stream.peek(&mut first).await;
            if first == [0x16] {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read_u8().await;
                }
            } else {
                // Read the data, because the kernel would reset a connection with unread data.
                let _ = stream.read(&mut [0; 4096]).await;
            }
        }
    })
    .await
}

/// The summary of a verdict is often forwarded, so it has the step, the expected text and the received text.
#[tokio::test]
async fn the_summary_of_a_dialogue_has_its_step() {
    let slow = Peer::start(|mut stream| async move {
        let _ = stream.write_all(b"220-welcome\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let quiet = Peer::start(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let refusing = refusing().await;
    let exporter = Exporter::start(
        "modules:
  m: {prober: tcp, timeout: 1s, tcp: {query_response: [{expect: '^220 '}, {send: EHLO}]}}
  auth: {prober: tcp, timeout: 1s, tcp: {query_response: [{expect: OK}, {send: 's3cret-word'}, {expect: PONG}]}}",
    )
    .await;
    for (module, peer, words, certainty) in [
        (
            "m",
            &slow,
            "Step 1 of the dialogue expects \"^220 \"; the last line received is \"220-welcome\".",
            "likely",
        ),
        (
            "m",
            &quiet,
            "Step 1 of the dialogue expects \"^220 \"; nothing was received.",
            "likely",
        ),
        (
            "auth",
            &refusing,
            "Step 3 of the dialogue expects \"PONG\"; the last line received is \"-NOAUTH",
            "likely",
        ),
    ] {
        let probed = exporter.probe(module, &peer.address.to_string()).await;
        let verdict = &probed.evidence["verdict"];
        let sentence = verdict["sentence"].as_str().unwrap();
        assert!(sentence.contains(words) && !sentence.contains("s3cret"), "{sentence}");
        assert_eq!(verdict["certainty"], certainty, "{verdict:#}");
    }
}

#[tokio::test]
async fn plain_text_to_a_tls_port_is_detected() {
    let authority = Authority::new();
    let secured = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), |mut stream| async move {
        let _ = stream.read_u8().await;
    })
    .await;
    // A server that responds to a client without TLS with OpenSSL's alert `wrong version number`.
    let alert = Peer::start(|mut stream| async move {
        let _ = stream.read_u8().await;
        let _ = stream.write_all(b"\x15\x03\x01\x00\x02\x02\x46").await;
    })
    .await;
    let silent = Peer::start(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    // A server that closes the connection without an alert if the client does not use TLS, as `openssl s_server` does.
    let hangs_up = hangs_up_on_plain_text(&authority).await;
    let closes = Peer::start(|mut stream| async move {
        let _ = stream.read(&mut [0; 512]).await;
    })
    .await;
    let closes_after_words = Peer::start(|mut stream| async move {
        let _ = stream.write_all(b"-ERR bye\r\n").await;
        let _ = stream.read(&mut [0; 512]).await;
    })
    .await;
    let exporter = Exporter::start(
        "modules:
  dns: {prober: dns, timeout: 2s, dns: {query_name: a.test, transport_protocol: tcp}}
  says: {prober: tcp, timeout: 2s, tcp: {query_response: [{send: PING}, {expect: '^.PONG'}]}}
  listens: {prober: tcp, timeout: 2s, tcp: {query_response: [{expect: '^220 '}]}}",
    )
    .await;
    for (module, peer, is_tls) in [
        ("says", &alert, true),
        ("listens", &secured, true),
        ("says", &hangs_up, true),
        ("dns", &hangs_up, true),
        ("says", &silent, false),
        ("listens", &silent, false),
        ("says", &closes, false),
        ("says", &closes_after_words, false),
        ("dns", &closes, false),
    ] {
        let probed = exporter.probe(module, &peer.address.to_string()).await;
        let verdict = &probed.evidence["verdict"];
        assert_eq!(verdict["reason"] == "tls.required", is_tls, "{module} {verdict:#}");
        assert_eq!(verdict["link"] == "tls", is_tls, "{module} {verdict:#}");
    }
}

#[tokio::test]
async fn an_abstract_socket_is_probed_by_its_name() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let name = format!("glassbox-test-{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let module = "u: {prober: unix, timeout: 2s}";
    let open = Exporter::start(&format!("modules: {{{module}}}")).await;
    let by_list = Exporter::start(&format!(
        "policy: {{unix: {{allow: ['@glassbox-test-*']}}}}\nmodules: {{{module}}}"
    ))
    .await;
    let strict = Exporter::start(&format!("policy: strict\nmodules: {{{module}}}")).await;
    for (exporter, target, reason) in [
        (&open, format!("@{name}"), None),
        (&by_list, format!("@{name}"), None),
        (&open, format!("@{name}-other"), Some("tcp.refused")),
        (&open, format!("/@{name}"), Some("tcp.refused")),
        (&strict, format!("@{name}"), Some("local.denied")),
        (&by_list, "@other".to_owned(), Some("local.denied")),
    ] {
        let probed = exporter.probe("u", &target).await;
        assert_eq!(probed.evidence["verdict"]["reason"].as_str(), reason, "{target}");
    }
    drop(listener);
}

#[tokio::test]
async fn zones_and_ipv4_mapped_addresses_are_supported() {
    let peer = Peer::start(|stream| async move { drop(stream) }).await;
    let (port, six) = (peer.address.port(), std::net::TcpListener::bind("[::1]:0").unwrap());
    let six_port = six.local_addr().unwrap().port();
    let exporter = Exporter::start("modules: {t: {prober: tcp, timeout: 2s}, i: {prober: icmp, timeout: 2s}}").await;
    for (module, target, protocol, reason) in [
        ("t", format!("[::ffff:127.0.0.1]:{port}"), 4.0, None),
        ("t", format!("[::1%lo]:{six_port}"), 6.0, None),
        ("t", format!("[::1%1]:{six_port}"), 6.0, None),
        ("i", "::1%lo".to_owned(), 6.0, None),
        ("i", "[::1%lo]".to_owned(), 6.0, None),
        ("i", "::ffff:127.0.0.1".to_owned(), 4.0, None),
        (
            "t",
            format!("[::1%nosuch0]:{six_port}"),
            0.0,
            Some("local.target_invalid"),
        ),
    ] {
        let probed = exporter.probe(module, &target).await;
        assert_eq!(
            probed.evidence["verdict"]["reason"].as_str(),
            reason,
            "{target} {:#}",
            probed.evidence
        );
        if reason.is_none() {
            assert_eq!(probed.page.value("probe_ip_protocol"), protocol, "{target}");
        }
    }
}
