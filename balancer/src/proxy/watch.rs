//! The creation watch: a sign-in that its instance does not answer in time also goes to another one. The first answer wins;
//! the session that the other one may still make is signed off again.

use super::{
    body::AnswerBody,
    upstream::{Answered, Failed, Upstream},
    wire::Outgoing,
};
use gateway_protocol::SignedIn;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use std::{future::Future, pin::Pin, rc::Rc, time::Duration};
use tokio::time::timeout;

/// How long the slower instance is waited for: an unattached session ends by itself then.
const LOSER_LIMIT: Duration = Duration::from_secs(30);
const MAX_SIGNED_IN: usize = 64 * 1024;

type Exchange = Pin<Box<dyn Future<Output = Result<Answered, Failed>>>>;

/// The first answer to a sign-in, and who gave it. `reserve` names the second instance when it is needed.
pub(crate) async fn first_answer(
    assigned: &Rc<Upstream>,
    request: &Outgoing,
    host: Option<&HeaderValue>,
    limit: Duration,
    reserve: impl FnOnce() -> Option<Rc<Upstream>>,
) -> (Rc<Upstream>, Result<Answered, Failed>) {
    let mut first = exchange(assigned, request);
    if let Ok(outcome) = timeout(limit, &mut first).await {
        return (Rc::clone(assigned), outcome);
    }
    let Some(reserved) = reserve() else {
        return (Rc::clone(assigned), first.await);
    };
    let _place = reserved.instance.traffic.reserve();
    let mut second = exchange(&reserved, request);
    let (winner, outcome, loser, slower) = tokio::select! {
        outcome = &mut first => (Rc::clone(assigned), outcome, reserved, second),
        outcome = &mut second => (reserved, outcome, Rc::clone(assigned), first),
    };
    if outcome.as_ref().is_ok_and(|answered| answered.head.parts.status != StatusCode::SERVICE_UNAVAILABLE) {
        tokio::task::spawn_local(sign_off_later(loser, slower, host.cloned()));
        return (winner, outcome);
    }
    (loser, slower.await)
}

/// Owns all it needs: the slower one outlives its request.
fn exchange(upstream: &Rc<Upstream>, request: &Outgoing) -> Exchange {
    let (upstream, request) = (Rc::clone(upstream), request.clone());
    Box::pin(async move { upstream.exchange(&request).await })
}

/// Waits for the answer that came too late, and ends the session that it made.
async fn sign_off_later(upstream: Rc<Upstream>, late: Exchange, host: Option<HeaderValue>) {
    let Ok(Ok(answered)) = timeout(LOSER_LIMIT, late).await else { return };
    let Some(request) = sign_off(answered, &upstream, host).await else { return };
    // It ends by itself if this fails.
    let _ = timeout(LOSER_LIMIT, upstream.exchange(&request)).await;
}

async fn sign_off(answered: Answered, upstream: &Rc<Upstream>, host: Option<HeaderValue>) -> Option<Outgoing> {
    let (head, body) = AnswerBody::passed(answered, Rc::clone(upstream));
    if head.status != StatusCode::CREATED {
        return None;
    }
    let body = Limited::new(body, MAX_SIGNED_IN).collect().await.ok()?.to_bytes();
    let signed_in: SignedIn = serde_json::from_slice(&body).ok()?;
    let target = format!("/v1/sessions/{}", signed_in.session_id).parse().ok()?;
    let bearer = HeaderValue::try_from(format!("Bearer {}", signed_in.session_token)).ok()?;
    let headers: HeaderMap = [(header::HOST, host?), (header::AUTHORIZATION, bearer)].into_iter().collect();
    Some(Outgoing::new(&Method::DELETE, &target, &headers, &[]))
}
