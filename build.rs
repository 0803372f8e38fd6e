//! Passes the compiler version to the program, and enables packed relocations if the C library of the system supports
//! them. They save one megabyte of memory in an idle exporter (`docs/performance.md`).

use std::env;
use std::process::Command;

/// First glibc version that supports packed relocations (`DT_RELR`).
const READS_PACKED: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!(
        "cargo::rustc-env=GLASSBOX_RUST_VERSION={}",
        compiler().expect("rustc reports its version")
    );
    // In a cross build, the version of the build system's C library is not that of the target system's.
    let here = env::var_os("HOST") == env::var_os("TARGET");
    if here && glibc().is_some_and(|version| version >= READS_PACKED) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Version of the compiler, from the output of `rustc --version`: `rustc 1.95.0 (…)`.
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
