//! Measured limits of gateways, from `tolerance.txt`, which `make tolerance` generates.

const MEASURED: &str = include_str!("tolerance.txt");

/// Size of a response header, in bytes, that every measured version of a product accepts. A larger header may fail,
/// depending on the version and on the length of its lines. `None` for products without a measurement.
#[must_use]
pub fn head_limit(product: &str) -> Option<usize> {
    let limits = ["line", "head"].map(|row| smallest(product, row));
    limits.into_iter().flatten().min()
}

/// The smallest threshold in a row among the versions of a product. `>=N` means that the search ended at N.
fn smallest(product: &str, row: &str) -> Option<usize> {
    let (_, thresholds) = MEASURED.split_once("\n[thresholds]\n")?;
    let mut lines = thresholds.lines().map(str::split_whitespace);
    let versions = lines.next()?.skip(1);
    let values = lines.find_map(|mut words| (words.next() == Some(row)).then_some(words))?;
    let of_product = versions.zip(values).filter(|(version, _)| {
        let name = version.split('/').next();
        name == Some(product)
    });
    of_product
        .filter_map(|(_, value)| value.trim_start_matches(">=").parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::head_limit;

    #[test]
    fn a_head_is_within_a_products_limit_if_no_version_refuses_it() {
        for (product, limit) in [
            ("nginx", Some(4_013)),
            ("haproxy", Some(15_179)),
            ("apache", Some(8_191)),
            ("varnish", Some(8_192)),
            ("squid", Some(65_453)),
            ("caddy", Some(204_800)),
            ("envoy", Some(81_838)),
            ("tengine", None),
            ("", None),
        ] {
            assert_eq!(head_limit(product), limit, "{product}");
        }
    }
}
