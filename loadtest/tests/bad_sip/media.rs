//! The ports of the SIP side's RTP: the bystanders' own, from strangers and from where their phones send.

use crate::bystander::packet;
use crate::chain::Chain;
use crate::cluster::Cluster;
use crate::table::Table;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;

const PACKETS: u32 = 50;
const LOOK: Duration = Duration::from_millis(10);
/// A receiver report about nobody.
const RTCP: [u8; 8] = [0x80, 201, 0, 1, 9, 9, 9, 9];

pub(crate) async fn rows(cluster: &Cluster, table: &mut Table) {
    let chain = &cluster.tcp;
    let (rtp, phone) = table.sound();
    let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
    let bind = async |ip: &str| Arc::new(UdpSocket::bind((ip, 0)).await.expect("a port"));
    // RTCP may come from any port of the phone's address.
    let (neighbour, stranger) = (bind("127.0.0.1").await, bind("127.0.0.2").await);
    let sound = [0xd5; 160];
    let spray = |ssrc: u32| (0..PACKETS).map(|number| packet(number, 0, ssrc, &sound)).collect::<Vec<_>>();
    let noise = (1..1400).step_by(28).map(|length| (0..length).map(|at| (at * 31 + length) as u8).collect()).collect();
    let own = 0x1234_5678;
    let mut sources = packet(9, 0, own, &[]);
    sources[0] = 0x8f;
    let others = (0..PACKETS).map(|number| packet(number, 0, 7 + number, &sound)).collect();
    for (item, from, to, packets, reason) in [
        ("RTP from a stranger", &stranger, rtp, spray(7), "far_address"),
        ("RTP from the phone's address, another port", &neighbour, rtp, spray(7), "far_address"),
        ("RTP from a stranger with the phone's source", &stranger, rtp, spray(own), "far_address"),
        ("RTP of 50 other sources from the phone's port", &phone, rtp, others, "far_source"),
        ("RTP of another payload type", &phone, rtp, vec![packet(9, 9, own, &sound); 50], "far_"),
        ("RTP cut short", &phone, rtp, vec![vec![0x80, 0, 0, 1]; 50], "far_payload"),
        ("RTP with more sources than bytes", &phone, rtp, vec![sources; 50], "far_"),
        ("noise of 1 to 1400 bytes from a stranger", &stranger, rtp, noise, ""),
        ("RTCP from a stranger", &stranger, rtcp, vec![RTCP.to_vec(); 50], "far_address"),
        ("RTCP garbage from a stranger", &stranger, rtcp, vec![vec![0x80; 100]; 50], "far_address"),
        ("RTCP garbage from the phone's address", &neighbour, rtcp, vec![vec![0x80; 100]; 50], "far_payload"),
        ("RTCP that is longer than it is", &phone, rtcp, vec![vec![0x80, 201, 0xff, 0xff]; 50], "far_payload"),
    ] {
        table.row(item, &format!("dropped as {reason}"), dropped(chain, from, to, &packets, reason)).await;
    }
    let item = "RTP from a stranger at every port of the range";
    let all = async {
        for port in 34_000..34_500 {
            let _ = stranger.send_to(&packet(1, 0, 7, &sound), (rtp.ip(), port)).await;
        }
        // That of a call that is there is counted.
        dropped(chain, &stranger, rtp, &spray(7), "far_address").await
    };
    table.row(item, "dropped as far_address", all).await;
}

/// Sends them and waits until at least half of them were counted as dropped for the reason, or reasons, that begin so: after a
/// pause of the machine one may pass for the phone's next source, and an old number is told before an odd payload.
async fn dropped(chain: &Chain, from: &UdpSocket, to: SocketAddr, packets: &[Vec<u8>], reason: &str) -> String {
    let line = format!("holdfast_media_dropped_total{{reason=\"{reason}");
    let count = async || -> u64 {
        let text = chain.figures().await;
        let lines = text.lines().filter_map(|each| each.strip_prefix(&line));
        lines.filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    let goal = count().await + packets.len() as u64 / 2;
    for packet in packets {
        from.send_to(packet, to).await.expect("sent");
    }
    let mut looks = tokio::time::interval(LOOK);
    let counted = async {
        while count().await < goal {
            looks.tick().await;
        }
    };
    match tokio::time::timeout(crate::far::PATIENCE, counted).await {
        Ok(()) => format!("dropped as {reason}"),
        Err(_) => format!("{} too few counted as {reason}", goal.saturating_sub(count().await)),
    }
}
