//! Log lines on standard error, filtered by `HOLDFAST_LOG` (`info` by default; `warn,gateway=debug` and the like).

use tracing_subscriber::EnvFilter;

/// Starts logging for the whole process. A filter that can't be read is reported and `info` taken.
pub fn start() {
    let text = std::env::var("HOLDFAST_LOG").unwrap_or_else(|_| "info".to_owned());
    let (filter, complaint) = match EnvFilter::try_new(&text) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if let Some(error) = complaint {
        tracing::warn!(value = %text, %error, "HOLDFAST_LOG can't be read, logging at info");
    }
}
