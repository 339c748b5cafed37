//! Replays every committed transcript against [`Instance`]s under a stepped clock: the core plays the server.

mod world;

use gateway_protocol::transcript::{Bindings, Transcript, replay};
use world::World;

#[test]
fn the_core_plays_every_transcript() {
    let transcripts = Transcript::all().expect("the transcripts can be read");
    assert!(transcripts.len() > 20, "only {} transcripts", transcripts.len());
    let failures: Vec<String> = transcripts.iter().filter_map(|transcript| play(transcript).err()).collect();
    assert!(failures.is_empty(), "{} of {} failed\n{}", failures.len(), transcripts.len(), failures.join("\n"));
}

fn play(transcript: &Transcript) -> Result<(), String> {
    let mut vars = Bindings::new(transcript.values.clone());
    replay(transcript, &mut vars, &mut World::new(transcript)).map_err(|failure| failure.to_string())
}
