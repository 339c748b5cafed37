/**
 * The calls of the page: makes, answers, holds, switches, passes on. Tells the story what was asked for and how it went; decides
 * that one call at a time is talked in.
 */
import {
  type Call,
  CallError,
  type CallEvents,
  type CallOptions,
  type CallVerb,
  type GatewayClient,
  HoldfastError,
} from "../src/index.ts";
import { type Asked, frontCall, isAlerting } from "./calls.ts";
import type { Story, Told } from "./story.ts";

const CALL_EVENTS: (keyof CallEvents)[] = [
  ...([
    "statechange",
    "holdchange",
    "mediachange",
    "mutechange",
    "digit",
    "partychange",
    "mediastalled",
    "mediaresumed",
  ] as const),
];
const VERBS: CallVerb[] = ["answer", "hold", "unhold", "transfer", "digits"];

/** What the phone needs of the page. */
export interface PhoneHost {
  hear(told: Told): void;
  story(): Story;
  client(): GatewayClient | undefined;
  /** The far side's tracks of a call are there. */
  arrived(call: Call): void;
}

/** See the file's head. */
export class Phone {
  readonly #calls = new Map<string, Call>();

  constructor(private readonly host: PhoneHost) {}

  /** The call in front. */
  get front(): Call | undefined {
    return this.#calls.get(frontCall(this.host.story())?.id ?? "");
  }

  /** Listens to a call until it ends. */
  adopt(call: Call): void {
    const { id } = call;
    this.#calls.set(id, call);
    for (const type of CALL_EVENTS) {
      call.on(type, (detail) => this.host.hear({ type: `call.${type}`, id, detail } as Told));
    }
    call.on("capabilitieschange", () => this.hearCapabilities(call));
    call.on("remotestream", () => this.host.arrived(call));
    call.on("ended", () => this.#calls.delete(id));
    this.hearCapabilities(call);
  }

  hearCapabilities(call: Call): void {
    const entries = VERBS.map((verb) => [verb, call.can(verb).reason]).filter(([, reason]) => reason !== undefined);
    const refused = Object.fromEntries(entries);
    this.host.hear({ type: "page.control", id: call.id, preserved: call.preserved, refused });
  }

  /** Calls somebody; the call in front is put on hold for it. */
  async dial(target: string, options: CallOptions): Promise<void> {
    if (!(await this.#makeRoom())) {
      return;
    }
    try {
      const call = this.host.client()?.call(target, options);
      if (call) {
        this.host.hear({ type: "page.dialing", id: call.id, target, video: options.video ?? false });
        this.adopt(call);
      }
    } catch (error) {
      const { reason, message } = asError(error);
      this.host.hear({ type: "page.not-dialed", reason: reason === "service-unavailable" ? message : reason });
    }
  }

  /** Takes an incoming call; the call in front is put on hold for it. */
  async answer(id: string, options: CallOptions): Promise<void> {
    const call = this.#calls.get(id);
    if (call && (await this.#makeRoom())) {
      await this.#ask(id, "answer", () => call.answer(options), options.video ?? false);
    }
  }

  reject(id: string): void {
    this.#calls.get(id)?.reject();
  }

  /** Holds the call in front, or takes it back. */
  async toggleHold(): Promise<void> {
    const call = this.front;
    if (call) {
      const back = call.can("unhold").allowed;
      await this.#ask(call.id, back ? "unhold" : "hold", () => (back ? call.unhold() : call.hold()));
    }
  }

  /** Brings a call to the front and talks in it; the one there before is put on hold. */
  async toFront(id: string): Promise<void> {
    const call = this.#calls.get(id);
    if (call && (await this.#makeRoom())) {
      this.host.hear({ type: "page.front", id });
      if (call.can("unhold").allowed) {
        await this.#ask(id, "unhold", () => call.unhold());
      }
    }
  }

  press(digit: string): void {
    const call = this.front;
    if (call?.can("digits").allowed) {
      const { id } = call;
      this.host.hear({ type: "page.digit", id, digit });
      call.sendDigits(digit).catch((cause) => {
        this.host.hear({ type: "page.settled", id, what: "digits", error: asError(cause) });
      });
    }
  }

  /** Passes the call in front on to `target`. */
  async transfer(target: string): Promise<void> {
    const call = this.front;
    if (call) {
      await this.#ask(call.id, "transfer", () => call.transfer(target));
    }
  }

  /** Connects the call in front with another one, and leaves both. */
  async connect(otherId: string | undefined): Promise<void> {
    const call = this.front;
    const other = this.#calls.get(otherId ?? "");
    if (call && other) {
      await this.#ask(call.id, "transfer", () => call.transferTo(other));
    }
  }

  /** True when nobody is talked to any more: the call in front is on hold, or over if it can't be held. */
  async #makeRoom(): Promise<boolean> {
    const call = this.front;
    if (!call || call.heldBy === "local" || call.heldBy === "both") {
      return true;
    }
    const { allowed, reason } = call.can("hold");
    if (allowed) {
      return this.#ask(call.id, "hold", () => call.hold());
    }
    if (reason === "not-supported" || reason === "wrong-state") {
      call.hangUp();
      return true;
    }
    return false;
  }

  async #ask(id: string, what: Asked, run: () => Promise<void>, video?: boolean): Promise<boolean> {
    this.host.hear({ type: "page.asked", id, what, ...(video !== undefined && { video }) });
    const error = await run().then(() => undefined, asError);
    const over = this.host.story().calls.every((call) => call.id !== id || (isAlerting(call) && !error));
    this.host.hear({ type: "page.settled", id, what, error: over ? undefined : error });
    return error === undefined;
  }
}

function asError(cause: unknown): HoldfastError {
  return cause instanceof HoldfastError ? cause : new CallError("webrtc", String(cause));
}
