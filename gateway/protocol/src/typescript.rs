//! Test only: the committed TypeScript agrees with the Rust types.

use crate::{id, message, problem, sign_in};
use std::path::Path;
use ts_rs::{Config, TS};

fn declare<T: TS>(out: &mut String, config: &Config) {
    if let Some(docs) = T::docs() {
        out.push_str(&docs);
    }
    out.push_str("export ");
    out.push_str(&T::decl(config));
    out.push_str("\n\n");
}

fn typescript() -> String {
    let mut out = String::from(
        "// Generated from the crate gateway-protocol. Do not edit: HOLDFAST_BLESS=1 cargo test -p gateway-protocol\n\n",
    );
    let config = Config::default();
    macro_rules! declare {
        ($($type:ty),* $(,)?) => { $(declare::<$type>(&mut out, &config);)* };
    }
    declare!(
        id::InstanceId,
        id::BootId,
        id::SessionId,
        id::ClientId,
        id::CallId,
        id::RequestId,
        sign_in::SignIn,
        sign_in::SignedIn,
        sign_in::IceServer,
        sign_in::SessionProbe,
        sign_in::ProbedCall,
        sign_in::SessionState,
        message::ClientMessage,
        message::DeadCall,
        message::DeadCallAction,
        message::Request,
        message::ServerMessage,
        message::Snapshot,
        message::CallSnapshot,
        message::EndedCall,
        message::Caller,
        message::Direction,
        message::CallState,
        message::HeldBy,
        message::MediaState,
        message::EndReason,
        message::Outcome,
        message::FailReason,
        message::Event,
        message::ServiceState,
        problem::ProblemType,
        problem::Problem,
    );
    out
}

#[test]
fn the_committed_typescript_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../js-client/src/protocol.gen.ts");
    let fresh = typescript();
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(&path, &fresh).expect("the JS client's folder is writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == fresh, "{} is stale: run HOLDFAST_BLESS=1 cargo test -p gateway-protocol", path.display());
}
