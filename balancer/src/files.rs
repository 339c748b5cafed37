//! The files that flags name: keys, token, certificate.

use crate::{args::Args, proxy};
use anyhow::Context;
use holdfast_config::ClusterKeys;
use http::HeaderValue;
use std::{path::Path, sync::Arc};

/// Whether each of them can be used, so that `--check-config` says it too.
pub fn check(args: &Args) -> anyhow::Result<()> {
    cluster_keys(args.cluster_key_file.as_deref())?;
    args.admin_token_file.as_deref().map(admin_token).transpose()?;
    tls(args)?;
    Ok(())
}

/// The keys of the cluster; a random one without a file.
pub fn cluster_keys(path: Option<&Path>) -> anyhow::Result<ClusterKeys> {
    let Some(path) = path else { return Ok(ClusterKeys::random()?) };
    ClusterKeys::load(path).with_context(|| format!("error: --cluster-key-file {}", path.display()))
}

/// What changes at the private listener need.
pub fn admin_token(path: &Path) -> anyhow::Result<String> {
    let refuse = || format!("error: --admin-token-file {}", path.display());
    let token = std::fs::read_to_string(path).with_context(refuse)?.trim().to_owned();
    anyhow::ensure!(!token.is_empty(), "{}: it is empty; a token of visible characters is allowed", refuse());
    bearer(&token).with_context(refuse)?;
    Ok(token)
}

/// The same as an `Authorization` header.
pub fn bearer(token: &str) -> anyhow::Result<HeaderValue> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).context("a token of visible characters is allowed")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Certificate and key of the public listener.
pub fn tls(args: &Args) -> anyhow::Result<Option<Arc<proxy::Tls>>> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let tls = proxy::Tls::load(certificate, key).context("error: --tls-cert, --tls-key")?;
    Ok(Some(Arc::new(tls)))
}
