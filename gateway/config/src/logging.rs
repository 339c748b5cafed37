//! Log lines on standard error, filtered by `HOLDFAST_LOG` (`info` by default; `warn,gateway=debug` and the like).

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging for the whole process. A filter that can't be read is reported and the default taken.
pub fn start() {
    start_at("info");
}

/// The same with another default, for programs whose libraries say more than their users want to read.
pub fn start_at(default: &str) {
    let text = std::env::var("HOLDFAST_LOG").unwrap_or_else(|_| default.to_owned());
    let (filter, complaint) = match EnvFilter::try_new(&text) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(default), Some(error)),
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    if let Some(error) = complaint {
        tracing::warn!(value = %text, %error, "HOLDFAST_LOG can't be read, taking the default");
    }
}
