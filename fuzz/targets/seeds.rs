//! Where libFuzzer begins.

use std::path::PathBuf;

/// Writes seeds into the folder that the variable `SEEDS` names, if it is set.
pub fn write(seeds: Vec<Vec<u8>>) {
    let Some(folder) = std::env::var_os("SEEDS").map(PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("a seed can be written");
    }
}
