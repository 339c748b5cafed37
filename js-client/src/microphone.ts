/**
 * Microphone and camera: asked for once, kept live between calls, so that a new call needs no new prompt. Each call sends a
 * clone, so that muting one call does not mute another.
 */
import { MediaError } from "./errors.ts";

type Kind = "audio" | "video";

/** See the file's head. */
export class Microphone {
  readonly #devices: Pick<MediaDevices, "getUserMedia"> | undefined;
  readonly #tracks: Partial<Record<Kind, Promise<MediaStreamTrack>>> = {};
  readonly #chosen: Partial<Record<Kind, string>> = {};
  /** Told of a new track after `choose`, so that running calls send it. */
  readonly #replaced: (kind: Kind, track: MediaStreamTrack) => void;
  #live: MediaStreamTrack | undefined;

  /** @internal */
  constructor(
    devices: Pick<MediaDevices, "getUserMedia"> | undefined,
    replaced: (kind: Kind, track: MediaStreamTrack) => void,
  ) {
    this.#devices = devices;
    this.#replaced = replaced;
  }

  /** The live microphone track, for level meters; undefined before the first use. */
  get track(): MediaStreamTrack | undefined {
    return this.#live;
  }

  /** Asks for the microphone, with a prompt the first time. Rejects with a {@link MediaError}. */
  open(): Promise<MediaStreamTrack> {
    return this.get("audio");
  }

  /** Uses another device, in running calls and later ones. Rejects with a {@link MediaError}; the old one stays then. */
  async choose(deviceId: string, kind: Kind = "audio"): Promise<void> {
    const before = this.#tracks[kind];
    const opening = this.#ask(kind, deviceId);
    const track = await opening;
    this.#chosen[kind] = deviceId;
    this.#keep(kind, opening, track);
    this.#replaced(kind, track);
    (await before?.catch(() => undefined))?.stop();
  }

  /** Switches the devices off. */
  close(): void {
    for (const kind of ["audio", "video"] as const) {
      this.#tracks[kind]?.then((track) => track.stop()).catch(() => {});
      delete this.#tracks[kind];
    }
    this.#live = undefined;
  }

  /** @internal The live track of a kind; asks for it if need be. */
  get(kind: Kind): Promise<MediaStreamTrack> {
    const known = this.#tracks[kind];
    if (known) {
      return known;
    }
    const opening = this.#ask(kind, this.#chosen[kind]);
    this.#tracks[kind] = opening;
    opening.then(
      (track) => this.#keep(kind, opening, track),
      () => delete this.#tracks[kind],
    );
    return opening;
  }

  #keep(kind: Kind, opening: Promise<MediaStreamTrack>, track: MediaStreamTrack): void {
    this.#tracks[kind] = opening;
    if (kind === "audio") {
      this.#live = track;
    }
    track.addEventListener?.("ended", () => {
      if (this.#tracks[kind] === opening) {
        delete this.#tracks[kind];
        delete this.#chosen[kind];
      }
    });
  }

  async #ask(kind: Kind, deviceId?: string): Promise<MediaStreamTrack> {
    if (!this.#devices) {
      throw new MediaError();
    }
    try {
      const wanted = deviceId ? { deviceId: { exact: deviceId } } : true;
      const stream = await this.#devices.getUserMedia({ [kind]: wanted });
      // It resolves with a track of every kind that was asked for, or not at all.
      return stream.getTracks()[0] as MediaStreamTrack;
    } catch (error) {
      throw new MediaError(error as Error);
    }
  }
}
