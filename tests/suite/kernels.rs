//! Other kernels and sandboxes: missing kernel features do not change the result of a probe. Unavailable values are
//! absent.

use crate::support::page::Page;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::{Process, free_port, preloaded};
use crate::support::quic::{QuicServer, echo};
use nix::libc;
use serde_json::Value;
use std::fs::File;
use std::process::Command;
use tempfile::TempDir;

/// An exporter on a simulated other kernel.
struct Elsewhere {
    exporter: Process,
    port: u16,
    folder: TempDir,
}

impl Elsewhere {
    /// Starts an exporter with these modules. The command `before` and the environment `kernel` simulate the kernel.
    async fn start(before: &[&str], modules: &str, kernel: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = preloaded("tests/suite/kernels/kernel.c", folder.path());
        std::fs::write(folder.path().join("glassbox.yml"), modules).unwrap();
        let port = free_port();
        let mut words = before.to_vec();
        words.push(env!("CARGO_BIN_EXE_glassbox_exporter"));
        let mut exporter = Process::start(
            Command::new(words[0])
                .args(&words[1..])
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--config.file=glassbox.yml")
                .env("LD_PRELOAD", library)
                .envs(kernel.iter().copied())
                .current_dir(folder.path())
                .stderr(File::create(folder.path().join("log")).unwrap()),
        );
        exporter.listens(port).await;
        Self { exporter, port, folder }
    }

    async fn get(&self, path: &str) -> (u16, Option<String>, String) {
        let client = crate::support::http::client();
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = client.get(url).send().await.unwrap();
        let id = answer.headers().get("x-glassbox-evidence");
        let id = id.map(|id| id.to_str().unwrap().to_owned());
        (answer.status().as_u16(), id, answer.text().await.unwrap())
    }

    /// Page and evidence of a probe.
    async fn probe(&self, module: &str, target: &str) -> (Page, Value) {
        let (status, id, text) = self.get(&format!("/probe?module={module}&target={target}")).await;
        assert_eq!(status, 200, "{module}: {text}");
        let (_, _, evidence) = self.get(&format!("/evidence/{}.json", id.unwrap())).await;
        (Page::parse(&text), serde_json::from_str(&evidence).unwrap())
    }

    /// Asserts that no code panicked, including caught panics.
    async fn is_unshaken(&mut self) {
        let (_, _, page) = self.get("/metrics").await;
        assert_eq!(Page::parse(&page).value("glassbox_panics_total"), 0.0);
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        assert!(!log.to_lowercase().contains("panic"), "{log}");
        assert!(self.exporter.0.try_wait().unwrap().is_none(), "{log}");
    }
}

/// Servers for all protocols, with modules and targets that succeed.
struct World {
    authority: Authority,
    plain: Peer,
    secure: Peer,
    quic: QuicServer,
}

impl World {
    async fn new() -> Self {
        let authority = Authority::new();
        Self {
            plain: Peer::start(ok).await,
            secure: Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await,
            quic: QuicServer::start(authority.leaf("127.0.0.1").server(&["h3"]), echo),
            authority,
        }
    }

    fn modules(&self) -> String {
        let tls = format!("tls_config: {{ca_file: '{}'}}", self.authority.ca_file.display());
        format!(
            "modules:
  http: {{prober: http, timeout: 5s}}
  https: {{prober: http, timeout: 5s, http: {{{tls}}}}}
  quic: {{prober: http, timeout: 5s, http: {{enable_http2: false, enable_http3: true, {tls}}}}}
  tcp: {{prober: tcp, timeout: 5s}}
  icmp: {{prober: icmp, timeout: 5s}}
  dns: {{prober: dns, timeout: 5s, dns: {{query_name: a.test}}}}
  ttl: {{prober: icmp, timeout: 5s, icmp: {{ttl: 7}}}}
  whole: {{prober: icmp, timeout: 5s, icmp: {{dont_fragment: true}}}}"
        )
    }

    fn targets(&self) -> [(&'static str, String); 5] {
        [
            ("http", self.plain.http()),
            ("https", self.secure.https()),
            ("quic", self.quic.url()),
            ("tcp", self.plain.address.to_string()),
            ("icmp", "127.0.0.1".to_owned()),
        ]
    }

    /// Asserts that each probe succeeds, and that failures have the same reasons as on a normal kernel.
    async fn is_as_ever(&self, exporter: &mut Elsewhere, what: &str) {
        for (module, target) in self.targets() {
            let (page, evidence) = exporter.probe(module, &target).await;
            assert_eq!(page.value("probe_success"), 1.0, "{what}, {module}: {evidence:#}");
        }
        let closed = format!("127.0.0.1:{}", free_port());
        for (module, target, reason) in [
            ("http", format!("http://{closed}/"), "tcp.refused"),
            ("tcp", closed.clone(), "tcp.refused"),
            ("quic", format!("https://{closed}/"), "quic.refused"),
            ("dns", closed.clone(), "dns.server_unreachable"),
        ] {
            let (_, evidence) = exporter.probe(module, &target).await;
            let verdict = (&evidence["verdict"]["reason"], &evidence["verdict"]["link"]);
            assert_eq!(
                verdict,
                (&reason.into(), &"edge".into()),
                "{what}, {module}: {evidence:#}"
            );
        }
        exporter.is_unshaken().await;
    }
}

/// Linux 2.6 to 6.18 return 104 to 280 bytes of `tcp_info`. Sandboxes return fewer bytes or an error.
#[tokio::test]
async fn tcp_info_of_any_length_does_not_change_the_result() {
    let world = World::new().await;
    for size in ["-1", "0", "1", "60", "103", "104", "192", "232", "240", "280"] {
        let mut exporter = Elsewhere::start(&[], &world.modules(), &[("TCP_INFO_SIZE", size)]).await;
        world.is_as_ever(&mut exporter, size).await;
        let known = size.parse::<i64>().unwrap() >= 104;
        for (module, target) in world.targets().into_iter().filter(|(module, _)| *module != "icmp") {
            let (page, evidence) = exporter.probe(module, &target).await;
            let measured = page.find("probe_tcp_rtt_seconds");
            let retransmits = page.find("probe_tcp_retransmits");
            if known || module == "quic" {
                assert!(measured.is_some_and(|rtt| rtt > 0.0), "{size}, {module}: {measured:?}");
                // On a busy machine, retransmissions can also occur here.
                assert!(retransmits.is_some(), "{size}, {module}");
            } else {
                assert_eq!((measured, retransmits), (None, None), "{size}, {module}");
                let edge = &evidence["target"]["exchanges"][0];
                assert_eq!(edge["socket"], Value::Null, "{size}, {module}: {edge:#}");
            }
        }
    }
}

/// All of these are newer than Linux 2.6, or denied by some sandboxes.
#[tokio::test]
async fn rejected_system_calls_and_options_do_not_change_the_result() {
    let world = World::new().await;
    let options = libc::SYS_setsockopt.to_string();
    let one = |level: libc::c_int, name: libc::c_int| format!("{options}:{level}:{name}");
    let ping = format!(
        "{}:{}:{}",
        libc::SYS_socket,
        libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
        libc::IPPROTO_ICMP
    );
    let young = [
        libc::SYS_statx,
        libc::SYS_getrandom,
        libc::SYS_prlimit64,
        libc::SYS_sched_getaffinity,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_copy_file_range,
        libc::SYS_close_range,
        libc::SYS_epoll_pwait2,
        libc::SYS_pidfd_open,
        libc::SYS_openat2,
        libc::SYS_faccessat2,
        libc::SYS_prctl,
        libc::SYS_sysinfo,
        libc::SYS_uname,
        libc::SYS_getrusage,
    ];
    // The call of the thread that records the timestamp of the first byte.
    let peeks = format!("{}:-:{}", libc::SYS_recvmsg, libc::MSG_PEEK | libc::MSG_DONTWAIT);
    let young = young.map(|call| call.to_string()).join(" ");
    for (what, refused) in [
        ("stamps", one(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS)),
        ("nodelay", one(libc::IPPROTO_TCP, libc::TCP_NODELAY)),
        ("hop limits", one(libc::IPPROTO_IP, libc::IP_RECVTTL)),
        ("options", options.clone()),
        ("ping sockets", ping),
        ("peeks", peeks),
        ("young system calls", young),
    ] {
        for errno in [libc::ENOPROTOOPT, libc::ENOSYS, libc::EPERM, libc::EINVAL] {
            let what = format!("{what}, errno {errno}");
            // ENOSYS for an unknown call, EPERM for a call that a sandbox denies.
            if what.starts_with("young") && errno != libc::ENOSYS && errno != libc::EPERM {
                continue;
            }
            let kernel = [("REFUSED", &*refused), ("ERRNO", &*errno.to_string())];
            let mut exporter = Elsewhere::start(&[], &world.modules(), &kernel).await;
            world.is_as_ever(&mut exporter, &what).await;
        }
    }
}

/// If the kernel rejects a socket option that the module requires, the failure is local, not in the network.
#[tokio::test]
async fn a_missing_required_option_is_a_local_fault() {
    let world = World::new().await;
    let refused = format!("{}", libc::SYS_setsockopt);
    let kernel = [("REFUSED", &*refused), ("ERRNO", "92")];
    let exporter = Elsewhere::start(&[], &world.modules(), &kernel).await;
    for module in ["ttl", "whole"] {
        let (page, evidence) = exporter.probe(module, "127.0.0.1").await;
        assert_eq!(page.value("probe_success"), 0.0);
        let verdict = (&evidence["verdict"]["reason"], &evidence["verdict"]["link"]);
        assert_eq!(
            verdict,
            (&"local.not_permitted".into(), &"local".into()),
            "{evidence:#}"
        );
    }
    let (page, _) = exporter.probe("icmp", "127.0.0.1").await;
    assert_eq!(
        page.find("probe_icmp_reply_hop_limit"),
        None,
        "an unknown hop limit must be absent, not 0"
    );
    let exporter = Elsewhere::start(&[], &world.modules(), &[]).await;
    for module in ["ttl", "whole"] {
        let (page, evidence) = exporter.probe(module, "127.0.0.1").await;
        assert_eq!(page.value("probe_success"), 1.0, "{evidence:#}");
        assert_eq!(page.value("probe_icmp_reply_hop_limit"), 64.0);
    }
}

/// Requires root for a mount namespace.
#[tokio::test]
async fn without_proc_and_sys_only_unknown_values_are_absent() {
    let world = World::new().await;
    let of_process = |page: &Page| {
        let all = page.starting("process_").map(|(name, value)| (name.to_owned(), value));
        all.collect::<Vec<_>>()
    };
    for (what, hidden) in [
        ("neither /proc nor /sys", "umount -l /proc; umount -l /sys"),
        ("no /proc/stat", "mount --bind /dev/null /proc/stat"),
        ("an empty /proc/self/stat", "mount --bind /dev/null /proc/$$/stat"),
        ("no limits", "mount --bind /dev/null /proc/$$/limits"),
    ] {
        let script = format!("{{ {hidden}; }} 2>/dev/null; exec \"$@\"");
        let before = ["unshare", "--mount", "sh", "-c", &script, "sh"];
        let mut exporter = Elsewhere::start(&before, &world.modules(), &[]).await;
        world.is_as_ever(&mut exporter, what).await;
        let (_, _, page) = exporter.get("/metrics").await;
        let page = Page::parse(&page);
        let found = of_process(&page);
        assert!(
            found.iter().all(|(_, value)| *value > 0.0 || value.is_nan()),
            "{what}: {found:?}"
        );
        let missing = match what {
            "no limits" => "process_max_fds",
            "an empty /proc/self/stat" => "process_resident_memory_bytes",
            _ => "process_start_time_seconds",
        };
        assert_eq!(page.find(missing), None, "{what}");
    }
    let exporter = Elsewhere::start(&[], &world.modules(), &[]).await;
    let (_, _, page) = exporter.get("/metrics").await;
    let page = Page::parse(&page);
    for name in [
        "start_time_seconds",
        "max_fds",
        "resident_memory_bytes",
        "threads",
        "open_fds",
    ] {
        assert!(page.value(&format!("process_{name}")) > 0.0, "{name}");
    }
}
