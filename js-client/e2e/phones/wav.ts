// What a phone played, from the WAV file of 16-bit samples that it writes.

/** For a header that is still empty. */
const UNFINISHED = { channels: 1, rate: 48_000, data: 44 };

/** The loudest tone of the last half second in Hz, in steps of 10; 0 in silence. */
export function loudest(wav: Buffer): number {
  if (wav.length < UNFINISHED.data) return 0;
  const isFinished = wav.toString("latin1", 0, 4) === "RIFF";
  const { channels, rate, data } = isFinished
    ? { channels: wav.readUInt16LE(22), rate: wav.readUInt32LE(24), data: wav.indexOf("data") + 8 }
    : UNFINISHED;
  const frames = Math.floor((wav.length - data) / 2 / channels);
  const wanted = Math.floor(rate / 2);
  if (frames < wanted) return 0;
  const samples = Float64Array.from({ length: wanted }, (_, n) => {
    return wav.readInt16LE(data + (frames - wanted + n) * 2 * channels);
  });
  let best = { hz: 0, power: 1e10 };
  for (let hz = 100; hz < 2_000; hz += 10) {
    const power = goertzel(samples, hz / rate);
    if (power > best.power) best = { hz, power };
  }
  return best.hz;
}

function goertzel(samples: Float64Array, frequency: number): number {
  const coefficient = 2 * Math.cos(2 * Math.PI * frequency);
  let [before, last] = [0, 0];
  for (const sample of samples) [before, last] = [last, sample + coefficient * last - before];
  return last * last + before * before - coefficient * last * before;
}
