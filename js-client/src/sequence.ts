/**
 * Keeps numbered events in order: none twice, none over a hole. Pure.
 */

/** `resync`: ask for a snapshot, once; what comes until then is dropped, the snapshot includes it. */
export type SequenceVerdict = "take" | "drop" | "resync";

/** See the file's head. */
export class Sequence {
  #epoch = "";
  #seq = 0;
  #resyncing = false;

  /** A snapshot includes everything up to `seq`. */
  reset(epoch: string, seq: number): void {
    this.#epoch = epoch;
    this.#seq = seq;
    this.#resyncing = false;
  }

  /** A snapshot was asked for because of a hole. */
  get resyncing(): boolean {
    return this.#resyncing;
  }

  judge(epoch: string, seq: number): SequenceVerdict {
    if (this.#resyncing || (epoch === this.#epoch && seq <= this.#seq)) {
      return "drop";
    }
    if (epoch === this.#epoch && seq === this.#seq + 1) {
      this.#seq = seq;
      return "take";
    }
    this.#resyncing = true;
    return "resync";
  }
}
