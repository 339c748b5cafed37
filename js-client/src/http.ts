/**
 * The HTTP half of the protocol: sign in, probe, sign off. Turns every answer, refusal and silence into a value; never rejects.
 */
import { parseObject } from "./json.ts";
import type { Clock } from "./options.ts";
import type { Problem, SessionProbe, SignedIn, SignIn } from "./protocol.gen.ts";
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

  async signIn(url: string, body: SignInBody, headers: SignInHeaders): Promise<SignInResult> {
    try {
      const answer = await this.#ask(`${url}/v1/sessions`, SIGN_IN_MS, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "idempotency-key": headers.key,
          ...(headers.jwt && bearer(headers.jwt)),
          ...(headers.avoid && { "holdfast-avoid": headers.avoid }),
        },
        body: JSON.stringify(body),
      });
      if (answer.response.status !== 201) {
        return { failure: refusal(answer) };
      }
      return { ...(answer.body as SignedIn), url };
    } catch (error) {
      return { failure: { kind: noAnswer(error) } };
    }
  }

  async probe(url: string, session: Session, limitMs = PROBE_MS): Promise<ProbeAnswer> {
    try {
      const { response, body } = await this.#ask(`${url}/v1/sessions/${session.session_id}`, limitMs, {
        headers: bearer(session.session_token),
      });
      const bootId = (body as Partial<SessionProbe>).boot_id ?? response.headers.get("holdfast-boot") ?? undefined;
      const pin = response.headers.get("holdfast-pin") ?? undefined;
      return { kind: "status", status: response.status, bootId, pin, retryAfterMs: retryAfter(response) };
    } catch (error) {
      return { kind: noAnswer(error) };
    }
  }

  /** Survives the page (`keepalive`). */
  async signOff(session: Session): Promise<void> {
    const init = { method: "DELETE", keepalive: true, headers: bearer(session.session_token) };
    await this.#ask(`${session.url}/v1/sessions/${session.session_id}`, SIGN_OFF_MS, init).catch(() => {});
  }

  /** The time limit includes the body: a connection may die half-way through it. */
  async #ask(url: string, limitMs: number, init: RequestInit): Promise<{ response: Response; body: unknown }> {
    const abort = new AbortController();
    const cancel = this.#clock.after(limitMs, () => abort.abort());
    try {
      const send = this.#fetch;
      const response = await send(url, { credentials: "include", cache: "no-store", ...init, signal: abort.signal });
      const text = await response.text();
      return { response, body: parseObject(text) ?? {} };
    } finally {
      cancel();
    }
  }
}

function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` };
}

function noAnswer(error: unknown): "network" | "timeout" {
  return (error as Error)?.name === "AbortError" ? "timeout" : "network";
}

/** In seconds on the wire; a date or nonsense counts as none. */
function retryAfter(response: Response): number {
  return Math.min(Number(response.headers.get("retry-after")) || 0, MAX_RETRY_AFTER_S) * 1000;
}

function refusal({ response, body }: { response: Response; body: unknown }): SignInFailure {
  const { type, detail } = body as Partial<Problem>;
  return { kind: "status", status: response.status, problem: type, detail, retryAfterMs: retryAfter(response) };
}
