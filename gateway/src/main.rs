//! The binary `gateway`: reads its configuration, runs one instance, and drains it on SIGTERM or Ctrl-C. `gateway registrar`
//! runs the embedded SIP registrar instead.

use gateway::registrar::{RegistrarArgs, RegistrarServer};
use gateway::{Args, Gateway};
use gateway_protocol::{Health, InstanceState};
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    match args.nth(1) {
        Some(word) if word == "registrar" => run_registrar(std::iter::once("gateway registrar".into()).chain(args)),
        Some(_) | None => run_instance(),
    }
}

fn run_registrar(args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let args: RegistrarArgs = holdfast_config::flags::load_from_or_exit(args);
    holdfast_config::logging::start();
    raise_open_files();
    let running = RegistrarServer::start(&args);
    match running.and_then(|running| Ok((running, tokio::runtime::Builder::new_current_thread().enable_all().build()?)))
    {
        Ok((_running, runtime)) => match runtime.block_on(told_to_stop()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: signals can't be handled: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

async fn told_to_stop() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn run_instance() -> ExitCode {
    let args: Args = holdfast_config::flags::load_or_exit();
    if args.check_health {
        return check_health(args.admin_listen);
    }
    holdfast_config::logging::start();
    raise_open_files();
    match Gateway::start(args) {
        Ok(gateway) => run(gateway),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// A draining instance is well, one in which something stands still is not.
fn check_health(address: SocketAddr) -> ExitCode {
    let outcome = match holdfast_config::ask::get(address, "/health") {
        Ok((200, report)) => match serde_json::from_str::<Health>(&report) {
            Ok(health) if health.state != InstanceState::Starting => return ExitCode::SUCCESS,
            Ok(health) => format!("it is {:?}", health.state),
            Err(error) => error.to_string(),
        },
        Ok((status, _)) => format!("it answers {status}"),
        Err(error) => error.to_string(),
    };
    eprintln!("{address}: {outcome}");
    ExitCode::FAILURE
}

/// Leaves in good order at the first signal, at once but still in good order at the second, and just ends at the third.
fn run(gateway: Gateway) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let stopped = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            for _ in 0..3 {
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
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
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
