//! The container image without a container engine: the steps of the Dockerfile assemble the root file system in a
//! folder, and chroot starts it.

use crate::support::page::Page;
use crate::support::peer::{Peer, ok};
use crate::support::pki::self_signed;
use crate::support::process::{Process, eventually, free_port, listening, project};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Libraries of the base image. An additional library would need a different base image.
const LIBRARIES_OF_THE_BASE: [&str; 4] = ["ld-linux", "libc.so.6", "libgcc_s.so.1", "libm.so.6"];

/// The Dockerfile: instructions with arguments, by stage.
struct Dockerfile {
    stages: Vec<Vec<(String, String)>>,
}

impl Dockerfile {
    fn read() -> Self {
        let text = fs::read_to_string(project("Dockerfile")).unwrap();
        let text: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let mut stages = Vec::new();
        for line in text.join("\n").replace("\\\n", " ").lines() {
            let Some((instruction, arguments)) = line.split_once(' ') else {
                continue;
            };
            if instruction == "FROM" {
                stages.push(Vec::new());
            }
            let stage: &mut Vec<_> = stages.last_mut().expect("a Dockerfile must start with FROM");
            stage.push((instruction.to_owned(), arguments.trim().to_owned()));
        }
        assert_eq!(stages.len(), 2, "expected a build stage and a final stage");
        Self { stages }
    }

    fn all(&self, stage: usize, instruction: &str) -> Vec<&str> {
        let rows = self.stages[stage].iter().filter(|row| row.0 == instruction);
        rows.map(|row| row.1.as_str()).collect()
    }

    fn build(&self, instruction: &str) -> Vec<&str> {
        self.all(0, instruction)
    }

    /// The effective instruction in the final stage, which is the last one.
    fn image(&self, instruction: &str) -> &str {
        let last = self.all(1, instruction).pop();
        last.unwrap_or_else(|| panic!("the image has no {instruction}"))
    }

    fn label(&self, name: &str) -> &str {
        let labels = self.image("LABEL");
        let value = labels.split_once(&format!("org.opencontainers.image.{name}=\""));
        value
            .unwrap_or_else(|| panic!("no label {name}"))
            .1
            .split_once('"')
            .unwrap()
            .0
    }
}

/// The arguments of an instruction in exec form.
fn exec_form(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text} is not in exec form: {error}"))
}

/// The root file system of the image, and its command.
struct Image {
    root: PathBuf,
    command: Vec<String>,
    healthcheck: Vec<String>,
    folder: TempDir,
}

impl Image {
    fn assemble() -> Self {
        let dockerfile = Dockerfile::read();
        let folder = tempfile::tempdir().unwrap();
        let (build, root) = (folder.path().join("build"), folder.path().join("root"));
        let binary = build.join("target/release/glassbox_exporter");
        copy(Path::new(env!("CARGO_BIN_EXE_glassbox_exporter")), &binary);
        for file in ["LICENSE", "src/config/default.yml"] {
            copy(&project(file), &build.join(file));
        }
        let assembling = dockerfile.build("RUN").pop().unwrap();
        run(Command::new("sh").args(["-euc", assembling]).current_dir(&build));

        let workdir = dockerfile.build("WORKDIR")[0];
        for copied in dockerfile.all(1, "COPY") {
            let words: Vec<_> = copied.split_whitespace().collect();
            let ["--from=build", from, to] = words[..] else {
                panic!("COPY {copied}: the image may only copy from the build stage");
            };
            let from = build.join(from.strip_prefix(workdir).unwrap().trim_start_matches('/'));
            let to = root.join(to.trim_start_matches('/'));
            fs::create_dir_all(&to).unwrap();
            run(Command::new("cp").arg("-a").arg(from.join(".")).arg(to));
        }
        for library in libraries(&binary) {
            copy(&library, &root.join(library.strip_prefix("/").unwrap()));
        }
        fs::create_dir(root.join("tmp")).unwrap();
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();

        let mut command = exec_form(dockerfile.image("ENTRYPOINT"));
        command.extend(exec_form(dockerfile.image("CMD")));
        let healthcheck = dockerfile.image("HEALTHCHECK").split_once("CMD ").unwrap().1;
        Self {
            root,
            command,
            healthcheck: exec_form(healthcheck),
            folder,
        }
    }

    /// A command that runs in the image's root as the user nobody, with the environment of a container.
    fn inside(&self, command: &[String]) -> Command {
        demand_root(nix::unistd::geteuid().as_raw());
        let mut chroot = Command::new("chroot");
        chroot
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .arg("--userspec=nobody")
            .arg(&self.root)
            .args(command);
        chroot
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log: {}", fs::read_to_string(self.log()).unwrap_or_default());
        }
    }
}

/// Fails the test without root, because chroot requires it.
fn demand_root(user: u32) {
    assert!(
        user == 0,
        "this test uses chroot, which requires root: run it as user 0, not {user}"
    );
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// The shared libraries of a program according to `ldd`, including the loader.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = String::from_utf8(run(Command::new("ldd").arg(program)).stdout).unwrap();
    assert!(!listed.contains("not found"), "{listed}");
    let paths = listed.lines().filter_map(|line| {
        let path = line.split_once("=> ").map_or(line, |(_, path)| path).trim();
        // Entries without a path come from the kernel.
        path.starts_with('/')
            .then(|| PathBuf::from(path.split(" (").next().unwrap()))
    });
    paths.collect()
}

#[tokio::test]
async fn the_image_runs_as_nobody_with_only_its_libraries_and_configuration() {
    let image = Image::assemble();
    let port = free_port();
    let mut healthcheck = image.healthcheck.clone();
    healthcheck.extend(["--url".to_owned(), format!("http://127.0.0.1:{port}/-/healthy")]);
    let unhealthy = image.inside(&healthcheck).output().unwrap();
    assert_eq!(
        unhealthy.status.code(),
        Some(1),
        "the health check must fail before the exporter runs: {unhealthy:?}"
    );

    let mut command = image.command.clone();
    command.push(format!("--web.listen-address=127.0.0.1:{port}"));
    let log = File::create(image.log()).unwrap();
    let mut exporter = Process::start(image.inside(&command).stdout(log.try_clone().unwrap()).stderr(log));
    listening(port).await;
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.0.id())).unwrap();
    assert!(!status.contains("\nUid:\t0\t"), "the exporter runs as root: {status}");
    assert!(
        status.contains("\nCapEff:\t0000000000000000\n"),
        "the exporter has capabilities: {status}"
    );

    run(&mut image.inside(&healthcheck));
    let plain = Peer::start(ok).await;
    assert_eq!(probe(port, &plain.http()).await.value("probe_success"), 1.0);
    // The image has no CA certificates, so no server is trusted. This must give a verdict, not a crash.
    let secured = Peer::with_tls(self_signed("127.0.0.1").server(&[]), ok).await;
    let page = probe(port, &secured.https()).await;
    assert_eq!(page.value("probe_success"), 0.0);
    assert_eq!(page.value("probe_failures_total{link=\"tls\"}"), 1.0);

    exporter.signal("TERM");
    eventually("the exit after SIGTERM", async || {
        exporter.0.try_wait().unwrap().is_some()
    })
    .await;
    assert_eq!(exporter.0.wait().unwrap().code(), Some(0));
    let written: Vec<_> = fs::read_dir(image.root.join("tmp")).unwrap().collect();
    assert!(written.is_empty(), "the exporter wrote to the file system: {written:?}");
}

async fn probe(port: u16, target: &str) -> Page {
    let client = crate::support::http::client();
    let url = format!("http://127.0.0.1:{port}/probe?target={target}");
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    Page::parse(&answer.text().await.unwrap())
}

#[test]
fn the_name_blackbox_exporter_is_a_link() {
    let image = Image::assemble();
    let link = fs::read_link(image.root.join("bin/blackbox_exporter")).unwrap();
    assert_eq!(link, Path::new("glassbox_exporter"));
    let peers_command = ["/bin/blackbox_exporter", "--config.check", &image.command[1]].map(str::to_owned);
    run(&mut image.inside(&peers_command));
}

#[test]
#[should_panic(expected = "requires root")]
fn without_root_the_test_fails_and_says_why() {
    demand_root(1000);
}

#[test]
fn all_shared_libraries_are_in_the_base_image() {
    for library in libraries(Path::new(env!("CARGO_BIN_EXE_glassbox_exporter"))) {
        let name = library.file_name().unwrap().to_str().unwrap();
        assert!(
            LIBRARIES_OF_THE_BASE.iter().any(|known| name.starts_with(known)),
            "{name} is not in the base image"
        );
    }
}

#[test]
fn the_dependency_layer_needs_only_what_is_copied_before_it() {
    let dockerfile = Dockerfile::read();
    let folder = tempfile::tempdir().unwrap();
    let until_first_run = dockerfile.stages[0].iter().take_while(|row| row.0 != "RUN");
    for (_, arguments) in until_first_run.filter(|row| row.0 == "COPY") {
        let (files, to) = arguments.rsplit_once(' ').unwrap();
        for file in files.split(' ').map(project) {
            copy(&file, &folder.path().join(to).join(file.file_name().unwrap()));
        }
    }
    let stubs = dockerfile.build("RUN")[0];
    run(Command::new("sh").args(["-euc", stubs]).current_dir(folder.path()));
    // The manifest is valid within the image's sources: no bench, example or included file is missing.
    run(Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version=1"])
        .current_dir(folder.path()));
}

#[test]
fn the_labels_of_the_image_are_correct() {
    let dockerfile = Dockerfile::read();
    assert_eq!(dockerfile.label("title"), env!("CARGO_PKG_NAME"));
    assert_eq!(dockerfile.label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(dockerfile.label("description"), env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(dockerfile.label("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(dockerfile.label("base.name"), dockerfile.image("FROM"));
    let compiler = format!("rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
    assert!(dockerfile.build("FROM")[0].starts_with(&compiler), "{compiler}");
    assert_eq!(dockerfile.image("EXPOSE"), "9115");
    let user: u32 = dockerfile.image("USER").split_once(':').unwrap().0.parse().unwrap();
    assert_ne!(user, 0);
}

#[test]
fn the_sources_of_the_image_are_not_ignored() {
    let ignored = fs::read_to_string(project(".dockerignore")).unwrap();
    let mut sent: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let dockerfile = Dockerfile::read();
    let mut copied: Vec<_> = dockerfile
        .build("COPY")
        .iter()
        .flat_map(|arguments| arguments.split_whitespace().rev().skip(1))
        .map(|path| path.split('/').next().unwrap())
        .collect();
    sent.sort_unstable();
    copied.sort_unstable();
    copied.dedup();
    assert_eq!(sent, copied);
}
