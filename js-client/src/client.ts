import type { Call } from "./call.ts";
import { Emitter } from "./emitter.ts";
import type { Capability, ClientEvents, ClientState, ClientVerb, SessionInfo } from "./events.ts";
import type { CallOptions, ClientOptions } from "./options.ts";

export declare class GatewayClient extends Emitter<ClientEvents> {
  constructor(options?: ClientOptions);
  readonly clientId: string;
  readonly state: ClientState;
  readonly session: SessionInfo | undefined;
  readonly calls: Call[];
  /** The microphone, kept live between calls. */
  readonly microphone: Microphone;
  /** Resolves when attached; rejects with a SignInError. */
  signIn(): Promise<SessionInfo>;
  signOut(): Promise<void>;
  /** After `gaveup`: try again now. */
  retry(): Promise<SessionInfo>;
  /** Throws CallError when can('call') says no. */
  call(target: string, options?: CallOptions): Call;
  can(verb: ClientVerb): Capability;
  isServiceAvailable(service: string): boolean;
}

/** Microphone and camera: asked for once, kept live. */
export declare class Microphone {
  /** Asks for the microphone (a prompt the first time). Rejects with MediaError. */
  open(): Promise<MediaStreamTrack>;
  /** Another device, in running calls and later ones. */
  choose(deviceId: string): Promise<void>;
  readonly track: MediaStreamTrack | undefined;
  close(): void;
}
