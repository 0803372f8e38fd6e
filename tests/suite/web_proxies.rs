//! The ways for browsers in `examples/browsers`: the files as they are, with a real nginx, except for names, ports and
//! files. The single sign-on server is a stand-in, because tests do not have oauth2-proxy.

use crate::examples::example;
use crate::serving::Running;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use crate::support::process::{Process, free_port};
use serde_json::Value;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

const NAME: &str = "probes.example.com";

const USERS: &str = "/etc/nginx/glassbox.htpasswd";

const MODULES: &str = "modules:\n  http_2xx: {prober: http}\n";

/// A response as curl received it.
#[derive(Debug)]
struct Response {
    status: u16,
    location: String,
    body: String,
}

/// A name with a certificate, and the port at which a proxy or exporter serves it.
struct Site {
    authority: Authority,
    port: u16,
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let (authority, port, folder) = (Authority::new(), free_port(), tempfile::tempdir().unwrap());
        Self {
            authority,
            port,
            folder,
        }
    }

    /// The URL of a path, as a browser sees it.
    fn url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.port)
    }

    /// Requests a path. Sends it as it is, with the flags of curl.
    fn curl(&self, path: &str, flags: &[&str]) -> Response {
        let at = format!("{NAME}:{}:127.0.0.1", self.port);
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--noproxy",
                "*",
                "--path-as-is",
                "--resolve",
                &at,
            ])
            .args(["--write-out", "\n%{http_code}\n%{header_json}"])
            .arg("--cacert")
            .arg(&self.authority.ca_file)
            .args(flags)
            .arg(self.url(path))
            .output()
            .expect("`make deps` installs curl");
        assert!(output.status.success(), "{path}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        // Without an object in a body that ends the response, the header is the last object that starts a line.
        let (rest, header) = text.rsplit_once("\n{").unwrap();
        let (body, status) = rest.rsplit_once('\n').unwrap();
        let header: Value = serde_json::from_str(&format!("{{{header}")).unwrap();
        Response {
            status: status.parse().unwrap(),
            location: header["location"][0].as_str().unwrap_or_default().to_owned(),
            body: body.to_owned(),
        }
    }

    /// Starts nginx with an example, in which some texts are replaced.
    async fn nginx(&self, name: &str, replaced: &[(&str, &str)]) -> Process {
        let (certificate, key) = self.authority.files(NAME);
        let [certificate, key] = [certificate, key].map(|file| file.display().to_string());
        let listen = format!("listen 127.0.0.1:{} ssl;", self.port);
        let files = [
            ("listen 443 ssl;", listen.as_str()),
            ("listen [::]:443 ssl;", ""),
            ("/etc/nginx/probes.example.com.pem", &certificate),
            ("/etc/nginx/probes.example.com-key.pem", &key),
        ];
        let site = example(&format!("browsers/{name}"));
        self.nginx_with(&site, &[&files[..], replaced].concat()).await
    }

    /// Starts nginx with the configuration of a site.
    async fn nginx_with(&self, site: &str, replaced: &[(&str, &str)]) -> Process {
        let folder = self.folder.path();
        let users = folder.join("users");
        std::fs::write(&users, "oncall:{PLAIN}changeme\n").unwrap();
        let mut site = site.replace(USERS, users.to_str().unwrap());
        for (old, new) in replaced {
            assert!(site.contains(old), "{old}");
            site = site.replace(old, new);
        }
        std::fs::write(folder.join("site.conf"), site).unwrap();
        let main = "daemon off; master_process off; pid nginx.pid; error_log error.log notice;\n\
                    events { worker_connections 64; }\n\
                    http { access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
                    uwsgi_temp_path uwsgi; scgi_temp_path scgi; include site.conf; }\n";
        std::fs::write(folder.join("nginx.conf"), main).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        for (flag, file) in [("-p", ""), ("-c", "nginx.conf"), ("-e", "error.log")] {
            command.arg(flag).arg(folder.join(file));
        }
        let mut nginx = Process::start(command.stdin(Stdio::null()));
        nginx.listens(self.port).await;
        nginx
    }
}

/// Starts an exporter with this external URL, and probes a target. Returns the ID of the evidence.
async fn exporter(flags: &[&str], target: &Peer) -> (Running, String) {
    let running = Running::start(MODULES, flags).await;
    let id = probed(&running, target).await;
    (running, id)
}

async fn probed(running: &Running, target: &Peer) -> String {
    let probed = running.get(&format!("/probe?target={}", target.http())).await;
    assert_eq!(probed.status(), 200);
    probed.headers()["x-glassbox-evidence"].to_str().unwrap().to_owned()
}

/// The links, forms and files of a page that start with a slash.
fn links(page: &str) -> Vec<&str> {
    let parts = ["href=\"", "src=\"", "action=\""].iter();
    parts
        .flat_map(|key| page.split(key).skip(1))
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|link| link.starts_with('/'))
        .collect()
}

/// Paths that must stay closed, also in spellings that a proxy and an exporter may read differently.
const CLOSED: [&str; 14] = [
    "/probe?target=http://127.0.0.1/",
    "/-/reload",
    "/-/healthy",
    "/config",
    "/logs?target=a",
    "/metrics",
    "/evidence/../probe?target=a",
    "/evidence/..%2fprobe?target=a",
    "/evidence/%2e%2e/probe?target=a",
    "/evidence/..;/probe?target=a",
    "//probe?target=a",
    "/probe/../evidence/x",
    "/./probe?target=a",
    "/evidencex/probe",
];

#[track_caller]
fn assert_closed(site: &Site, login: &[&str]) {
    for path in CLOSED {
        for method in ["GET", "POST"] {
            let flags = [login, &["--request", method]].concat();
            let status = site.curl(path, &flags).status;
            // nginx refuses most of them. The exporter does not know the others, or the last shard is down (502).
            assert!([400, 403, 404, 405, 502].contains(&status), "{method} {path}: {status}");
        }
    }
}

const LOGIN: [&str; 2] = ["--user", "oncall:changeme"];

#[tokio::test]
async fn nginx_with_passwords_opens_the_pages_and_nothing_else() {
    let (site, target) = (Site::new(), Peer::start(ok).await);
    let external = format!("--web.external-url={}", site.url("/"));
    let (running, id) = exporter(&[&external], &target).await;
    let replaced = [("127.0.0.1:9115", running.addresses[0].as_str())];
    let _nginx = site.nginx("basic-auth.conf", &replaced).await;
    let evidence = format!("/evidence/{id}");
    for path in ["/", "/style.css", "/evidence?target=a", &evidence] {
        assert_eq!(site.curl(path, &[]).status, 401, "{path}");
        assert_eq!(site.curl(path, &["--user", "oncall:wrong"]).status, 401, "{path}");
    }
    let page = site.curl(&evidence, &LOGIN);
    assert_eq!(page.status, 200, "{page:?}");
    let home = site.curl("/", &LOGIN);
    assert!(links(&home.body).contains(&evidence.as_str()), "{home:?}");
    for path in ["/style.css", "/copy.js", "/refresh.js"] {
        assert_eq!(site.curl(path, &LOGIN).status, 200, "{path}");
    }
    for form in [".json", ".har"] {
        assert_eq!(site.curl(&format!("{evidence}{form}"), &LOGIN).status, 200);
    }
    // The link of an alert.
    let of_target = site.curl(&format!("/evidence?target={}", target.http()), &LOGIN);
    assert_eq!(
        (of_target.status, of_target.location.as_str()),
        (307, evidence.as_str())
    );
    assert_closed(&site, &LOGIN);
    let closed = site.curl("/probe?target=a", &LOGIN);
    assert_eq!(
        closed.body,
        "This proxy opens only the landing page and the evidence.\n"
    );
    let delete = site.curl(&evidence, &[&LOGIN[..], &["--request", "DELETE"]].concat());
    assert_eq!(delete.status, 403);
    assert!(target.connections() == 1, "only the first probe reached the target");
}

/// The proxy of `examples/kubernetes/browsers.yml`, behind an Ingress that ends TLS.
#[tokio::test]
async fn the_proxy_in_the_cluster_is_healthy_without_a_password() {
    let (site, target) = (Site::new(), Peer::start(ok).await);
    let (running, id) = exporter(&[], &target).await;
    let manifest = example("kubernetes/browsers.yml");
    let config: Value = serde_yaml::from_str(manifest.split("\n---\n").next().unwrap()).unwrap();
    let (certificate, key) = site.authority.files(NAME);
    let (certificate, key) = (certificate.display(), key.display());
    let listen = format!(
        "listen 127.0.0.1:{} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};",
        site.port
    );
    let users = site.folder.path().join("users");
    let replaced = [
        ("listen 8080;", listen.as_str()),
        ("glassbox.monitoring.svc:9115", &running.addresses[0]),
        ("/etc/glassbox/htpasswd", users.to_str().unwrap()),
    ];
    let _nginx = site
        .nginx_with(config["data"]["default.conf"].as_str().unwrap(), &replaced)
        .await;
    assert_eq!(site.curl("/healthz", &[]).status, 204);
    let evidence = format!("/evidence/{id}");
    assert_eq!(site.curl(&evidence, &[]).status, 401);
    assert_eq!(site.curl(&evidence, &LOGIN).status, 200);
    assert_closed(&site, &LOGIN);
}

/// A proxy that passes on the browser's `Host` also passes the protections against other sites.
#[tokio::test]
async fn a_post_request_passes_the_proxy_only_from_its_own_origin() {
    let (site, target) = (Site::new(), Peer::start(ok).await);
    let external = format!("--web.external-url={}", site.url("/"));
    let (running, _) = exporter(&[&external], &target).await;
    // The only POST that every version has, opened for this test.
    let replaced = [
        ("127.0.0.1:9115", running.addresses[0].as_str()),
        ("/(|style", "/(|-/reload|style"),
    ];
    let _nginx = site.nginx("basic-auth.conf", &replaced).await;
    let post = |origin: &str| {
        let origin = format!("Origin: {origin}");
        let flags = [&LOGIN[..], &["--request", "POST", "--header", &origin]].concat();
        site.curl("/-/reload", &flags).status
    };
    assert_eq!(post(&site.url("")), 200);
    for foreign in ["https://evil.example.com", "null", &format!("https://{NAME}")] {
        assert_eq!(post(foreign), 403, "{foreign}");
    }
}

/// A server with the endpoints of oauth2-proxy that nginx uses.
async fn sign_in_server() -> Peer {
    Peer::start(|mut stream| async move {
        let head = String::from_utf8(read_head(&mut stream).await).unwrap();
        let field = |name: &str| {
            let lines = head.lines();
            lines
                .filter_map(|line| line.split_once(": "))
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
        };
        let answer = if head.starts_with("GET /oauth2/auth ") {
            let valid = field("cookie").is_some_and(|(_, value)| value.contains("_oauth2_proxy=valid"));
            let status = if valid { "202 Accepted" } else { "401 Unauthorized" };
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        } else {
            let back = field("x-auth-request-redirect").map_or("", |(_, value)| value);
            let body = format!("{} then {back}", head.split(' ').nth(1).unwrap());
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        };
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await
}

/// curl blocks one of the threads, and the other runs the stand-in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_with_single_sign_on_opens_the_pages_after_the_sign_in() {
    let (site, target, sign_in) = (Site::new(), Peer::start(ok).await, sign_in_server().await);
    let external = format!("--web.external-url={}", site.url("/"));
    let (running, id) = exporter(&[&external], &target).await;
    let replaced = [
        ("127.0.0.1:9115", running.addresses[0].as_str()),
        ("127.0.0.1:4180", &sign_in.address.to_string()),
    ];
    let _nginx = site.nginx("oauth2-proxy.conf", &replaced).await;
    // The sign-in returns to the whole link, with its second parameter and its escapes.
    let link = "/evidence?target=http%3A%2F%2Fa%2F%3Fq%3D1%26r&module=http_2xx";
    let answer = site.curl(link, &[]);
    assert!(answer.body.ends_with(&format!(" then {link}")), "{answer:?}");
    let evidence = format!("/evidence/{id}");
    for cookie in ["_oauth2_proxy=other", "a=b"] {
        let page = site.curl(&evidence, &["--cookie", cookie]);
        assert!(page.body.ends_with(&format!(" then {evidence}")), "{page:?}");
    }
    let signed_in = ["--cookie", "_oauth2_proxy=valid"];
    let page = site.curl(&evidence, &signed_in);
    assert!(page.status == 200 && page.body.contains("<!DOCTYPE html>"), "{page:?}");
    assert_eq!(site.curl("/", &signed_in).status, 200);
    assert_eq!(
        site.curl("/oauth2/callback?code=1", &[]).body,
        "/oauth2/callback?code=1 then /oauth2/callback?code=1"
    );
    // Only nginx itself may ask whether a browser is signed in.
    assert_eq!(site.curl("/oauth2/auth", &signed_in).status, 404);
    assert_closed(&site, &signed_in);
}

/// The exporter receives neither the password nor the session of a user. Its log and evidence could not mask them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_end_at_the_proxy() {
    let sign_in = sign_in_server().await;
    let echo = Peer::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            head.len()
        );
        let _ = stream.write_all(&[answer.as_bytes(), &head].concat()).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let [echo, sign_in] = [&echo, &sign_in].map(|peer| peer.address.to_string());
    let replaced = [
        ("basic-auth.conf", vec![("127.0.0.1:9115", echo.as_str())]),
        (
            "oauth2-proxy.conf",
            vec![("127.0.0.1:9115", &echo), ("127.0.0.1:4180", &sign_in)],
        ),
        ("shards.conf", vec![("10.0.0.10:9115", &echo)]),
    ];
    for (name, replaced) in replaced {
        let site = Site::new();
        let _nginx = site.nginx(name, &replaced).await;
        let flags = [&LOGIN[..], &["--cookie", "_oauth2_proxy=valid"]].concat();
        let head = site.curl("/evidence/x", &flags).body.to_ascii_lowercase();
        assert!(head.starts_with("get /evidence/x "), "{name}: {head}");
        for field in ["authorization:", "cookie:"] {
            assert!(!head.contains(field), "{name}: {head}");
        }
        assert!(
            head.contains(&format!("\r\nhost: {NAME}:{}\r\n", site.port)),
            "{name}: {head}"
        );
    }
}

#[tokio::test]
async fn several_shards_behind_one_name_have_their_own_links() {
    let (site, targets) = (Site::new(), [Peer::start(ok).await, Peer::start(ok).await]);
    let mut shards = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let external = format!("--web.external-url={}", site.url(&format!("/glassbox-{number}/")));
        shards.push(exporter(&[&external, "--web.route-prefix=/"], target).await);
    }
    // The third shard is down.
    let nobody = format!("127.0.0.1:{}", free_port());
    let replaced = [
        ("10.0.0.10:9115", shards[0].0.addresses[0].as_str()),
        ("10.0.0.11:9115", shards[1].0.addresses[0].as_str()),
        ("10.0.0.12:9115", &nobody),
    ];
    let _nginx = site.nginx("shards.conf", &replaced).await;
    for (number, ((running, id), target)) in shards.iter().zip(&targets).enumerate() {
        let prefix = format!("/glassbox-{number}/");
        let evidence = format!("{prefix}evidence/{id}");
        assert_eq!(site.curl(&evidence, &[]).status, 401);
        let bare = site.curl(prefix.trim_end_matches('/'), &[]);
        assert_eq!((bare.status, &bare.location), (301, &prefix));
        for page in ["", "style.css", "copy.js", "refresh.js"] {
            assert_eq!(site.curl(&format!("{prefix}{page}"), &LOGIN).status, 200);
        }
        for page in [prefix.as_str(), &evidence] {
            let page = site.curl(page, &LOGIN);
            let links = links(&page.body);
            assert!(
                links.len() > 2 && links.iter().all(|link| link.starts_with(&prefix)),
                "{links:?}"
            );
        }
        // Prometheus scrapes the exporter without the prefix, and reads the URL for the links of alerts.
        let url = format!(
            "glassbox_external_url_info{{url=\"{}\"}} 1",
            site.url(prefix.trim_end_matches('/'))
        );
        assert!(running.text("/metrics").await.contains(&url), "{url}");
        // Evidence without a shard.
        assert_eq!(site.curl(&format!("/evidence/{id}"), &LOGIN).status, 200);
        let of_target = site.curl(&format!("/evidence?target={}", target.http()), &LOGIN);
        assert_eq!(
            (of_target.status, of_target.location.as_str()),
            (307, evidence.as_str())
        );
    }
    assert_eq!(site.curl("/evidence?target=nobody", &[]).status, 401);
    assert_eq!(
        site.curl("/evidence?target=nobody", &LOGIN).status,
        502,
        "the last shard is down"
    );
    assert_closed(&site, &LOGIN);
    for path in [
        "/glassbox-0/probe?target=a",
        "/glassbox-0/-/reload",
        "/glassbox-0/evidence/../../probe",
        "/glassbox-3/",
    ] {
        assert_eq!(site.curl(path, &LOGIN).status, 403, "{path}");
    }
}

/// While the first shard is down, the others still show their evidence.
#[tokio::test]
async fn a_shard_that_is_down_is_skipped() {
    let (site, target) = (Site::new(), Peer::start(ok).await);
    let external = format!("--web.external-url={}", site.url("/glassbox-2/"));
    let (running, id) = exporter(&[&external, "--web.route-prefix=/"], &target).await;
    let nobody = format!("127.0.0.1:{}", free_port());
    let replaced = [
        ("10.0.0.10:9115", nobody.as_str()),
        ("10.0.0.11:9115", &nobody),
        ("10.0.0.12:9115", &running.addresses[0]),
    ];
    let _nginx = site.nginx("shards.conf", &replaced).await;
    assert_eq!(site.curl(&format!("/evidence/{id}"), &LOGIN).status, 200);
    let gone = site.curl(
        "/evidence?target=nobody",
        &[&LOGIN[..], &["--header", "Accept: text/html"]].concat(),
    );
    assert!(
        gone.status == 404 && gone.body.contains("No stored probe for this target"),
        "{gone:?}"
    );
}

/// An exporter that serves its paths below a prefix, and a proxy that changes nothing.
#[tokio::test]
async fn a_path_in_the_external_url_is_a_prefix_of_all_paths() {
    let (site, target) = (Site::new(), Peer::start(ok).await);
    let external = format!("--web.external-url={}", site.url("/glassbox/"));
    let running = Running::start(MODULES, &[&external]).await;
    let probe = format!("/glassbox/probe?target={}&show=evidence", target.http());
    let shown = running.get(&probe).await;
    assert_eq!(shown.status(), 200, "the redirect leads to the evidence");
    let replaced = [
        ("127.0.0.1:9115", running.addresses[0].as_str()),
        ("~ ^/(|style", "~ ^/glassbox/(|style"),
    ];
    let _nginx = site.nginx("basic-auth.conf", &replaced).await;
    let home = site.curl("/glassbox/", &LOGIN).body;
    let evidence = links(&home)
        .into_iter()
        .find(|link| link.contains("/evidence/"))
        .unwrap()
        .to_owned();
    for path in ["/glassbox/style.css", "/glassbox/refresh.js", &evidence] {
        assert_eq!(site.curl(path, &LOGIN).status, 200, "{path}");
    }
    assert!(links(&home).iter().all(|link| link.starts_with("/glassbox/")), "{home}");
}

#[tokio::test]
async fn the_exporter_itself_can_ask_for_passwords() {
    let site = Site::new();
    let (certificate, key) = site.authority.files(NAME);
    let web = example("browsers/web.yml")
        .replace("/etc/glassbox/probes.example.com.pem", certificate.to_str().unwrap())
        .replace("/etc/glassbox/probes.example.com-key.pem", key.to_str().unwrap());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("glassbox.yml"), MODULES).unwrap();
    std::fs::write(folder.path().join("web.yml"), web).unwrap();
    let listen = format!("--web.listen-address=127.0.0.1:{}", site.port);
    let external = format!("--web.external-url={}", site.url("/"));
    let flags = [
        "--config.file=glassbox.yml",
        "--web.config.file=web.yml",
        &listen,
        &external,
    ];
    let _running = Running::start_in(folder, &flags).await;
    // The password of a proxy in front of it would not open a path.
    for path in ["/", "/evidence?target=a", "/metrics", "/-/healthy", "/probe?target=a"] {
        assert_eq!(site.curl(path, &[]).status, 401, "{path}");
        assert_ne!(site.curl(path, &LOGIN).status, 401, "{path}");
    }
    assert_eq!(site.curl("/", &["--user", "prometheus:changeme"]).status, 200);
}
