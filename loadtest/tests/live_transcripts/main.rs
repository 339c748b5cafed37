//! Replays every transcript marked `live` against running gateways, over real HTTP, WebSocket and media.

mod world;

use gateway_protocol::transcript::{Bindings, Transcript, replay};
use world::World;

#[test]
fn a_live_gateway_plays_every_live_transcript() {
    let transcripts = Transcript::all().expect("the transcripts can be read");
    let live: Vec<&Transcript> = transcripts.iter().filter(|transcript| transcript.live).collect();
    assert!(live.len() > 10, "only {} live transcripts", live.len());
    let failures: Vec<String> = live.iter().filter_map(|transcript| play(transcript).err()).collect();
    assert!(failures.is_empty(), "{} of {} failed\n{}", failures.len(), live.len(), failures.join("\n"));
}

fn play(transcript: &Transcript) -> Result<(), String> {
    let mut vars = Bindings::new(transcript.values.clone());
    replay(transcript, &mut vars, &mut World::new(transcript)).map_err(|failure| failure.to_string())
}
