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

/** A `holdfast-pin` that names another instance without proof that the old one or its boot is no more. */
const MOVED_WITHOUT_PROOF = /^moved\s*;\s*reason=(?!(gone|restarted)\b)/;

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
    return MOVED_WITHOUT_PROOF.test(pin ?? "") ? "silent" : "gone";
  }
  return status === 401 ? "unauthorized" : "none";
}

/** What a closed session socket means. */
export interface CloseVerdict {
  kind: LossKind;
  /** Not to be tried again before. */
  retryAfterMs?: number;
}

const CLOSED: Record<number, LossKind> = {
  1000: "instance-lost",
  1012: "instance-draining",
  4401: "unauthorized",
  4409: "session-superseded",
  4410: "instance-lost",
  4503: "instance-lost",
};

/** Judges a close code of the session socket (RFC 6455 §7.4, and ours). */
export function judgeClose(code: number, reason: string): CloseVerdict {
  if (code === 1013) {
    return { kind: "signaling-lost", retryAfterMs: Number(/^retry=(\d{1,6})$/.exec(reason)?.[1] ?? 1000) };
  }
  const silent = code === 4503 && reason === "silent";
  return { kind: silent ? "instance-silent" : (CLOSED[code] ?? "signaling-lost") };
}
