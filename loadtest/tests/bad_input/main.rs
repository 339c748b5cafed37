//! Bad input of every kind against the whole chain: a client, a balancer, an instance, its media plane. Each row of the
//! table names what was sent, what was observed, and the echo of another session that went on meanwhile.

mod bystander;
mod chain;
mod client;
mod floods;
mod media;
mod outsider;
mod proofs;
mod relay;
mod requests;
mod smuggling;
mod sockets;
mod table;

use bystander::Bystander;
use chain::{Chain, Users};
use table::Table;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_gets_its_answer_and_harms_nobody_else() {
    let chain = Chain::start(Users::Jwt);
    let mut table = Table::beside(Bystander::join(&chain).await);
    requests::rows(&chain, &mut table).await;
    smuggling::rows(&chain, &mut table).await;
    proofs::rows(&chain, &mut table).await;
    sockets::rows(&chain, &mut table).await;
    media::rows(&chain, &mut table).await;
    assert_eq!(chain.instance_counts("holdfast_media_panics_total").await, 0);

    // Here the body names the user, so that 100 000 of them cost no 100 000 signatures.
    let open = Chain::start(Users::Anonymous);
    table.sit_beside(Bystander::join(&open).await);
    floods::rows(&open, &mut table).await;
    table.judge();
}
