/**
 * The choice of a microphone. Browsers name devices only to pages that were once let have one, so before that a button asks.
 */
import { button, element, make } from "./dom.ts";

/** Shows what there is in `#microphone`. */
export class Devices {
  readonly #select = element("microphone", HTMLSelectElement);
  #shown = "";

  /** `chosen` gets a device's id. `current`: the id of the one in use. */
  constructor(
    chosen: (deviceId: string) => void,
    private readonly current: () => string | undefined,
  ) {
    this.#select.addEventListener("change", () => chosen(this.#select.value));
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.refresh());
  }

  /** Looks again at what there is. */
  async refresh(): Promise<void> {
    const all = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    const microphones = all.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId !== "communications");
    const named = microphones.filter(({ label, deviceId }) => label && deviceId);
    this.#select.hidden = named.length === 0;
    button("ask-microphone").hidden = named.length > 0 || !navigator.mediaDevices;
    const wanted = JSON.stringify(named.map(({ deviceId, label }) => [deviceId, label]));
    if (wanted !== this.#shown) {
      this.#shown = wanted;
      this.#select.replaceChildren(...named.map(({ deviceId, label }) => make("option", { value: deviceId }, label)));
    }
    const current = this.current();
    if (current && named.some(({ deviceId }) => deviceId === current)) {
      this.#select.value = current;
    }
  }
}
