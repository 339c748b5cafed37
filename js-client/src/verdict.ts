/**
 * What an answer or a close code proves about the instance of a session: the table of losses, and nothing else. Pure.
 *
 * A time-out proves nothing. An instance is `gone` only on proof; one that a balancer merely stopped hearing is `silent`, and
 * then its media decides.
 */
import type { LossKind } from "./events.ts";

/** What a probe brought. `network` and `timeout`: no answer. */
export type ProbeAnswer =
  | { kind: "network" | "timeout" }
  | { kind: "status"; status: number; bootId?: string | undefined; pin?: string | undefined; retryAfterMs?: number };

/** `none`: ask elsewhere or later. */
export type Verdict = "alive" | "gone" | "silent" | "unauthorized" | "none";

/** Pin answers (`holdfast-pin: moved; reason=..`) that prove that the instance or its boot is no more. */
const PROOF_OF_DEATH = new Set(["gone", "restarted"]);

/** Judges the answer to `GET /v1/sessions/{id}` for a session on the boot `bootId`. */
export function judgeProbe(answer: ProbeAnswer, bootId: string | undefined): Verdict {
  if (answer.kind !== "status") {
    return "none";
  }
  const { status, pin } = answer;
  if (status === 200 && answer.bootId === bootId) {
    return "alive";
  }
  const gone = status === 404 || status === 410 || (status < 500 && !!answer.bootId && answer.bootId !== bootId);
  if (gone) {
    const moved = /^moved\s*;\s*reason=([a-z-]+)/.exec(pin ?? "");
    return moved && !PROOF_OF_DEATH.has(moved[1] ?? "") ? "silent" : "gone";
  }
  return status === 401 ? "unauthorized" : "none";
}

/** What a closed session socket means. */
export interface CloseVerdict {
  kind: LossKind;
  /** Not to be tried again before. */
  retryAfterMs?: number;
}

/** Judges a close code of the session socket (RFC 6455 §7.4, and ours). */
export function judgeClose(code: number, reason: string): CloseVerdict {
  switch (code) {
    case 1012:
      return { kind: "instance-draining" };
    case 1013:
      return { kind: "signaling-lost", retryAfterMs: Number(/^retry=(\d{1,6})$/.exec(reason)?.[1] ?? 1000) };
    case 4401:
      return { kind: "unauthorized" };
    case 4409:
      return { kind: "session-superseded" };
    case 1000:
    case 4410:
      return { kind: "instance-lost" };
    case 4503:
      return { kind: reason === "silent" ? "instance-silent" : "instance-lost" };
    default:
      return { kind: "signaling-lost" };
  }
}
