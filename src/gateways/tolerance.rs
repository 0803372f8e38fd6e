//! Measured limits of the gateways: `tolerance.txt`, which `make tolerance` writes.

const MEASURED: &str = include_str!("tolerance.txt");

/// Bytes of a response's head that every measured version of a product accepts, in whatever lines they come. A larger
/// head may be refused; how its bytes are spread over lines and which version it is decide. Nothing where the product
/// was not measured.
#[must_use]
pub fn head_limit(product: &str) -> Option<usize> {
    let limits = ["line", "head"].map(|row| smallest(product, row));
    limits.into_iter().flatten().min()
}

/// The smallest threshold of a row among the versions of a product. `>=N` is a search that ended at N.
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
