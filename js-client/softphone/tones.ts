/**
 * The sounds that a telephone makes by itself, from oscillators: ringing, waiting, the ringing at the other end, and the keys.
 */

/** See `ringOf`. */
export type Ring = "incoming" | "waiting" | "ringback";

interface Note {
  /** Seconds from the pattern's start, and how long. */
  at: number;
  lasts: number;
  hz: number[];
  level: number;
}

const chime = (at: number, hz: number): Note => ({ at, lasts: 0.5, hz: [hz, hz * 2.01], level: 0.12 });

/** Notes, repeated after `everyMs`. */
const PATTERNS: Record<Ring, { everyMs: number; notes: Note[] }> = {
  incoming: {
    everyMs: 2_600,
    notes: [chime(0, 523), chime(0.16, 659), chime(0.32, 784), chime(0.8, 523), chime(0.96, 659), chime(1.12, 784)],
  },
  waiting: {
    everyMs: 4_000,
    notes: [
      { at: 0, lasts: 0.2, hz: [440], level: 0.06 },
      { at: 0.3, lasts: 0.2, hz: [440], level: 0.06 },
    ],
  },
  // ETSI EG 201 188: 425 Hz, one second in five.
  ringback: { everyMs: 5_000, notes: [{ at: 0, lasts: 1, hz: [425], level: 0.06 }] },
};

/** ITU-T Q.23. */
const ROWS = [697, 770, 852, 941];
const COLUMNS = [1209, 1336, 1477, 1633];
const KEYS = ["123A", "456B", "789C", "*0#D"];
const KEY_S = 0.14;

/** Makes them, one ring at a time. */
export class Tones {
  #ring: Ring | undefined;
  #out: GainNode | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `context`: undefined until a person has clicked somewhere. */
  constructor(private readonly context: () => AudioContext | undefined) {}

  /** Rings so from now on; `undefined` is silence. Asking again for the same does nothing. */
  ring(ring: Ring | undefined): void {
    const context = this.context();
    if (ring === this.#ring && (ring === undefined || this.#out)) {
      return;
    }
    this.#stop();
    this.#ring = ring;
    if (ring && context) {
      const { everyMs, notes } = PATTERNS[ring];
      this.#out = new GainNode(context);
      this.#out.connect(context.destination);
      const play = () => this.#out && playNotes(context, this.#out, notes);
      play();
      this.#timer = setInterval(play, everyMs);
    }
  }

  /** The tone of a key, for the person who pressed it. */
  key(digit: string): void {
    const context = this.context();
    const row = KEYS.findIndex((keys) => keys.includes(digit));
    const hz = [ROWS[row], COLUMNS[KEYS[row]?.indexOf(digit) ?? -1]].filter((one) => one !== undefined);
    if (context && hz.length === 2) {
      playNotes(context, context.destination, [{ at: 0, lasts: KEY_S, hz, level: 0.08 }]);
    }
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#out?.disconnect();
    this.#out = undefined;
  }
}

function playNotes(context: AudioContext, out: AudioNode, notes: Note[]): void {
  for (const { at, lasts, hz, level } of notes) {
    const from = context.currentTime + at + 0.01;
    const gain = new GainNode(context, { gain: 0 });
    gain.gain.setValueAtTime(0, from);
    gain.gain.linearRampToValueAtTime(level, from + 0.012);
    gain.gain.setValueAtTime(level, from + lasts - 0.05);
    gain.gain.linearRampToValueAtTime(0, from + lasts);
    gain.connect(out);
    for (const frequency of hz) {
      const tone = new OscillatorNode(context, { frequency });
      tone.connect(gain);
      tone.start(from);
      tone.stop(from + lasts);
    }
  }
}
