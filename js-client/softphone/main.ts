/**
 * The softphone page: wires the library to the story (story.ts), the story to the page (page.ts), and the page to the library
 * (phone.ts).
 *
 * A link may say who signs in and who is to be called: `?user=bob&call=alice`. It signs in, and calls on a click.
 *
 * For tests and the browser's console `window.holdfast` holds `client` (the GatewayClient, undefined before the first
 * sign-in), `call` (the Call in front, undefined without one) and `story` (what the page shows).
 */
import {
  type Call,
  type CallOptions,
  type ClientEvents,
  GatewayClient,
  HoldfastError,
  type SessionInfo,
} from "../src/index.ts";
import { behind, ringing, ringOf } from "./calls.ts";
import { Devices } from "./devices.ts";
import { element, input, onClick, onSubmit } from "./dom.ts";
import { Page, showTokenField } from "./page.ts";
import { Phone } from "./phone.ts";
import { Meter, Player } from "./sound.ts";
import { type Action, begin, type Story, screen, type Told, tell } from "./story.ts";
import { Tones } from "./tones.ts";

declare global {
  interface Window {
    holdfast: { readonly client: GatewayClient | undefined; readonly call: Call | undefined; readonly story: Story };
  }
}

/** After the library gave up, the page asks it again this often. */
const RETRY_AFTER_GIVING_UP_MS = 15_000;
const TICK_MS = 250;
/** The meters move so often: every frame of a screen costs a small machine more than the call does. */
const FRAME_MS = 50;
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
  "sessionrecovered",
  "incomingcall",
  "ended",
  "redialed",
  "draining",
  "moved",
  "superseded",
  "unauthorized",
  "gaveup",
];
let story = begin();
let client: GatewayClient | undefined;
let context: AudioContext | undefined;
let drawnAt = 0;

const phone = new Phone({ hear, story: () => story, client: () => client, arrived: showCall });
const page = new Page(act, {
  answer: (id, video) => wake() && void phone.answer(id, { video }),
  reject: (id) => phone.reject(id),
  toFront: (id) => void phone.toFront(id),
  key: press,
});
const tones = new Tones(() => (context?.state === "running" ? context : undefined));
const devices = new Devices(
  (id) => void chooseMicrophone(id),
  () => client?.microphone.track?.getSettings().deviceId,
);
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
  showCall();
}

/** Makes sound possible; browsers let it start in answer to a click or a key alone. */
function wake(): true {
  context ??= new AudioContext();
  void context.resume().catch(() => {});
  return true;
}

// Signing in and out.

/** By name where the service is open to all, otherwise by a token; `""` stands for a token that has to be asked for. */
type Way = { user: string } | { token: string };

function newClient(way: Way): GatewayClient {
  const made = new GatewayClient({
    ...("user" in way ? way : { token: () => given(way.token) }),
    onCallLost: () => (input("resume").checked ? "resume" : "hang_up"),
  });
  for (const type of CLIENT_EVENTS) {
    made.on(type, (detail) => {
      if (made === client) {
        hear({ type, detail } as Told);
        hearCapabilities();
      }
    });
  }
  made.on("capabilitieschange", hearCapabilities);
  made.on("incomingcall", ({ call }) => phone.adopt(call));
  made.on("redialed", ({ call }) => phone.adopt(call));
  made.on("gaveup", () => hear({ type: "page.retry-at", at: Date.now() + RETRY_AFTER_GIVING_UP_MS }));
  made.on("signedin", () => void devices.refresh());
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
  wake();
  void phone.dial(target, options).then(() => devices.refresh());
}

/** Plays the call in front, and rings for those that wait. */
let shown: Call | undefined;
function showCall(): void {
  const call = phone.front;
  if (call !== shown) {
    shown = call;
    player.stop();
    void devices.refresh();
  }
  if (call && call.remoteStream.getTracks().length > 0) {
    player.play(call.remoteStream);
  }
}

function redial(options: CallOptions): void {
  if (story.last && client) {
    dial(story.last.target, { video: story.last.video, ...options });
  }
}

/** Without a microphone: the call that rings, or the last one once more. */
function listenOnly(): void {
  const [call] = ringing(story);
  if (call && wake()) {
    void phone.answer(call.id, { audio: false, video: false });
  } else {
    redial({ audio: false, video: false });
  }
}

function press(digit: string): void {
  tones.key(digit);
  phone.press(digit);
}

async function chooseMicrophone(id: string | undefined): Promise<void> {
  try {
    await (id === undefined ? client?.microphone.open() : client?.microphone.choose(id));
  } catch (error) {
    if (error instanceof HoldfastError) {
      hear({ type: "page.microphone-failed", error });
    }
  }
  await devices.refresh();
}

const ACTS: Record<Action, () => void> = {
  redial: () => redial({}),
  "call-back": () => redial({}),
  "listen-only": listenOnly,
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

function frame(at: number): void {
  requestAnimationFrame(frame);
  if (at - drawnAt < FRAME_MS) {
    return;
  }
  drawnAt = at;
  const call = phone.front;
  const sent = call?.peerConnection?.getSenders().map((sender) => sender.track) ?? [];
  const arriving = call?.remoteStream.getAudioTracks()[0];
  ownMeter.listen(context, sent.find((track) => track?.kind === "audio") ?? undefined);
  remoteMeter.listen(context, arriving);
  player.showOwn(sent.find((track) => track?.kind === "video") ?? undefined);
  ownMeter.draw();
  remoteMeter.draw();
}

function tick(): void {
  const now = Date.now();
  page.tick(story, now);
  const ring = ringOf(story);
  // Where the other end sends its own ringing, that is what is heard.
  tones.ring(ring === "ringback" && remoteMeter.moves ? undefined : ring);
  if (story.state === "gave-up" && story.retryAt !== undefined && now >= story.retryAt) {
    retry();
  }
}

const wantsVideo = () => input("video").checked;

onSubmit("sign-in", () => {
  wake();
  const token = input("token").value.trim();
  void signIn(token ? { token } : { user: input("user").value.trim() });
});
onSubmit("dial", () => {
  const target = input("target").value.trim();
  if (target) {
    dial(target, { video: wantsVideo() });
  }
});
onSubmit("add-form", () => {
  const target = input("add-target").value.trim();
  if (target) {
    dial(target, {});
  }
});
onSubmit("transfer-form", () => {
  const target = input("transfer-target").value.trim();
  if (target) {
    page.calls.close();
    void phone.transfer(target);
  }
});
for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-target]")) {
  button.addEventListener("click", () => dial(button.dataset.target ?? "", { video: wantsVideo() }));
}
onClick("use-token", showTokenField);
onClick("mute", () => (phone.front?.muted ? phone.front.unmute() : phone.front?.mute()));
onClick("hold", () => void phone.toggleHold());
onClick("connect-both", () => void phone.connect(behind(story).at(-1)?.id));
onClick("hang-up", () => phone.front?.hangUp());
onClick("ask-microphone", () => void chooseMicrophone(undefined));
onClick("sign-out", () => void signOut());

window.holdfast = {
  get client() {
    return client;
  },
  get call() {
    return phone.front;
  },
  get story() {
    return story;
  },
};

if (!window.isSecureContext) {
  hear({ type: "page.insecure" });
}
page.draw(story, Date.now());
document.addEventListener("pointerdown", wake, { once: true });
document.addEventListener("keydown", (event) => {
  const { key, target, ctrlKey, altKey, metaKey } = event;
  if (event.defaultPrevented || ctrlKey || altKey || metaKey) {
    return;
  }
  const within = (kinds: string) => target instanceof Element && target.closest(kinds) !== null;
  const [call] = ringing(story);
  if (key === "Escape") {
    leave();
  } else if (key === "Enter" && call && !within("a, button, input, select")) {
    wake();
    void phone.answer(call.id, { video: false });
  } else if (page.calls.padIsOpen && !within("input, select") && /^[0-9*#]$/.test(key)) {
    press(key);
  }
});

/** Puts away what lies on top: an open drawer, or else a notice that has been read. */
function leave(): void {
  if (!page.calls.leaveDrawer() && story.notice?.actions.includes("dismiss")) {
    act("dismiss");
  }
}

const link = new URLSearchParams(location.search);
const before = remembered();
const named = link.get("user");
if (named && !(before && "user" in before && before.user === named)) {
  void signIn({ user: named });
} else if (before) {
  void signIn(before);
} else if (screen(story) === "sign-in") {
  input("user").focus();
}
input("target").value = link.get("call") ?? "";
setInterval(tick, TICK_MS);
requestAnimationFrame(frame);
