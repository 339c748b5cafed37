//! What the SIP side does in a second: registrations over one flow, and calls set up.

use super::{AT_ONCE, BRIDGED, Caller, World};
use crate::http::{Ask, Browser};
use crate::sip_phone::answering::Answering;
use crate::sip_phone::rtp::Voice;
use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use gateway_protocol::Health;
use std::time::{Duration, Instant};

/// All users must be registered again within it.
const LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);
/// Users that sign in at once.
const ARRIVING: usize = 64;

/// Signs users in, takes the SIP server's memory away, and counts how fast they are all registered again.
pub(super) async fn registrations(world: &mut World, users: usize) -> anyhow::Result<Option<f64>> {
    if users == 0 {
        return Ok(None);
    }
    let first = world.next;
    world.next += users;
    let base = &world.instance.base;
    let arriving = stream::iter(first..world.next).map(|number| Caller::arrive(base, number));
    let mut callers: Vec<Caller> = arriving.buffer_unordered(ARRIVING).try_collect().await?;
    callers.iter_mut().for_each(Caller::rest);
    let all = all_registered(world).await?;
    world.registrar.restart().await?;
    until(world, |registered| registered == 0).await?;
    let (start, begun) = until(world, |registered| registered > 0).await?;
    let (end, _) = until(world, |registered| registered >= all).await?;
    let time = end.saturating_duration_since(start);
    let leaving = stream::iter(callers).map(|caller| caller.leave(&world.instance.base));
    leaving.buffer_unordered(ARRIVING).try_collect::<Vec<()>>().await?;
    eprintln!("{} of {all} users registered in {time:?}", all - begun);
    Ok(Some(f64::from(all - begun) / time.as_secs_f64().max(LOOK.as_secs_f64())))
}

/// The moment from which this holds, and how many are registered then.
async fn until(world: &World, holds: impl Fn(u32) -> bool) -> anyhow::Result<(Instant, u32)> {
    let waiting = async {
        loop {
            let now = registered(world).await?;
            if holds(now) {
                return anyhow::Ok((Instant::now(), now));
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.context("the users are not registered again")?
}

/// Every attached user is registered; how many that are.
async fn all_registered(world: &World) -> anyhow::Result<u32> {
    let waiting = async {
        loop {
            let health = health(world).await?;
            if health.registered == health.sessions {
                return anyhow::Ok(health.registered);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.context("the users are not registered")?
}

async fn registered(world: &World) -> anyhow::Result<u32> {
    Ok(health(world).await?.registered)
}

async fn health(world: &World) -> anyhow::Result<Health> {
    let ask = Ask { method: "GET", path: "/health".to_owned(), headers: Vec::new(), body: Vec::new() };
    let answer = Browser::new().ask(&world.instance.admin, &ask).await?;
    Ok(serde_json::from_slice(answer.body())?)
}

/// Users that are registered call a phone; from the first request to the last call's first packet, ICE and DTLS included.
pub(super) async fn setups(world: &mut World, calls: usize) -> anyhow::Result<Option<f64>> {
    if calls == 0 {
        return Ok(None);
    }
    let phones =
        Answering::start(world.registrar.address, super::DOMAIN, BRIDGED.user, Voice::Opus, world.phones.clone());
    let phones = phones.await?;
    let first = world.next;
    world.next += calls;
    let (base, pool) = (&world.instance.base, &world.pool);
    let arriving = stream::iter(first..world.next).map(|number| Caller::arrive(base, number));
    let callers: Vec<Caller> = arriving.buffer_unordered(ARRIVING).try_collect().await?;
    all_registered(world).await?;
    let (start, used) = (Instant::now(), world.instance.cpu()?);
    let calling = stream::iter(callers).map(async |mut caller: Caller| {
        caller.call(pool, BRIDGED).await?;
        caller.heard().await?;
        caller.hang_up();
        anyhow::Ok(caller)
    });
    let callers: Vec<Caller> = calling.buffer_unordered(AT_ONCE).try_collect().await?;
    let time = start.elapsed();
    let used = world.instance.cpu()? - used;
    eprintln!("{calls} calls set up and ended in {time:?}, gateway CPU {used:?}");
    world.end(callers, &phones).await?;
    Ok(Some(calls as f64 / time.as_secs_f64()))
}
