//! Bad input of every kind on the SIP side: to two instances as their SIP server and as strangers, to the registrar, from far
//! sides in calls, from clients, and on the ports of RTP. Each row of the table names what was sent, what was observed, and
//! two other users' calls that went on meanwhile.

mod bystander;
mod caller;
mod capsules;
mod chain;
mod clients;
mod cluster;
mod decliner;
mod dialogs;
mod far;
mod floods;
mod media;
mod streams;
mod table;
mod tap;
mod torture;
mod torture_messages;

#[allow(dead_code, reason = "shared with the tests of calls")]
#[path = "../telephony/browser.rs"]
mod browser;
#[allow(dead_code, reason = "shared with the tests of HTTP, sockets and media")]
#[path = "../bad_input/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the tests of calls")]
#[path = "../telephony/tone.rs"]
mod tone;

use bystander::Bystanders;
use cluster::Cluster;
use decliner::Decliner;
use table::Table;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_sip_gets_its_answer_and_harms_nobody_else() {
    let cluster = Cluster::start();
    let mut table = Table::beside(Bystanders::join(&cluster).await);
    let _mallory = Decliner::join(&cluster.tcp, "mallory").await;
    let _mallory_too = Decliner::join(&cluster.udp, "mallory").await;
    torture::rows(&cluster, &mut table).await;
    clients::rows(&cluster, &mut table).await;
    dialogs::rows(&cluster, &mut table).await;
    capsules::rows(&cluster, &mut table).await;
    streams::rows(&cluster, &mut table).await;
    media::rows(&cluster, &mut table).await;
    floods::rows(&cluster, &mut table).await;
    for chain in cluster.chains() {
        assert_eq!(chain.counts("holdfast_media_panics_total").await, 0);
    }
    table.judge();
}
