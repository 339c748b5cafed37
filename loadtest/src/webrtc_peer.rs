//! A user's call on the `webrtc` crate's PeerConnection: a stack of its own from SDP to packets, to catch what the sans-IO
//! peers and the gateway might get wrong together. Dear (several hundred kB each): for tens of users, not thousands.

use crate::peer::{PACKET_INTERVAL, PAYLOAD_BYTES, PeerCounts, PeerState};
use bytes::Bytes;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCPeerConnectionState,
};

const PAYLOAD_TYPE: u8 = 111;
const SAMPLES: u32 = 960;

/// One peer connection.
pub struct WebrtcPeer {
    connection: Box<dyn PeerConnection>,
    status: Arc<Status>,
    sender: JoinHandle<()>,
}

struct Status {
    mark: u64,
    born: Instant,
    counts: Mutex<PeerCounts>,
    state: watch::Sender<PeerState>,
}

impl Status {
    fn count(&self, change: impl FnOnce(&mut PeerCounts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn become_state(&self, state: PeerState) {
        self.state.send_if_modified(|known| std::mem::replace(known, state) != state);
    }

    fn received(&self, payload: &[u8]) {
        let now = Instant::now();
        if payload.get(..8) != Some(&self.mark.to_be_bytes()) {
            return self.count(|counts| counts.foreign += 1);
        }
        let sent = payload.get(8..16).and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
        let sent = sent.and_then(|micros| self.born.checked_add(Duration::from_micros(micros)));
        self.count(|counts| {
            counts.returned += 1;
            counts.first_returned.get_or_insert(now);
            counts.last_received = Some(now);
            counts.newest_returned = counts.newest_returned.max(sent);
        });
        if *self.state.borrow() == PeerState::Connected {
            self.become_state(PeerState::Flowing);
        }
    }
}

struct Handler(Arc<Status>);

type Done<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl PeerConnectionEventHandler for Handler {
    fn on_connection_state_change<'a, 'b>(&'a self, state: RTCPeerConnectionState) -> Done<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            match state {
                RTCPeerConnectionState::Connected => {
                    self.0.count(|counts| {
                        counts.connected.get_or_insert(Instant::now());
                    });
                    if *self.0.state.borrow() == PeerState::Connecting {
                        self.0.become_state(PeerState::Connected);
                    }
                }
                RTCPeerConnectionState::Failed => self.0.become_state(PeerState::Failed),
                RTCPeerConnectionState::Closed => self.0.become_state(PeerState::Closed),
                _ => {}
            }
        })
    }

    fn on_track<'a, 'b>(&'a self, track: Arc<dyn TrackRemote>) -> Done<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let status = self.0.clone();
        Box::pin(async move {
            tokio::spawn(async move {
                while let Some(event) = track.poll().await {
                    if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                        status.received(&packet.payload);
                    }
                }
            });
        })
    }
}

impl WebrtcPeer {
    /// A peer and its offer, sent at once: an ICE-lite gateway needs no candidates of ours.
    pub async fn open() -> anyhow::Result<(Self, String)> {
        let mark = rand::random::<u64>();
        let state = watch::Sender::new(PeerState::New);
        let status = Arc::new(Status { mark, born: Instant::now(), counts: Mutex::default(), state });
        let mut media = MediaEngine::default();
        media.register_codec(codec(), RtpCodecKind::Audio)?;
        let registry = register_default_interceptors(Registry::new(), &mut media)?;
        let settings =
            SettingEngineBuilder::new().with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled).build();
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(media)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings)
            .with_handler(Arc::new(Handler(status.clone())))
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .build()
            .await?;
        let ssrc = rand::random::<u32>() | 1;
        let track: Arc<dyn TrackLocal> = Arc::new(TrackLocalStaticRTP::new(track(ssrc)));
        connection.add_track(track.clone()).await?;
        let sender = tokio::spawn(send(track, ssrc, status.clone()));
        let peer = Self { connection: Box::new(connection), status, sender };
        let offer = peer.offer().await?;
        Ok((peer, offer))
    }

    async fn offer(&self) -> anyhow::Result<String> {
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer.clone()).await?;
        Ok(offer.sdp)
    }

    /// Offer of an ICE restart.
    pub async fn restart(&self) -> anyhow::Result<String> {
        self.connection.restart_ice().await?;
        self.offer().await
    }

    /// Takes an answer.
    pub async fn accept(&mut self, sdp: String) -> anyhow::Result<()> {
        if *self.status.state.borrow() == PeerState::New {
            self.status.become_state(PeerState::Connecting);
        }
        self.connection.set_remote_description(RTCSessionDescription::answer(sdp)?).await?;
        Ok(())
    }

    /// Follows its state.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<PeerState> {
        self.status.state.subscribe()
    }

    /// What it has counted so far.
    #[must_use]
    pub fn counts(&self) -> PeerCounts {
        *self.status.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// DTLS close_notify.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "close");
        }
    }
}

impl Drop for WebrtcPeer {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

fn codec() -> RTCRtpCodecParameters {
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: Vec::new(),
    };
    RTCRtpCodecParameters { rtp_codec, payload_type: PAYLOAD_TYPE }
}

fn track(ssrc: u32) -> MediaStreamTrack {
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..RTCRtpCodingParameters::default() },
        codec: codec().rtp_codec,
        ..RTCRtpEncodingParameters::default()
    };
    let text = |name: &str| format!("loadtest-{name}-{ssrc}");
    MediaStreamTrack::new(text("stream"), text("track"), text("label"), RtpCodecKind::Audio, vec![coding])
}

/// 50 packets a second, as long as the peer lives.
async fn send(track: Arc<dyn TrackLocal>, ssrc: u32, status: Arc<Status>) {
    let mut state = status.state.subscribe();
    let connected = |state: &PeerState| matches!(state, PeerState::Connected | PeerState::Flowing);
    if state.wait_for(connected).await.is_err() {
        return;
    }
    let mut payload = [0; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&status.mark.to_be_bytes());
    let mut header = rtc::rtp::header::Header {
        version: 2,
        payload_type: PAYLOAD_TYPE,
        ssrc,
        sequence_number: 0x1000,
        ..rtc::rtp::header::Header::default()
    };
    let mut ticks = tokio::time::interval(PACKET_INTERVAL);
    loop {
        ticks.tick().await;
        header.sequence_number = header.sequence_number.wrapping_add(1);
        header.timestamp = header.timestamp.wrapping_add(SAMPLES);
        let age = u64::try_from(status.born.elapsed().as_micros()).unwrap_or(u64::MAX);
        payload[8..16].copy_from_slice(&age.to_be_bytes());
        let packet = rtc::rtp::Packet { header: header.clone(), payload: Bytes::copy_from_slice(&payload) };
        if track.write_rtp(packet).await.is_ok() {
            status.count(|counts| counts.sent += 1);
        }
    }
}
