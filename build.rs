//! Tells the program which compiler built it, and has the linker pack relocations where the system's C library can read them: they are a megabyte of an idle exporter
//! (`docs/performance.md`).

use std::env;
use std::process::Command;

/// First glibc version that supports packed relocations (`DT_RELR`).
const READS_PACKED: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!(
        "cargo::rustc-env=GLASSBOX_RUST_VERSION={}",
        compiler().expect("rustc tells its version")
    );
    // What is built for another system says nothing by this one's library.
    let here = env::var_os("HOST") == env::var_os("TARGET");
    if here && glibc().is_some_and(|version| version >= READS_PACKED) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of the compiler, as `rustc --version` says it: `rustc 1.95.0 (…)`.
fn compiler() -> Option<String> {
    let said = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    Some(said.split_whitespace().nth(1)?.to_owned())
}

/// Version of the system's glibc, or `None` if the system uses another C library.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
