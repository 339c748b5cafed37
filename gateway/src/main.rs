//! The binary `gateway`: reads its configuration, runs one instance, and drains it on SIGTERM or Ctrl-C.

use gateway::{Args, Gateway};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> std::process::ExitCode {
    let args: Args = holdfast_config::flags::load_or_exit();
    holdfast_config::logging::start();
    raise_open_files();
    match Gateway::start(args) {
        Ok(gateway) => run(gateway),
        Err(error) => {
            eprintln!("{error:#}");
            std::process::ExitCode::from(2)
        }
    }
}

/// Leaves in good order at the first signal, at once at the second.
fn run(gateway: Gateway) -> std::process::ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let stopped = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            for _ in 0..2 {
                tokio::select! {
                    _ = terminate.recv() => gateway.leave(),
                    _ = interrupt.recv() => gateway.leave(),
                    () = gateway.left() => break,
                }
            }
            Ok(())
        })
    });
    gateway.stop();
    if let Err(error) = stopped {
        eprintln!("error: signals can't be handled: {error}");
        return std::process::ExitCode::FAILURE;
    }
    std::process::ExitCode::SUCCESS
}

/// Thousands of sockets need more than the usual soft limit of 1024 open files.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
