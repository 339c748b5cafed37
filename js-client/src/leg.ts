/**
 * The browser's leg of a call: one peer connection that sends its offer at once, without waiting for candidates (the instance
 * is ICE-lite and needs none), and never renegotiates except for an ICE restart.
 */
import { packetAge } from "./liveness.ts";

/** What a leg tells its owner. */
export interface LegHandlers {
  handleTrack(track: MediaStreamTrack): void;
  handleIceDisconnected(): void;
  /** The instance closed DTLS. */
  handlePeerClosed(): void;
}

/** See the file's head. */
export class Leg {
  readonly connection: RTCPeerConnection;
  #closed = false;
  readonly #peerClosed: () => void;
  #local: Promise<void> = Promise.resolve();

  constructor(connection: RTCPeerConnection, tracks: MediaStreamTrack[], video: boolean, handlers: LegHandlers) {
    this.connection = connection;
    connection.ontrack = ({ track }) => handlers.handleTrack(track);
    connection.oniceconnectionstatechange = () => {
      if (["disconnected", "failed"].includes(connection.iceConnectionState)) {
        handlers.handleIceDisconnected();
      }
    };
    this.#peerClosed = handlers.handlePeerClosed;
    connection.onconnectionstatechange = () => this.#judge(connection.connectionState);
    const stream = tracks.length > 0 ? [new MediaStream(tracks)] : [];
    for (const kind of video ? ["audio", "video"] : ["audio"]) {
      const track = tracks.find((own) => own.kind === kind);
      connection.addTransceiver(track ?? kind, track ? { streams: stream } : { direction: "recvonly" });
    }
  }

  /** The offer; setting it locally goes on meanwhile. */
  async offer(iceRestart = false): Promise<string> {
    const offer = await this.connection.createOffer({ iceRestart });
    this.#local = this.connection.setLocalDescription(offer);
    this.#local.catch(() => {});
    return offer.sdp ?? "";
  }

  async answer(sdp: string): Promise<void> {
    await this.#local;
    await this.connection.setRemoteDescription({ type: "answer", sdp });
    // Chromium's connectionState stays "connected" after a close_notify; its DTLS transport tells.
    const transport = this.connection.getSenders()[0]?.transport;
    if (transport) {
      transport.onstatechange = () => this.#judge(transport.state);
    }
  }

  #judge(state: string): void {
    if (state === "closed" && !this.#closed) {
      this.#peerClosed();
    }
  }

  /** Takes the last offer back. */
  async rollback(): Promise<void> {
    await this.#local;
    await this.connection.setLocalDescription({ type: "rollback" });
  }

  /** Milliseconds since the last packet; undefined when none ever came or the browser can't say. */
  async packetAge(): Promise<number | undefined> {
    const report = await this.connection.getStats().catch(() => undefined);
    return report && packetAge(report.values());
  }

  /** Sends this audio codec, named as in SDP, from now on. Rejects where the browser can't. */
  async prefer(codec: string): Promise<void> {
    const [sender] = this.connection.getSenders() as [RTCRtpSender];
    const parameters = sender.getParameters();
    const [encoding] = parameters.encodings as [{ codec?: RTCRtpCodec | undefined }];
    encoding.codec = parameters.codecs.find(({ mimeType }) => mimeType === `audio/${codec}`);
    await sender.setParameters(parameters);
  }

  async replaceTrack(kind: string, track: MediaStreamTrack): Promise<void> {
    const sender = this.connection.getSenders().find((own) => own.track?.kind === kind);
    await sender?.replaceTrack(track);
  }

  /** Sends DTLS close_notify, which the instance takes as hang-up. */
  close(): void {
    this.#closed = true;
    this.connection.close();
  }
}
