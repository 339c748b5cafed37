/**
 * The softphone page: wires the library to the story (story.ts) and the story to the page (page.ts).
 *
 * For tests and the browser's console `window.holdfast` holds `client` (the GatewayClient, undefined before the first
 * sign-in), `call` (the current Call, undefined without one) and `story` (what the page shows).
 */
import {
  type Call,
  type CallEvents,
  type CallOptions,
  type ClientEvents,
  GatewayClient,
  HoldfastError,
  type SessionInfo,
} from "../src/index.ts";
import { element, Page, showTokenField } from "./page.ts";
import { Meter, Player } from "./sound.ts";
import { type Action, begin, type Story, screen, type Told, tell } from "./story.ts";

declare global {
  interface Window {
    holdfast: { readonly client: GatewayClient | undefined; readonly call: Call | undefined; readonly story: Story };
  }
}

/** After the library gave up, the page asks it again this often. */
const RETRY_AFTER_GIVING_UP_MS = 15_000;
const TICK_MS = 250;
/** How to sign in again after a reload; the library keeps the session itself, and a token is never stored. */
const WAY_KEY = "holdfast-softphone";

const CLIENT_EVENTS: (keyof ClientEvents)[] = [
  "statechange",
  "signedin",
  "signedout",
  "instancechange",
  "signalinglost",
  "signalingback",
  "retrying",
  "serviceunavailable",
  "serviceavailable",
  "callsresynced",
  "ended",
  "redialed",
  "draining",
  "moved",
  "superseded",
  "unauthorized",
  "gaveup",
];
const CALL_EVENTS: (keyof CallEvents)[] = ["statechange", "mediachange", "mutechange", "mediastalled", "mediaresumed"];

let story = begin();
let client: GatewayClient | undefined;
let call: Call | undefined;
let context: AudioContext | undefined;

const page = new Page(act);
const ownMeter = new Meter(element("own-level", HTMLElement));
const remoteMeter = new Meter(element("remote-level", HTMLElement));
const player = new Player(
  element("remote-audio", HTMLAudioElement),
  element("remote-video", HTMLVideoElement),
  element("own-video", HTMLVideoElement),
  (blocked) => hear({ type: "page.sound", blocked }),
);

function hear(told: Told): void {
  story = tell(story, told, Date.now());
  page.draw(story, Date.now());
}

// Signing in and out.

/** By name where the service is open to all, otherwise by a token; `""` stands for a token that has to be asked for. */
type Way = { user: string } | { token: string };

function newClient(way: Way): GatewayClient {
  const made = new GatewayClient("user" in way ? way : { token: () => given(way.token) });
  for (const type of CLIENT_EVENTS) {
    made.on(type, (detail) => {
      if (made === client) {
        hear({ type, detail } as Told);
        hearCapabilities();
      }
    });
  }
  made.on("capabilitieschange", hearCapabilities);
  made.on("ended", (end) => end.call === call && forgetCall());
  made.on("redialed", (again) => adopt(again.call));
  made.on("gaveup", () => hear({ type: "page.retry-at", at: Date.now() + RETRY_AFTER_GIVING_UP_MS }));
  return made;
}

async function given(token: string): Promise<string> {
  if (!token) {
    throw new Error("no token given yet");
  }
  return token;
}

async function signIn(way: Way): Promise<void> {
  client = newClient(way);
  hear({ type: "page.signing-in", user: "user" in way ? way.user : "", withToken: "token" in way && way.token !== "" });
  remember("user" in way ? way : { token: "" });
  await tried(client.signIn());
}

/** How a sign-in came out is mostly told by events too; the story says each thing once. */
async function tried(attempt: Promise<SessionInfo>): Promise<void> {
  try {
    hear({ type: "page.signed-in", session: await attempt });
  } catch (error) {
    const reason = error instanceof HoldfastError ? error.reason : "failed";
    if (!["aborted", "superseded", "unreachable", "unavailable"].includes(reason)) {
      hear({ type: "page.sign-in-failed", reason });
    }
  }
}

function hearCapabilities(): void {
  const can = client?.can("call") ?? { allowed: false };
  hear({ type: "page.can-call", allowed: can.allowed, reason: can.reason });
}

function remember(way: Way | undefined): void {
  try {
    sessionStorage.setItem(WAY_KEY, JSON.stringify(way ?? null));
  } catch {
    // Storage is off: a reload asks again.
  }
}

function remembered(): Way | null {
  try {
    return JSON.parse(sessionStorage.getItem(WAY_KEY) ?? "null");
  } catch {
    return null;
  }
}

async function signOut(): Promise<void> {
  remember(undefined);
  await client?.signOut().catch(() => {});
  client?.microphone.close();
}

// Calls.

function dial(target: string, options: CallOptions): void {
  // Made in a click, so that browsers let it and the far side's sound start.
  context ??= new AudioContext();
  void context.resume().catch(() => {});
  hear({ type: "page.dialing", target, video: options.video ?? false });
  try {
    adopt(client?.call(target, options));
  } catch (error) {
    story = { ...story, call: undefined };
    hear({ type: "page.not-dialed", reason: error instanceof HoldfastError ? error.reason : "webrtc" });
  }
}

function adopt(made: Call | undefined): void {
  call = made;
  if (!made) {
    return;
  }
  for (const type of CALL_EVENTS) {
    made.on(type, (detail) => made === call && hear({ type: `call.${type}`, detail } as Told));
  }
  made.on("capabilitieschange", () => made === call && hear({ type: "page.control", preserved: made.preserved }));
  made.on("remotestream", ({ stream }) => made === call && player.play(stream));
}

function forgetCall(): void {
  call = undefined;
  player.stop();
}

function redial(options: CallOptions): void {
  if (story.last && client) {
    dial(story.last.target, { video: story.last.video, ...options });
  }
}

const ACTS: Record<Action, () => void> = {
  redial: () => redial({}),
  "listen-only": () => redial({ audio: false, video: false }),
  "without-video": () => redial({ video: false }),
  retry: () => retry(),
  "sound-on": () => {
    void context?.resume();
    player.unblock();
  },
  "take-back": () => client && void tried(client.signIn()),
  dismiss: () => hear({ type: "page.dismissed" }),
};

function act(action: Action): void {
  ACTS[action]();
}

function retry(): void {
  if (client) {
    hear({ type: "page.retry-at", at: Date.now() });
    void tried(client.retry());
  }
}

// The page.

function frame(): void {
  const sent = call?.peerConnection?.getSenders().map((sender) => sender.track) ?? [];
  const arriving = call?.remoteStream.getAudioTracks()[0];
  ownMeter.listen(context, sent.find((track) => track?.kind === "audio") ?? undefined);
  remoteMeter.listen(context, arriving);
  player.showOwn(sent.find((track) => track?.kind === "video") ?? undefined);
  ownMeter.draw();
  remoteMeter.draw();
  requestAnimationFrame(frame);
}

function tick(): void {
  const now = Date.now();
  page.tick(story, now);
  if (story.state === "gave-up" && story.retryAt !== undefined && now >= story.retryAt) {
    retry();
  }
}

function onSubmit(id: string, run: () => void): void {
  element(id, HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
}

function onClick(id: string, run: () => void): void {
  element(id, HTMLButtonElement).addEventListener("click", run);
}

const input = (id: string) => element(id, HTMLInputElement);
const wantsVideo = () => input("video").checked;

onSubmit("sign-in", () => {
  const token = input("token").value.trim();
  void signIn(token ? { token } : { user: input("user").value.trim() });
});
onSubmit("dial", () => {
  const target = input("target").value.trim();
  if (target) {
    dial(target, { video: wantsVideo() });
  }
});
for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-target]")) {
  button.addEventListener("click", () => dial(button.dataset.target ?? "", { video: wantsVideo() }));
}
onClick("use-token", showTokenField);
onClick("mute", () => (call?.muted ? call.unmute() : call?.mute()));
onClick("hang-up", () => call?.hangUp());
onClick("sign-out", () => void signOut());

window.holdfast = {
  get client() {
    return client;
  },
  get call() {
    return call;
  },
  get story() {
    return story;
  },
};

if (!window.isSecureContext) {
  hear({ type: "page.insecure" });
}
page.draw(story, Date.now());
const before = remembered();
if (before) {
  void signIn(before);
} else if (screen(story) === "sign-in") {
  input("user").focus();
}
setInterval(tick, TICK_MS);
requestAnimationFrame(frame);
