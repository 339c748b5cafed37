/**
 * The HTTP half of the protocol: sign in, probe, sign off. Turns every answer, refusal and silence into a value; never rejects.
 */
import { parseObject } from "./json.ts";
import type { Clock } from "./options.ts";
import type { Problem, SignedIn, SignIn } from "./protocol.gen.ts";
import type { Session, SignInFailure } from "./reconnect.ts";
import type { ProbeAnswer } from "./verdict.ts";

/** A balancer tries several instances within this time. */
const SIGN_IN_MS = 4_000;
/** A probe that takes longer is no verdict. */
const PROBE_MS = 700;
/** A sign-off is not waited for longer. */
const SIGN_OFF_MS = 1_000;

/** A service that asks for more is asked again all the same. */
const MAX_RETRY_AFTER_S = 600;

/** What a sign-in brought. */
export type SignInResult = Session | { failure: SignInFailure };

/** A sign-in's body; what is undefined is left out of the JSON. */
export type SignInBody = { [Key in keyof SignIn]: SignIn[Key] | undefined };

type Answer =
  | { kind: "network" | "timeout" }
  | (Extract<ProbeAnswer, { kind: "status" }> &
      Extract<SignInFailure, { kind: "status" }> & { body: Partial<SignedIn> });

/** Headers of one sign-in. */
export interface SignInHeaders {
  jwt: string | undefined;
  /** Makes a repeated sign-in the same one. */
  key: string;
  avoid: string | undefined;
}

/** See the file's head. */
export class Http {
  readonly #fetch: typeof fetch;
  readonly #clock: Clock;

  constructor(fetchLike: typeof fetch, clock: Clock) {
    this.#fetch = fetchLike;
    this.#clock = clock;
  }

  async signIn(url: string, body: SignInBody, { key, jwt, avoid }: SignInHeaders): Promise<SignInResult> {
    const answer = await this.#ask(`${url}/v1/sessions`, SIGN_IN_MS, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "idempotency-key": key,
        ...(jwt && bearer(jwt)),
        ...(avoid && { "holdfast-avoid": avoid }),
      },
      body: JSON.stringify(body),
    });
    return "body" in answer && answer.status === 201 ? { ...(answer.body as SignedIn), url } : { failure: answer };
  }

  probe(url: string, session: Session, limitMs = PROBE_MS): Promise<ProbeAnswer> {
    return this.#ask(sessionUrl(url, session), limitMs, { headers: bearer(session.session_token) });
  }

  /** Survives the page (`keepalive`). */
  async signOff(session: Session): Promise<void> {
    const init = { method: "DELETE", keepalive: true, headers: bearer(session.session_token) };
    await this.#ask(sessionUrl(session.url, session), SIGN_OFF_MS, init);
  }

  /** The time limit includes the body: a connection may die half-way through it. */
  async #ask(url: string, limitMs: number, init: RequestInit): Promise<Answer> {
    const abort = new AbortController();
    const cancel = this.#clock.after(limitMs, () => abort.abort());
    try {
      const send = this.#fetch;
      const response = await send(url, { credentials: "include", cache: "no-store", ...init, signal: abort.signal });
      const body: Partial<SignedIn & Problem> = parseObject(await response.text()) ?? {};
      const header = (name: string) => response.headers.get(name) ?? undefined;
      return {
        kind: "status",
        status: response.status,
        body,
        problem: body.type,
        detail: body.detail,
        bootId: body.boot_id ?? header("holdfast-boot"),
        pin: header("holdfast-pin"),
        // In seconds on the wire; a date or nonsense counts as none.
        retryAfterMs: Math.min(Number(header("retry-after")) || 0, MAX_RETRY_AFTER_S) * 1000,
      };
    } catch (error) {
      return { kind: (error as Error)?.name === "AbortError" ? "timeout" : "network" };
    } finally {
      cancel();
    }
  }
}

function sessionUrl(url: string, session: Session): string {
  return `${url}/v1/sessions/${session.session_id}`;
}

function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` };
}
