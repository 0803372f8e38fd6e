//! `healthcheck`: checks the health of a running exporter, for containers.

use super::CliError;
use std::time::Duration;

/// Arguments of `healthcheck`.
#[derive(Debug, clap::Args)]
pub struct HealthcheckCommand {
    /// URL of the health endpoint.
    #[arg(long, default_value = "http://127.0.0.1:9115/-/healthy")]
    url: String,
}

/// Runs `healthcheck`.
///
/// # Errors
/// When the endpoint does not return 200 within 5 s.
pub async fn healthcheck(command: &HealthcheckCommand) -> Result<(), CliError> {
    let unhealthy = |error: reqwest::Error| CliError::Unhealthy(error.to_string());
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .no_proxy()
        .build()
        .map_err(unhealthy)?;
    let answer = client.get(&command.url).send().await.map_err(unhealthy)?;
    if answer.status() == reqwest::StatusCode::OK {
        Ok(())
    } else {
        Err(CliError::Unhealthy(format!(
            "{} returned {}",
            command.url,
            answer.status()
        )))
    }
}
