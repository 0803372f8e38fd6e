//! Configurations of nginx, `HAProxy` and Apache as gateways, with timeouts of 1 s to connect and 1 s for the response.

use super::{Handles, Port, Product};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// nginx from the Debian package.
pub struct Nginx;

impl Product for Nginx {
    const NAME: &'static str = "nginx";

    fn command(folder: &Path, ca_file: &Path, ports: &[Port]) -> Command {
        // nginx runs as one process, because the workers of a killed master would stay alive.
        let mut config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log warn;\n\
             events {{ worker_connections 256; }}\n\
             http {{\naccess_log off;\n\
             client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;\n\
             scgi_temp_path scgi; proxy_cache_path cache keys_zone=c:1m;\n\
             proxy_connect_timeout 1s; proxy_read_timeout 1s; proxy_http_version 1.1; proxy_set_header Host $http_host;\n\
             proxy_ssl_verify on; proxy_ssl_trusted_certificate {};\n",
            ca_file.display()
        );
        for port in ports {
            let to = format!("127.0.0.1:{}", port.to);
            let does = match port.handles {
                Handles::Plain => format!("proxy_pass http://{to};"),
                Handles::Waits => format!("proxy_read_timeout 30s; proxy_pass http://{to};"),
                Handles::Tls => format!("proxy_pass https://{to};"),
                Handles::Cached => format!("proxy_cache c; proxy_pass http://{to};"),
                Handles::Denies => format!("deny all; proxy_pass http://{to};"),
                Handles::NoRoute => "return 404;".to_owned(),
            };
            let listen = port.listen;
            writeln!(
                config,
                "server {{ listen 127.0.0.1:{listen}; location / {{ {does} }} }}"
            )
            .unwrap();
        }
        config.push_str("}\n");
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        for (flag, file) in [("-p", ""), ("-c", "nginx.conf"), ("-e", "error.log")] {
            command.arg(flag).arg(folder.join(file));
        }
        command
    }
}

/// `HAProxy` from the Debian package.
pub struct Haproxy;

impl Product for Haproxy {
    const NAME: &'static str = "haproxy";

    fn command(folder: &Path, ca_file: &Path, ports: &[Port]) -> Command {
        let mut config =
            "defaults\n mode http\n timeout connect 1s\n timeout client 10s\n timeout server 1s\n".to_owned();
        for (number, port) in ports.iter().enumerate() {
            let tls = match port.handles {
                Handles::Tls => format!(" ssl verify required ca-file {}", ca_file.display()),
                _ => String::new(),
            };
            let deny = match port.handles {
                Handles::Denies => " http-request deny\n",
                _ => "",
            };
            write!(
                config,
                "frontend f{number}\n bind 127.0.0.1:{}\n{deny} default_backend b{number}\n\
                 backend b{number}\n server s 127.0.0.1:{}{tls}\n",
                port.listen, port.to
            )
            .unwrap();
        }
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-db").arg("-f").arg(file);
        command.stdout(Stdio::null());
        command
    }
}

/// Apache from the Debian package.
pub struct Apache;

impl Product for Apache {
    const NAME: &'static str = "apache";

    fn command(folder: &Path, ca_file: &Path, ports: &[Port]) -> Command {
        const MODULES: [&str; 8] = [
            "alias",
            "mpm_event",
            "authz_core",
            "proxy",
            "proxy_http",
            "socache_shmcb",
            "ssl",
            "mime",
        ];
        let here = folder.display();
        let mut config = format!(
            "ServerRoot {here}\nPidFile {here}/pid\nErrorLog {here}/error.log\nServerName gateway.test\n\
             DefaultRuntimeDir {here}\nMutex file:{here} default\nTypesConfig /dev/null\nDocumentRoot {here}\n\
             User www-data\nGroup www-data\n"
        );
        for module in MODULES {
            writeln!(
                config,
                "LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so"
            )
            .unwrap();
        }
        config.push_str("StartServers 1\nServerLimit 2\nThreadLimit 64\nThreadsPerChild 64\nMaxRequestWorkers 128\n");
        for port in ports {
            let to = format!("127.0.0.1:{}/ connectiontimeout=1 timeout=1", port.to);
            let does = match port.handles {
                Handles::Tls => format!(
                    "SSLProxyEngine on\nSSLProxyVerify require\nSSLProxyCACertificateFile {}\nProxyPass / https://{to}",
                    ca_file.display()
                ),
                Handles::Denies => "<Location />\nRequire all denied\n</Location>".to_owned(),
                Handles::NoRoute => "Redirect 404 /".to_owned(),
                _ => format!("ProxyPass / http://{to}"),
            };
            let listen = port.listen;
            write!(
                config,
                "Listen 127.0.0.1:{listen}\n<VirtualHost 127.0.0.1:{listen}>\n{does}\n</VirtualHost>\n"
            )
            .unwrap();
        }
        let file = folder.join("apache.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("/usr/sbin/apache2");
        // Apache also runs as one process.
        command.arg("-X").arg("-d").arg(folder).arg("-f").arg(file);
        command
    }
}
