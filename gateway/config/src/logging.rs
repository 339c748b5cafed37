//! Log lines on standard error, filtered by `HOLDFAST_LOG` (`info` by default; `warn,gateway=debug` and the like).

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// It writes every message at INFO, with credentials and addresses in it; only who names it gets that.
const QUIET: &str = "rsipstack=warn";

/// Starts logging for the whole process. A filter that can't be read is reported and the default taken.
pub fn start() {
    start_at("info");
}

/// The same with another default, for programs whose libraries say more than their users want to read.
pub fn start_at(default: &str) {
    let text = std::env::var("HOLDFAST_LOG").unwrap_or_else(|_| default.to_owned());
    let (filter, complaint) = match filter(&text) {
        Ok(filter) => (filter, None),
        Err(error) => (filter(default).unwrap_or_default(), Some(error)),
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    if let Some(error) = complaint {
        tracing::warn!(value = %text, %error, "HOLDFAST_LOG can't be read, taking the default");
    }
}

/// A later directive for the same target replaces an earlier one.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("{QUIET},{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics here").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(text: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(text).expect("valid"))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "rsipstack::transport::udp", "Authorization: Digest");
            tracing::warn!(target: "rsipstack::transport::udp", "a warning of it");
            tracing::info!("our own");
        });
        let bytes = lines.0.lock().expect("no test panics here").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn whole_sip_messages_are_logged_only_for_those_who_ask() {
        for text in ["info", "debug", "trace", "warn,holdfast_config=info"] {
            let lines = logged(text);
            assert!(!lines.contains("Digest"), "{text}: {lines}");
            assert!(lines.contains("a warning of it") && lines.contains("our own"), "{text}: {lines}");
        }
        assert!(logged("info,rsipstack=info").contains("Digest"));
    }
}
