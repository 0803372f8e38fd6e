//! The initial inputs of libFuzzer.

use std::path::PathBuf;

/// Writes the seeds to the folder in the environment variable `SEEDS`, if it is set.
pub fn write(seeds: Vec<Vec<u8>>) {
    let Some(folder) = std::env::var_os("SEEDS").map(PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&folder).expect("cannot create the folder for the seeds");
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("cannot write a seed");
    }
}
