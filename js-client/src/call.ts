import { Emitter } from "./emitter.ts";
import type { HoldfastError } from "./errors.ts";
import type { CallEnded, CallEvents, CallMedia, CallState, CallVerb, Capability } from "./events.ts";
import type { CallId, Direction } from "./protocol.gen.ts";

/** One call. Made by `client.call(..)`. */
export declare class Call extends Emitter<CallEvents> {
  readonly id: CallId;
  readonly direction: Direction;
  readonly target: string;
  readonly state: CallState;
  readonly media: CallMedia;
  readonly muted: boolean;
  /** Signalling is down while media may live: hang-up works, the rest waits. */
  readonly preserved: boolean;
  /** The far side's audio and video; its tracks appear with `remotestream`. */
  readonly remoteStream: MediaStream;
  /** How it ended, once it has. */
  readonly ended: CallEnded | undefined;
  /** For statistics; the library owns it. Undefined until the microphone is there. */
  readonly peerConnection: RTCPeerConnection | undefined;
  hangUp(): void;
  mute(): void;
  unmute(): void;
  can(verb: CallVerb): Capability;
  isServiceAvailable(service: string): boolean;
}
export type { HoldfastError };
