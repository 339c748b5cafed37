/** Stand-ins for the browser's WebRTC: enough of a peer connection and tracks for the library, with packets by decree. */
import type { FakeClock } from "./clock.ts";

export class FakeTrack extends EventTarget {
  enabled = true;
  stopped = false;
  constructor(readonly kind: "audio" | "video" = "audio") {
    super();
  }
  clone(): FakeTrack {
    return new FakeTrack(this.kind);
  }
  stop(): void {
    this.stopped = true;
  }
}

export class FakeStream {
  readonly #tracks: FakeTrack[];
  constructor(tracks: FakeTrack[] = []) {
    this.#tracks = tracks;
  }
  getTracks(): FakeTrack[] {
    return this.#tracks;
  }
  addTrack(track: FakeTrack): void {
    this.#tracks.push(track);
  }
}

/** `getUserMedia` that grants, and counts. */
export class FakeDevices {
  asked: MediaStreamConstraints[] = [];
  refusal: string | undefined;
  async getUserMedia(constraints: MediaStreamConstraints): Promise<MediaStream> {
    this.asked.push(constraints);
    if (this.refusal) {
      throw new DOMException("refused", this.refusal);
    }
    return new FakeStream([new FakeTrack(constraints.video ? "video" : "audio")]) as unknown as MediaStream;
  }
}

/** All peer connections of one tab. */
export class FakeRtc {
  readonly connections: FakePeerConnection[] = [];
  offerSdp = "v=0\r\n";
  constructor(readonly clock: FakeClock) {}

  /** The constructor to hand to the client. */
  get constructorForClient(): typeof RTCPeerConnection {
    const rtc = this;
    return class extends FakePeerConnection {
      constructor() {
        super(rtc);
        rtc.connections.push(this);
      }
    } as unknown as typeof RTCPeerConnection;
  }

  flow(): void {
    for (const connection of this.connections) {
      connection.flow();
    }
  }

  stop(): void {
    for (const connection of this.connections) {
      connection.stop();
    }
  }
}

export class FakePeerConnection {
  iceConnectionState = "new";
  connectionState = "new";
  closed = false;
  offers = 0;
  restarts = 0;
  answers: string[] = [];
  onclosed: () => void = () => {};
  ontrack: ((event: { track: FakeTrack }) => void) | null = null;
  oniceconnectionstatechange: (() => void) | null = null;
  onconnectionstatechange: (() => void) | null = null;
  #flowing = false;
  #lastPacketAt: number | undefined;
  /** What the audio sender sends, once it was told. */
  codec: string | undefined;
  readonly #senders: { track: FakeTrack | null; replaceTrack(track: FakeTrack): Promise<void> }[] = [];

  constructor(readonly rtc: FakeRtc) {}

  addTransceiver(track: FakeTrack | string): void {
    const sender = {
      track: typeof track === "string" ? null : track,
      replaceTrack: async (next: FakeTrack) => {
        sender.track = next;
      },
      getParameters: () => ({
        codecs: this.answers.length > 0 ? ["audio/opus", "audio/PCMU"].map((mimeType) => ({ mimeType })) : [],
        encodings: [{}],
      }),
      setParameters: async ({ encodings }: { encodings: { codec?: { mimeType: string } }[] }) => {
        this.codec = encodings[0]?.codec?.mimeType;
      },
    };
    this.#senders.push(sender);
  }

  getSenders() {
    return this.#senders;
  }

  async createOffer(options?: { iceRestart?: boolean }) {
    this.offers++;
    this.restarts += options?.iceRestart ? 1 : 0;
    return { type: "offer", sdp: this.rtc.offerSdp };
  }

  async setLocalDescription(): Promise<void> {}

  async setRemoteDescription({ sdp }: { sdp: string }): Promise<void> {
    this.answers.push(sdp);
  }

  async getStats() {
    const timestamp = this.rtc.clock.now();
    if (this.#flowing) {
      this.#lastPacketAt = timestamp;
    }
    const lastPacketReceivedTimestamp = this.#lastPacketAt;
    return new Map([["pair", { type: "candidate-pair", timestamp, lastPacketReceivedTimestamp }]]);
  }

  flow(): void {
    this.#flowing = !this.closed;
  }

  stop(): void {
    if (this.#flowing) {
      this.#lastPacketAt = this.rtc.clock.now();
    }
    this.#flowing = false;
  }

  close(): void {
    if (!this.closed) {
      this.closed = true;
      this.stop();
      this.onclosed();
    }
  }
}
