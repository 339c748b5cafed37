/**
 * One call: its state as the instance tells it, its media as the browser sees it, and its one end. Pure: packet ages and time
 * come from outside. `call.ts` drives it and answers the commands.
 *
 * ```text
 * state:  connecting -> ringing -> active <-> held -> ended
 * media:  connecting -> flowing <-> stalled -> ended
 * stalled: suspect (is the instance the same?) -> restart-ice -> 4 s -> media-lost
 *          on an unchanged network                -> restart-ice -> 0.9 s -> suspect -> unchanged still: media-lost
 * ```
 */
import type { CallMedia, CallState } from "./events.ts";
import { ALIVE_MS } from "./liveness.ts";
import type { EndReason, HeldBy, CallState as WireCallState } from "./protocol.gen.ts";

/** What the driver carries out, or tells the application as the event of that name. */
export type CallCommand =
  | { do: "suspect" }
  | { do: "restart-ice" }
  | { do: "media-lost" }
  | { tell: "statechange"; state: CallState; previous: CallState }
  | { tell: "holdchange"; heldBy: HeldBy | undefined }
  | { tell: "mediachange"; media: CallMedia; previous: CallMedia }
  | { tell: "mediastalled"; sinceMs: number }
  | { tell: "mediaresumed"; gapMs: number }
  | { tell: "ended"; reason: EndReason };

/** Without a packet this long the application is told. */
const TELL_STALLED_MS = 1_000;
/** The instance is asked about again this often while media stalls. */
const SUSPECT_AGAIN_MS = 2_000;
/** Media must be back within this time of an answered ICE restart: Chromium knows a new interface only 2 s later. */
const RESTART_MS = 4_000;
/** The same on a network that did not change: there is no new path to wait for. */
const RESTART_UNCHANGED_MS = 900;
/** Media must start within this time of the answer. */
const START_MS = 5_000;
/** A stalled call without signalling is given up after this time. */
const ABANDON_MS = 60_000;

/** See the file's head. */
export class CallMachine {
  state: CallState = "connecting";
  media: CallMedia = "connecting";
  /** Who holds the call. */
  heldBy: HeldBy | undefined;
  readonly #commands: CallCommand[] = [];
  /** When the last packet came; undefined before the first. */
  #lastPacketAt: number | undefined;
  #suspectAt = 0;
  /** When the stall began that the application was told of. */
  #toldSince: number | undefined;
  /** When the peer connection has to bring packets at the latest. */
  #deadline: number | undefined;
  #restarting = false;
  /** The last restart was asked for on a network that has not changed since the packets stopped. */
  #unchanged = false;
  #signalingLostAt = -RESTART_MS;

  takeCommands(): CallCommand[] {
    return this.#commands.splice(0);
  }

  /** True while packets are missing that should come. */
  get stalled(): boolean {
    return this.media === "stalled";
  }

  /** Milliseconds since the last packet; undefined before the first. */
  packetAge(now: number): number | undefined {
    return this.#lastPacketAt === undefined ? undefined : now - this.#lastPacketAt;
  }

  /** The SDP answer is set. */
  handleAnswer(now: number): void {
    if (this.media === "connecting") {
      this.#deadline = now + START_MS;
    }
  }

  /** The instance told a state, and who holds the call. */
  handleState(state: WireCallState, heldBy: HeldBy | undefined): void {
    if (this.state === "ended") {
      return;
    }
    const held = this.heldBy;
    this.heldBy = heldBy;
    if (this.state !== state) {
      this.#enter(state);
    }
    if (held !== heldBy) {
      this.#commands.push({ tell: "holdchange", heldBy });
    }
  }

  /** A look at the packets: their age in milliseconds, undefined when none ever came. */
  handleSample(ageMs: number | undefined, now: number): void {
    if (this.state === "ended") {
      return;
    }
    if (ageMs !== undefined) {
      this.#lastPacketAt = Math.max(this.#lastPacketAt ?? 0, now - ageMs);
    }
    if (ageMs !== undefined && ageMs <= ALIVE_MS) {
      return this.#flowing(now);
    }
    this.#missing(now);
  }

  /** ICE says `disconnected`: the same as packets missing. */
  handleIceDisconnected(now: number): void {
    if (this.media === "flowing") {
      this.#missing(now);
    }
  }

  /**
   * The instance is the same and can be talked to, over the socket that was there before if `linkKept`: path trouble, so a new
   * path is asked for, once on an unchanged network. Where signalling was lost shortly before the packets, it counts as changed.
   */
  handleInstanceAlive(linkKept: boolean): void {
    if (!this.stalled || this.#restarting) {
      return;
    }
    const unchanged = linkKept && (this.#lastPacketAt ?? 0) > this.#signalingLostAt + RESTART_MS;
    if (unchanged && this.#unchanged) {
      this.#commands.push({ do: "media-lost" });
    } else {
      this.#restarting = true;
      this.#unchanged = unchanged;
      this.#commands.push({ do: "restart-ice" });
    }
  }

  /** The network may have changed after all: a restart on the old one means nothing. */
  handleSignalingLost(now: number): void {
    this.#signalingLostAt = now;
    if (this.#unchanged) {
      this.#unchanged = false;
      this.#restarting &&= this.#deadline === undefined;
      this.#deadline = undefined;
    }
  }

  /** The restart was answered (`ok`) or not. */
  handleRestarted(ok: boolean, now: number): void {
    this.#restarting = ok && this.stalled;
    this.#unchanged &&= this.#restarting;
    if (this.#restarting) {
      this.#deadline = now + (this.#unchanged ? RESTART_UNCHANGED_MS : RESTART_MS);
    }
  }

  /** Ends the call; the first reason stands. */
  end(reason: EndReason): void {
    if (this.state !== "ended") {
      this.#enter("ended");
      this.#setMedia("ended");
      this.#commands.push({ tell: "ended", reason });
    }
  }

  #enter(state: CallState): void {
    const previous = this.state;
    this.state = state;
    this.#commands.push({ tell: "statechange", state, previous });
  }

  #setMedia(media: CallMedia): void {
    const previous = this.media;
    this.media = media;
    this.#commands.push({ tell: "mediachange", media, previous });
  }

  #flowing(now: number): void {
    this.#deadline = undefined;
    this.#restarting = false;
    this.#unchanged = false;
    if (this.media !== "flowing") {
      this.#setMedia("flowing");
    }
    if (this.#toldSince !== undefined) {
      this.#commands.push({ tell: "mediaresumed", gapMs: Math.round(now - this.#toldSince) });
      this.#toldSince = undefined;
    }
  }

  #missing(now: number): void {
    if (this.media === "flowing") {
      this.#setMedia("stalled");
      this.#suspectAt = now;
    }
    let over = this.#deadline !== undefined && now >= this.#deadline;
    if (over && this.#unchanged) {
      over = false;
      this.#deadline = undefined;
      this.#restarting = false;
      this.#suspectAt = now;
    }
    const ageMs = this.stalled ? (this.packetAge(now) ?? 0) : 0;
    if (this.#toldSince === undefined && ageMs >= TELL_STALLED_MS) {
      this.#toldSince = now - ageMs;
      this.#commands.push({ tell: "mediastalled", sinceMs: Math.round(ageMs) });
    }
    if (this.stalled && !this.#restarting && now >= this.#suspectAt) {
      this.#suspectAt = now + SUSPECT_AGAIN_MS;
      this.#commands.push({ do: "suspect" });
    }
    if (over || ageMs >= ABANDON_MS) {
      this.#deadline = undefined;
      this.#commands.push({ do: "media-lost" });
    }
  }
}
