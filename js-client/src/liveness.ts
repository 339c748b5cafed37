/**
 * Whether media lives, from one `getStats` result. Pure.
 *
 * The one rule that holds in Chromium and Firefox: the smallest `timestamp - lastPacketReceivedTimestamp` over the candidate
 * pairs of one call of `getStats`. STUN does not move it, RTP and RTCP do; both stamps come from the same clock.
 */

/** A packet within this time means alive. */
export const ALIVE_MS = 600;

/** What of a candidate pair's statistics is read. */
interface PairStats {
  type: string;
  timestamp: number;
  lastPacketReceivedTimestamp?: number;
}

/** Milliseconds since the last packet; undefined when none ever came. */
export function packetAge(report: Iterable<PairStats>): number | undefined {
  let age: number | undefined;
  for (const stats of report) {
    if (stats.type === "candidate-pair" && stats.lastPacketReceivedTimestamp) {
      const own = Math.max(0, stats.timestamp - stats.lastPacketReceivedTimestamp);
      age = age === undefined ? own : Math.min(age, own);
    }
  }
  return age;
}
