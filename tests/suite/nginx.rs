//! A real nginx with known delays in known phases, with and without TLS, and the durations that the page reports.

use crate::support::exporter::{Exporter, Probed};
use crate::support::page::Page;
use crate::support::peer::{Peer, read_head};
use crate::support::pki::Authority;
use crate::support::process::{Process, eventually, free_port};
use glassbox_exporter::series::{LONG_BUCKETS, PHASE_BUCKETS};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, SanType};
use rcgen::{SerialNumber, date_time_ymd};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// nginx from the Debian package, with the echo module.
const NGINX: &str = "/usr/sbin/nginx";
const ECHO_MODULE: &str = "/usr/lib/nginx/modules/ngx_http_echo_module.so";

/// Delays of nginx, in milliseconds.
const DELAYS: [u32; 3] = [0, 50, 200];

/// Line of the file that nginx serves. The file is long, compressible, and has a `Last-Modified`.
const PAGE_LINE: &str = "glass is clear, and so is this line.\n";
const PAGE_LINES: usize = 1000;
const PAGE_LENGTH: f64 = 37.0 * 1000.0;

/// Tolerance for rounding, in seconds.
const MICROSECOND: f64 = 1e-6;

/// Tolerance for the clock of nginx, in seconds. nginx uses the kernel's coarse clock, which has a resolution of up to
/// 10 ms. Events during its sleep, such as HTTP/2 acknowledgements, can shorten the sleep by that time.
const TICK: f64 = 0.010;

/// Phases of `blackbox_exporter`.
const PHASES: [&str; 5] = ["resolve", "connect", "tls", "processing", "transfer"];

/// A running nginx. It is stopped on drop.
struct Nginx {
    /// Port without TLS.
    http: u16,
    /// Port with HTTP/2 and HTTP/1.1 over TLS 1.3.
    tls13: u16,
    /// Port with HTTP/1.1 over TLS 1.2.
    tls12: u16,
    folder: TempDir,
    process: Process,
}

impl Nginx {
    /// Starts nginx with this certificate.
    async fn start(cert_file: &Path, key_file: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [http, tls13, tls12, nobody] = std::array::from_fn(|_| free_port());
        let tls = format!(
            "ssl_certificate {}; ssl_certificate_key {};",
            cert_file.display(),
            key_file.display()
        );
        // nginx runs as one process, because the workers of a killed master would stay alive.
        let config = format!(
            "load_module {ECHO_MODULE};\n\
             daemon off; master_process off; pid nginx.pid; error_log error.log warn;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n\
             access_log off; types {{ text/plain txt; }} default_type text/plain;\n\
             client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;\n\
             scgi_temp_path scgi;\n\
             server {{ listen 127.0.0.1:{http}; include site.conf; }}\n\
             server {{ listen 127.0.0.1:{tls13} ssl http2; include site.conf; {tls}\n\
             ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; }}\n\
             server {{ listen 127.0.0.1:{tls12} ssl; include site.conf; {tls}\n\
             ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384; }}\n\
             }}\n"
        );
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("nginx.conf", &config);
        write("site.conf", &site(http, tls12, nobody));
        write("users", "probe:{PLAIN}open sesame\n");
        std::fs::create_dir(folder.path().join("html")).unwrap();
        write("html/page.txt", &PAGE_LINE.repeat(PAGE_LINES));
        let mut command = Command::new(NGINX);
        for (flag, file) in [("-p", ""), ("-c", "nginx.conf"), ("-e", "error.log")] {
            command.arg(flag).arg(folder.path().join(file));
        }
        let mut nginx = Self {
            http,
            tls13,
            tls12,
            process: Process::start(command.stdin(Stdio::null())),
            folder,
        };
        eventually("nginx listens", async || nginx.listens().await).await;
        nginx
    }

    async fn listens(&mut self) -> bool {
        if let Some(status) = self.process.0.try_wait().unwrap() {
            let log = std::fs::read_to_string(self.folder.path().join("error.log"));
            panic!("nginx ended with {status}: {log:?}; `make deps` installs the packages for the tests");
        }
        TcpStream::connect(("127.0.0.1", self.http)).await.is_ok()
    }
}

/// The locations of every server block. The port `nobody` has no listener.
fn site(http: u16, tls: u16, nobody: u16) -> String {
    let mut site = format!(
        "location /page.txt {{ root html; }}\n\
         location /zipped.txt {{ alias html/page.txt; gzip on; gzip_types text/plain; }}\n\
         location /guarded {{ auth_basic glass; auth_basic_user_file users; echo hello $remote_user; }}\n\
         location /old {{ return 302 /head/0; }}\n\
         location /secured {{ return 301 https://127.0.0.1:{tls}/head/0; }}\n\
         location /lost {{ return 302 /bad-gateway; }}\n\
         location /bad-gateway {{ proxy_pass http://127.0.0.1:{nobody}; }}\n\
         location /through/ {{ proxy_pass http://127.0.0.1:{http}/; proxy_http_version 1.1; proxy_buffering off; }}\n\
         location /hung-up {{ return 444; }}\n\
         location /head/never {{ echo_sleep 600; echo late; }}\n\
         location /body/never {{ echo -n start; echo_flush; echo_sleep 600; echo end; }}\n"
    );
    for delay in DELAYS {
        let seconds = f64::from(delay) / 1000.0;
        write!(
            site,
            "location = /head/{delay} {{ echo_sleep {seconds}; echo done; }}\n\
             location = /body/{delay} {{ echo -n start; echo_flush; echo_sleep {seconds}; echo end; }}\n"
        )
        .unwrap();
    }
    site
}

/// An nginx with a valid certificate, and an exporter that trusts it.
struct Scene {
    nginx: Nginx,
    exporter: Exporter,
    _authority: Authority,
}

impl Scene {
    /// Starts both with the modules `http1`, `http2`, `peer` and the given ones: name and keys. `TLS` in the keys
    /// stands for the trusted CA.
    async fn start(modules: &[(&str, &str)]) -> Self {
        let authority = Authority::new();
        let (cert_file, key_file) = authority.files("127.0.0.1");
        let tls = format!("tls_config: {{ca_file: '{}'}}", authority.ca_file.display());
        let mut config = "modules:\n".to_owned();
        let ours = [
            ("http1", "http: {enable_http2: false, TLS}"),
            ("http2", "http: {TLS}"),
            ("peer", "metrics: blackbox, http: {TLS}"),
        ];
        for (name, keys) in ours.iter().chain(modules) {
            writeln!(config, "  {name}: {{prober: http, {}}}", keys.replace("TLS", &tls)).unwrap();
        }
        Self {
            nginx: Nginx::start(&cert_file, &key_file).await,
            exporter: Exporter::start(&config).await,
            _authority: authority,
        }
    }

    fn http(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.nginx.http)
    }

    fn tls13(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.nginx.tls13)
    }

    fn tls12(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.nginx.tls12)
    }
}

#[track_caller]
fn assert_says(page: &Page, series: &str, expected: f64) {
    let value = page.value(series);
    assert!(
        (value - expected).abs() < MICROSECOND,
        "{series} is {value}, not {expected}"
    );
}

/// Asserts that the probe succeeded, and that its phases and `probe_unattributed_seconds` add up to its duration.
#[track_caller]
fn assert_succeeded(probed: &Probed) {
    let page = &probed.page;
    assert!(page.value("probe_success") > 0.5, "{}", probed.evidence);
    let phases: f64 = PHASES.into_iter().map(|phase| gauge(page, phase)).sum();
    let exported = phases + page.value("probe_unattributed_seconds");
    assert_says(page, "probe_duration_seconds", exported);
    assert_timings_balance(probed);
}

/// Asserts that the phases in the evidence do not overlap, and that they and the unattributed time add up to the
/// duration.
#[track_caller]
fn assert_timings_balance(probed: &Probed) {
    let edge = &probed.evidence["target"];
    let seconds = |of: &serde_json::Value, key: &str| of[key].as_f64().unwrap();
    let (mut at, mut attributed) = (0.0, 0.0);
    for exchange in edge["exchanges"].as_array().unwrap() {
        for timing in exchange["phases"].as_array().unwrap() {
            let begun = seconds(timing, "start_seconds");
            assert!(begun >= at - MICROSECOND, "{timing} starts before {at}: {edge:#}");
            let took = seconds(timing, "duration_seconds");
            at = begun + took;
            attributed += took;
        }
    }
    let whole = seconds(edge, "duration_seconds");
    assert!(at <= whole + MICROSECOND, "a phase ends after the probe: {edge:#}");
    let told = attributed + seconds(edge, "unattributed_seconds");
    assert!((told - whole).abs() < MICROSECOND, "{told} of {whole} s: {edge:#}");
    assert_says(&probed.page, "probe_duration_seconds", whole);
}

fn phase_gauge(phase: &str) -> String {
    format!("probe_http_duration_seconds{{phase=\"{phase}\"}}")
}

fn gauge(page: &Page, phase: &str) -> f64 {
    page.value(&phase_gauge(phase))
}

/// Asserts that the histogram has exactly these observations.
#[track_caller]
fn assert_histogram_of(observed: &[f64], page: &Page, name: &str, phase: Option<&str>, bounds: &[f64]) {
    let labels = phase.map(|phase| format!("phase=\"{phase}\"")).unwrap_or_default();
    let comma = if labels.is_empty() { "" } else { "," };
    let plain = phase.map(|_| format!("{{{labels}}}")).unwrap_or_default();
    let count = |bound: f64| f64::from(u32::try_from(observed.iter().filter(|at| **at <= bound).count()).unwrap());
    for bound in bounds {
        assert_says(
            page,
            &format!("{name}_bucket{{{labels}{comma}le=\"{bound:?}\"}}"),
            count(*bound),
        );
    }
    let all = count(f64::INFINITY);
    assert_says(page, &format!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}}"), all);
    assert_says(page, &format!("{name}_count{plain}"), all);
    assert_says(page, &format!("{name}_sum{plain}"), observed.iter().sum());
}

/// Number of probes of each location.
const PROBES: usize = 8;

/// Probes each location several times, and asserts that each delay is in the right phase.
async fn assert_the_phases_tell(scene: &Scene, module: &str, base: &str, version: f64) {
    let https = base.starts_with("https");
    for place in [Place::Head, Place::Body] {
        for delay in DELAYS {
            let target = format!("{base}{}/{delay}", place.path());
            let (mut pages, mut wholes, mut split) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..PROBES {
                let probed = scene.exporter.probe(module, &target).await;
                assert_succeeded(&probed);
                assert_says(&probed.page, "probe_http_version", version);
                assert_says(&probed.page, "probe_http_ssl", f64::from(u8::from(https)));
                // The histogram of the whole probe excludes the exporter's own delay.
                wholes.push(probed.page.value("probe_duration_seconds") - scheduling_delay(&probed));
                // On a busy machine packets may be merged. Then the two phases are not observed.
                split.push(notes(&probed).is_empty());
                pages.push(probed.page);
            }
            let early = if version > 1.1 { TICK } else { 0.0 };
            assert_the_delay_is_in(place, f64::from(delay) / 1000.0, early, &pages);
            assert_the_histograms_hold_the_gauges(&pages, &split, &wholes, https);
        }
    }
}

/// Position of the delay in the response.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before the first byte.
    Head,
    /// Between the first and last byte of the body.
    Body,
}

impl Place {
    const fn path(self) -> &'static str {
        match self {
            Self::Head => "/head",
            Self::Body => "/body",
        }
    }

    const fn phase(self) -> &'static str {
        match self {
            Self::Head => "processing",
            Self::Body => "transfer",
        }
    }
}

/// Asserts that every probe has the delay, and that its phase is longer than all other phases together.
#[track_caller]
fn assert_the_delay_is_in(place: Place, delay: f64, early: f64, pages: &[Page]) {
    for page in pages {
        let held = match place {
            Place::Head => gauge(page, "processing"),
            // If this process sees the first byte late, part of the delay is in `processing`.
            Place::Body => gauge(page, "processing") + gauge(page, "transfer"),
        };
        assert!(held >= delay - early, "{place:?} {delay}: {held}");
    }
    if delay > 0.0 {
        // A busy machine may lengthen the other phases or shorten the slow one, but not in every probe.
        let times = |name: String| pages.iter().map(move |page| page.value(&name));
        let slow = times(phase_gauge(place.phase())).fold(0.0, f64::max);
        let others = PHASES.into_iter().filter(|phase| *phase != place.phase());
        let others = others.map(phase_gauge).chain(["probe_unattributed_seconds".to_owned()]);
        let others: f64 = others.map(|name| times(name).fold(f64::INFINITY, f64::min)).sum();
        assert!(others < slow, "{place:?} {delay}: {pages:#?}");
    }
}

/// Asserts that the histograms of the last page contain the gauges of all pages. `split` marks the probes with separate
/// durations of processing and transfer.
#[track_caller]
fn assert_the_histograms_hold_the_gauges(pages: &[Page], split: &[bool], wholes: &[f64], https: bool) {
    let last = pages.last().unwrap();
    for phase in PHASES {
        let known = pages.iter().zip(split);
        let known = known.filter(|(_, split)| **split || !matches!(phase, "processing" | "transfer"));
        let observed: Vec<f64> = known.map(|(page, _)| gauge(page, phase)).collect();
        let name = "probe_phase_duration_seconds";
        if https || phase != "tls" {
            assert_histogram_of(&observed, last, name, Some(phase), &PHASE_BUCKETS);
        } else {
            let rows = last.starting(&format!("{name}_count{{phase=\"tls\"")).count();
            assert_eq!(rows, 0, "a target without TLS must have no series with the phase tls");
        }
    }
    assert_histogram_of(wholes, last, "probe_success_duration_seconds", None, &LONG_BUCKETS);
}

/// Notes about the durations of a probe.
fn notes(probed: &Probed) -> &[serde_json::Value] {
    probed.evidence["target"]["exchanges"][0]["notes"].as_array().unwrap()
}

/// Scheduling delay of the exporter within the probe, in seconds.
fn scheduling_delay(probed: &Probed) -> f64 {
    let exchanges = probed.evidence["target"]["exchanges"].as_array().unwrap();
    exchanges
        .iter()
        .map(|exchange| exchange["clocks"]["scheduling_delay_seconds"].as_f64().unwrap())
        .sum()
}

#[tokio::test]
async fn plain_http_phases_distinguish_slow_headers_from_slow_bodies() {
    let scene = Scene::start(&[]).await;
    assert_the_phases_tell(&scene, "http1", &scene.http(""), 1.1).await;
}

#[tokio::test]
async fn http_1_tls_phases_distinguish_slow_headers_from_slow_bodies() {
    let scene = Scene::start(&[]).await;
    assert_the_phases_tell(&scene, "http1", &scene.tls12(""), 1.1).await;
}

#[tokio::test]
async fn http_2_tls_phases_distinguish_slow_headers_from_slow_bodies() {
    let scene = Scene::start(&[]).await;
    assert_the_phases_tell(&scene, "http2", &scene.tls13(""), 2.0).await;
}

#[tokio::test]
async fn phases_through_a_tls_edge_distinguish_slow_headers_from_slow_bodies() {
    let scene = Scene::start(&[]).await;
    assert_the_phases_tell(&scene, "http2", &scene.tls13("/through"), 2.0).await;
}

#[tokio::test]
async fn the_phases_of_a_failed_probe_add_up_to_its_duration() {
    const ANSWERED: &str = "resolve connect request processing transfer";
    const ANSWERED_TLS: &str = "resolve connect tls request processing transfer";
    let scene = Scene::start(&[("hurried", "timeout: 1s, http: {TLS}")]).await;
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let redirected = format!("{ANSWERED} {ANSWERED}");
    let plain_port = scene.http("/").replace("http", "https");
    let tls_port = scene.tls13("/").replace("https", "http");
    let rows = [
        ("http1", scene.http("/bad-gateway"), "http.status", ANSWERED),
        ("http1", scene.tls12("/bad-gateway"), "http.status", ANSWERED_TLS),
        ("http2", scene.tls13("/bad-gateway"), "http.status", ANSWERED_TLS),
        ("http1", scene.http("/lost"), "http.status", redirected.as_str()),
        ("http1", nobody, "tcp.refused", "resolve connect!"),
        ("http1", plain_port, "tls.not_supported", "resolve connect tls!"),
        ("http1", tls_port, "http.status", ANSWERED),
        (
            "http1",
            scene.http("/hung-up"),
            "http.closed_before_response",
            "resolve connect request processing!",
        ),
        (
            "http2",
            scene.tls13("/hung-up"),
            "http.closed_before_response",
            "resolve connect tls request processing!",
        ),
        (
            "hurried",
            scene.http("/head/never"),
            "http.timed_out_waiting",
            "resolve connect request processing!",
        ),
        (
            "hurried",
            scene.tls13("/body/never"),
            "http.timed_out_mid_body",
            "resolve connect tls request processing transfer!",
        ),
    ];
    for (module, target, reason, timings) in rows {
        let probed = scene.exporter.probe(module, &target).await;
        assert_says(&probed.page, "probe_success", 0.0);
        // Only the fault is checked here, not the verdict.
        let fault = &probed.evidence["target"]["fault"];
        assert_eq!(fault["reason"], reason, "{target}: {}", probed.evidence);
        let seen: Vec<String> = probed
            .timings()
            .into_iter()
            .map(|(phase, _, failed)| if failed.is_some() { phase + "!" } else { phase })
            .collect();
        assert_eq!(seen.join(" "), timings, "{target}");
        assert_timings_balance(&probed);
    }
}

#[tokio::test]
async fn an_early_response_counts_no_time_twice() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let body = "x".repeat(8 << 20);
    let config = format!("modules: {{upload: {{prober: http, http: {{method: POST, body: {body}}}}}}}");
    let exporter = Exporter::start(&config).await;
    for (first, then) in [(HEAD.to_owned(), "early"), (format!("{HEAD}early"), "")] {
        // The server lets the request queue up, responds, and then reads the request. When the exporter next polls the
        // socket, it finds both the response and room for the rest of the request.
        let peer = Peer::start(move |mut stream: TcpStream| {
            let first = first.clone();
            async move {
                read_head(&mut stream).await;
                stream.write_all(first.as_bytes()).await.unwrap();
                let mut taken = vec![0; 1 << 20];
                while stream.try_read(&mut taken).is_ok_and(|count| count > 0) {}
                tokio::task::yield_now().await;
                while stream.try_read(&mut taken).is_ok_and(|count| count > 0) {}
                let _ = stream.write_all(then.as_bytes()).await;
                while stream.read(&mut taken).await.is_ok_and(|count| count > 0) {}
            }
        })
        .await;
        for _ in 0..PROBES {
            assert_succeeded(&exporter.probe("upload", &peer.http()).await);
        }
    }
}

/// Output of `openssl x509` for the first certificate of a file: lines of `name=value`.
fn openssl_says(cert_file: &Path) -> BTreeMap<String, String> {
    let told = Command::new("openssl")
        .args([
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-serial",
            "-subject",
            "-issuer",
            "-enddate",
        ])
        .args(["-nameopt", "RFC2253", "-ext", "subjectAltName", "-in"])
        .arg(cert_file)
        .output()
        .expect("`make deps` installs openssl");
    assert!(told.status.success(), "{told:?}");
    let text = String::from_utf8(told.stdout).unwrap();
    text.lines()
        .map(|line| line.split_once('=').unwrap_or(("names", line.trim())))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A date as openssl prints it, in seconds since 1970.
fn seconds_at(date: &str) -> f64 {
    let told = Command::new("date").args(["-u", "+%s", "-d", date]).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().parse().unwrap()
}

/// Writes a chain of three certificates whose intermediate expires first. Returns the files with leaf and intermediate,
/// the key of the leaf, and the root.
fn chain_into(folder: &Path) -> [std::path::PathBuf; 3] {
    let named = |parts: &[(DnType, &str)], year: i32| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.not_after = date_time_ymd(year, 2, 3);
        params
    };
    let authority = |name: &str, year: i32| {
        let mut params = named(
            &[(DnType::OrganizationName, "Glass, Box"), (DnType::CommonName, name)],
            year,
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let key = || KeyPair::generate().unwrap();
    let root = CertifiedIssuer::self_signed(authority("Root", 2063), key()).unwrap();
    let middle = CertifiedIssuer::signed_by(authority("Middle", 2061), key(), &root).unwrap();
    let mut params = named(&[(DnType::CountryName, "DE"), (DnType::CommonName, "glass.test")], 2062);
    params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc, 0x00, 0xff]));
    params.subject_alt_names = ["glass.test", "www.glass.test"]
        .map(|name| SanType::DnsName(name.try_into().unwrap()))
        .to_vec();
    let leaf_key = key();
    let leaf = params.signed_by(&leaf_key, &middle).unwrap();
    let files = ["chain.pem", "key.pem", "root.pem"].map(|name| folder.join(name));
    let texts = [leaf.pem() + &middle.pem(), leaf_key.serialize_pem(), root.pem()];
    for (file, text) in files.iter().zip(texts) {
        std::fs::write(file, text).unwrap();
    }
    files
}

#[tokio::test]
async fn the_certificate_gauges_match_openssl() {
    let folder = tempfile::tempdir().unwrap();
    let [cert_file, key_file, root_file] = chain_into(folder.path());
    let nginx = Nginx::start(&cert_file, &key_file).await;
    let exporter = Exporter::start(&format!(
        "modules: {{named: {{prober: http, http: {{tls_config: {{ca_file: '{}', server_name: glass.test}}}}}}}}",
        root_file.display()
    ))
    .await;
    let probed = exporter
        .probe("named", &format!("https://127.0.0.1:{}/head/0", nginx.tls13))
        .await;
    assert_succeeded(&probed);

    let told = openssl_says(&cert_file);
    let labels = [
        (
            "fingerprint_sha256",
            told["sha256 Fingerprint"].replace(':', "").to_lowercase(),
        ),
        ("issuer", told["issuer"].replace('\\', "\\\\")),
        ("serialnumber", told["serial"].to_lowercase()),
        ("subject", told["subject"].replace('\\', "\\\\")),
        (
            "subjectalternative",
            told["names"].replace("DNS:", "").replace(", ", ","),
        ),
    ];
    assert_eq!(labels[2].1, "0abc00ff");
    assert!(labels[1].1.contains("Glass\\\\, Box"), "{labels:?}");
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    assert_says(
        &probed.page,
        &format!("probe_ssl_last_chain_info{{{}}}", labels.join(",")),
        1.0,
    );

    // The intermediate, which nginx sends with the leaf, expires before the leaf.
    let leaf_ends = seconds_at(&told["notAfter"]);
    let pem = std::fs::read_to_string(&cert_file).unwrap();
    let middle_at = pem.rfind("-----BEGIN").unwrap();
    let middle_file = folder.path().join("middle.pem");
    std::fs::write(&middle_file, &pem[middle_at..]).unwrap();
    let middle_ends = seconds_at(&openssl_says(&middle_file)["notAfter"]);
    assert!(middle_ends < leaf_ends);
    assert_says(&probed.page, "probe_ssl_earliest_cert_expiry", middle_ends);
    assert_says(
        &probed.page,
        "probe_ssl_last_chain_expiry_timestamp_seconds",
        middle_ends,
    );
}

#[tokio::test]
async fn the_tls_gauges_match_the_nginx_configuration() {
    let scene = Scene::start(&[]).await;
    let rows = [
        (
            "http2",
            scene.tls13("/head/0"),
            "TLS 1.3",
            "TLS_AES_128_GCM_SHA256",
            2.0,
        ),
        (
            "http1",
            scene.tls13("/head/0"),
            "TLS 1.3",
            "TLS_AES_128_GCM_SHA256",
            1.1,
        ),
        // This server does not offer HTTP/2.
        (
            "http2",
            scene.tls12("/head/0"),
            "TLS 1.2",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            1.1,
        ),
    ];
    for (module, target, tls, cipher, version) in rows {
        let Probed { page, .. } = scene.exporter.probe(module, &target).await;
        assert_says(&page, "probe_http_ssl", 1.0);
        assert_says(&page, "probe_http_version", version);
        assert_says(&page, &format!("probe_tls_version_info{{version=\"{tls}\"}}"), 1.0);
        assert_says(&page, &format!("probe_tls_cipher_info{{cipher=\"{cipher}\"}}"), 1.0);
        assert_eq!(page.starting("probe_tls_").count(), 2);
    }
    let Probed { page, .. } = scene.exporter.probe("http2", &scene.http("/head/0")).await;
    assert_says(&page, "probe_http_ssl", 0.0);
    assert_eq!(
        page.starting("probe_tls_").count() + page.starting("probe_ssl_").count(),
        0
    );
}

#[tokio::test]
async fn a_gzip_body_is_measured_and_matched_decompressed() {
    const WHOLE: &str = "fail_if_body_not_matches_regexp: ['^(glass is clear, and so is this line.\\n)+$']";
    let accepting = format!("http: {{headers: {{Accept-Encoding: gzip}}, {WHOLE}}}");
    let unzipping = accepting.replace("headers", "compression: gzip, headers");
    let blind = format!("http: {{compression: gzip, {WHOLE}}}");
    let scene = Scene::start(&[("unzipping", &unzipping), ("accepting", &accepting), ("blind", &blind)]).await;
    let target = scene.http("/zipped.txt");
    let wire = |probed: &Probed| {
        probed.evidence["target"]["exchanges"][0]["bytes_read"]
            .as_f64()
            .unwrap()
    };

    let unzipped = scene.exporter.probe("unzipping", &target).await;
    assert_succeeded(&unzipped);
    assert_says(&unzipped.page, "probe_http_uncompressed_body_length", PAGE_LENGTH);
    // nginx compresses the body while it sends it, so the length is unknown.
    assert_says(&unzipped.page, "probe_http_content_length", -1.0);
    assert!(
        wire(&unzipped) < PAGE_LENGTH / 2.0,
        "the body was not compressed: {}",
        unzipped.evidence
    );

    let zipped = scene.exporter.probe("accepting", &target).await;
    assert_says(&zipped.page, "probe_success", 0.0);
    assert_says(&zipped.page, "probe_failed_due_to_regex", 1.0);
    assert!(zipped.page.value("probe_http_uncompressed_body_length") < wire(&zipped));
    assert_eq!(zipped.evidence["target"]["fault"]["reason"], "content.body");

    // As in `blackbox_exporter`, decoding fails, because the module did not request gzip and nginx did not compress.
    let blind = scene.exporter.probe("blind", &target).await;
    assert_says(&blind.page, "probe_success", 0.0);
    assert_says(&blind.page, "probe_http_content_length", PAGE_LENGTH);
    assert_eq!(blind.evidence["target"]["fault"]["reason"], "http.response.bad_coding");
}

#[tokio::test]
async fn basic_auth_works_with_nginx_and_is_never_shown() {
    let credentials = "http: {fail_if_body_not_matches_regexp: ['^hello probe\\n$'], \
                       basic_auth: {username: probe, password: PASSWORD}}";
    let right = credentials.replace("PASSWORD", "open sesame");
    let wrong = credentials.replace("PASSWORD", "open barley");
    let scene = Scene::start(&[("right", &right), ("wrong", &wrong)]).await;
    let target = scene.http("/guarded");

    let opened = scene.exporter.probe("right", &target).await;
    assert_succeeded(&opened);
    let with_userinfo = scene.http("/guarded").replace("//", "//probe:open%20sesame@");
    let by_url = scene.exporter.probe("http1", &with_userinfo).await;
    assert_succeeded(&by_url);
    for (module, label) in [("wrong", "401"), ("http1", "401")] {
        let refused = scene.exporter.probe(module, &target).await;
        assert_says(&refused.page, "probe_success", 0.0);
        assert_says(&refused.page, "probe_http_status_code", 401.0);
        assert_says(
            &refused.page,
            &format!("probe_http_responses_total{{code=\"{label}\"}}"),
            1.0,
        );
        assert_eq!(refused.evidence["target"]["fault"]["reason"], "http.status");
    }
    for shown in [opened.evidence.to_string(), by_url.evidence.to_string()] {
        assert!(
            !shown.contains("sesame") && !shown.contains("cHJvYmU6b3BlbiBzZXNhbWU="),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_followed_redirect_is_a_separate_exchange() {
    let scene = Scene::start(&[
        ("staying", "http: {follow_redirects: false}"),
        (
            "expecting",
            "http: {follow_redirects: false, valid_status_codes: [302]}",
        ),
    ])
    .await;
    let exchanges = |probed: &Probed| probed.evidence["target"]["exchanges"].as_array().unwrap().len();

    let followed = scene.exporter.probe("http1", &scene.http("/old")).await;
    assert_succeeded(&followed);
    assert_says(&followed.page, "probe_http_redirects", 1.0);
    assert_says(&followed.page, "probe_http_status_code", 200.0);
    assert_says(&followed.page, "probe_http_responses_total{code=\"200\"}", 1.0);
    assert_says(&followed.page, "probe_http_responses_total{code=\"302\"}", 0.0);
    assert_eq!(exchanges(&followed), 2);

    let secured = scene.exporter.probe("http1", &scene.http("/secured")).await;
    assert_succeeded(&secured);
    assert_says(&secured.page, "probe_http_redirects", 1.0);
    assert_says(&secured.page, "probe_http_ssl", 1.0);
    assert_says(&secured.page, "probe_phase_duration_seconds_count{phase=\"tls\"}", 1.0);
    assert!(gauge(&secured.page, "tls") > 0.0);

    let stayed = scene.exporter.probe("staying", &scene.http("/old")).await;
    assert_says(&stayed.page, "probe_success", 0.0);
    let expected = scene.exporter.probe("expecting", &scene.http("/old")).await;
    assert_succeeded(&expected);
    for probed in [stayed, expected] {
        assert_says(&probed.page, "probe_http_redirects", 1.0);
        assert_says(&probed.page, "probe_http_status_code", 302.0);
        assert_says(&probed.page, "probe_http_uncompressed_body_length", 0.0);
        assert_says(&probed.page, "probe_http_responses_total{code=\"302\"}", 1.0);
        assert_eq!(exchanges(&probed), 1);
    }
}

/// Asserts that `promtool check metrics` reports nothing.
#[track_caller]
fn assert_promtool_accepts(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`make deps` installs promtool");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let words = [said.stdout, said.stderr].concat();
    assert!(
        said.status.success() && words.is_empty(),
        "{}",
        String::from_utf8_lossy(&words)
    );
}

#[tokio::test]
async fn promtool_accepts_every_page() {
    let scene = Scene::start(&[("full", "metrics: full, http: {TLS}")]).await;
    let targets = [
        scene.http("/page.txt"),
        scene.tls13("/page.txt"),
        scene.tls12("/bad-gateway"),
        format!("http://127.0.0.1:{}/", free_port()),
    ];
    for module in ["peer", "http2", "full"] {
        for target in &targets {
            let path = format!("/probe?module={module}&target={target}");
            assert_promtool_accepts(&scene.exporter.get(&path).await.text().await.unwrap());
        }
    }
    assert_promtool_accepts(&scene.exporter.get("/metrics").await.text().await.unwrap());
}

#[tokio::test]
async fn a_healthy_target_stays_within_the_series_budget() {
    let scene = Scene::start(&[]).await;
    for (target, budget) in [(scene.http("/page.txt"), 109), (scene.tls13("/page.txt"), 130)] {
        let Probed { page: first, .. } = scene.exporter.probe("http2", &target).await;
        let page = scene.exporter.probe("http2", &target).await.page;
        assert_says(&page, "probe_success", 1.0);
        assert!(page.value("probe_http_last_modified_timestamp_seconds") > 0.0);
        assert!(
            page.len() <= budget,
            "{target} has {} series, maximum {budget}",
            page.len()
        );
        assert_eq!(first.len(), page.len(), "every series must exist from the first scrape");
    }
}

#[tokio::test]
async fn the_level_blackbox_has_exactly_the_families_of_blackbox_exporter() {
    const PLAIN: [&str; 15] = [
        "probe_dns_lookup_time_seconds",
        "probe_duration_seconds",
        "probe_failed_due_to_regex",
        "probe_http_content_length",
        "probe_http_duration_seconds",
        "probe_http_last_modified_timestamp_seconds",
        "probe_http_redirects",
        "probe_http_ssl",
        "probe_http_status_code",
        "probe_http_uncompressed_body_length",
        "probe_http_version",
        "probe_ip_addr_hash",
        "probe_ip_protocol",
        "probe_success",
        "probe_timeout_seconds",
    ];
    const TLS: [&str; 5] = [
        "probe_ssl_earliest_cert_expiry",
        "probe_ssl_last_chain_expiry_timestamp_seconds",
        "probe_ssl_last_chain_info",
        "probe_tls_cipher_info",
        "probe_tls_version_info",
    ];
    let scene = Scene::start(&[]).await;
    for (target, more) in [(scene.http("/page.txt"), &[][..]), (scene.tls13("/page.txt"), &TLS)] {
        let Probed { page, .. } = scene.exporter.probe("peer", &target).await;
        let families: BTreeSet<&str> = page
            .starting("")
            .map(|(name, _)| name.split('{').next().unwrap())
            .collect();
        assert_eq!(families, PLAIN.iter().chain(more).copied().collect());
        for phase in PHASES {
            assert!(gauge(&page, phase) >= 0.0);
        }
        // One series for each family, plus four more phases.
        assert_eq!(page.len(), families.len() + 4);
    }
}
