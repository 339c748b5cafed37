/**
 * Draws a story into the markup of index.html. It writes only what changed, so that focus and a screen reader's place stay.
 */
import { type Action, type Line, type Notice, type Story, screen } from "./story.ts";
import * as words from "./words.ts";

/** An element of index.html; a missing one is a fault of this page. */
export function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) {
    throw new Error(`index.html lacks #${id}`);
  }
  return found;
}

const at = (id: string) => element(id, HTMLElement);

const ACTIONS: Record<Action, string> = {
  redial: "Call again",
  "listen-only": "Only listen",
  "without-video": "Call without video",
  retry: "Try now",
  "sound-on": "Turn sound on",
  "take-back": "Use it here",
  dismiss: "Close",
};

const INSECURE: Notice = { level: "warn", ...words.INSECURE, actions: [] };

const SOUND: Notice = {
  level: "warn",
  title: "Your browser keeps the sound off",
  text: "It waits for a click before this page may play sound.",
  actions: ["sound-on"],
};

/** Draws one story after the other. */
export class Page {
  #screen = "";
  #notices = "";
  #lines: Line[] = [];
  #boot: string | undefined;

  constructor(private readonly act: (action: Action) => void) {}

  /** Shows `story` at the time `now`. */
  draw(story: Story, now: number): void {
    this.#drawScreen(story);
    this.#drawNotices(story);
    drawConnection(story);
    drawSignIn(story);
    drawDial(story);
    drawCall(story, now);
    this.#drawServing(story);
    this.#drawLog(story.log);
    this.tick(story, now);
  }

  /** The parts that change with time alone. */
  tick(story: Story, now: number): void {
    const since = story.call?.since;
    write(at("timer"), since === undefined ? "" : words.stopwatch(now - since));
    for (const node of document.querySelectorAll<HTMLElement>("[data-testid=countdown]")) {
      const left = Math.max(0, (story.retryAt ?? now) - now);
      write(node, left > 0 ? `Next try in ${Math.ceil(left / 1000)} s` : "Trying …");
    }
  }

  #drawScreen(story: Story): void {
    const wanted = screen(story);
    const changed = wanted !== this.#screen;
    at("sign-in-panel").hidden = wanted !== "sign-in";
    at("dial-panel").hidden = wanted !== "dial";
    at("call-panel").hidden = wanted !== "call";
    if (changed && this.#screen) {
      focusOn(wanted);
    }
    this.#screen = wanted;
  }

  #drawNotices(story: Story): void {
    const list = [story.insecure && INSECURE, story.soundBlocked && SOUND, story.notice].filter((notice) => !!notice);
    const wanted = JSON.stringify(list);
    if (wanted !== this.#notices) {
      this.#notices = wanted;
      at("notices").replaceChildren(...list.map((notice) => this.#box(notice)));
    }
  }

  #box(notice: Notice): HTMLElement {
    const box = make(
      "section",
      { class: `notice ${notice.level}`, "data-testid": "notice" },
      make("h2", {}, notice.title),
      make("p", {}, notice.text),
    );
    const row = make("div", { class: "row" });
    for (const [index, action] of notice.actions.entries()) {
      const button = make(
        "button",
        { type: "button", class: index === 0 ? "btn small primary" : "btn small", "data-testid": action },
        ACTIONS[action],
      );
      button.addEventListener("click", () => this.act(action));
      if (action === "dismiss") {
        button.className = "close";
        box.append(button);
      } else {
        row.append(button);
      }
    }
    if (notice.countdown) {
      row.append(make("span", { class: "count", "data-testid": "countdown", "aria-live": "off" }));
    }
    if (row.childElementCount > 0) {
      box.append(row);
    }
    return box;
  }

  #drawServing(story: Story): void {
    const here = story.state === "signed-in" || story.state === "reconnecting";
    write(at("instance"), (here && story.instance) || "Nobody yet");
    write(at("boot"), story.boot ? words.shortBoot(story.boot) : "");
    at("boot-line").hidden = !here || !story.boot;
    at("serving").classList.toggle("away", story.state !== "signed-in");
    at("who").hidden = !here;
    write(at("who-user"), story.user);
    if (story.boot && this.#boot && story.boot !== this.#boot) {
      restartAnimation(at("serving"), "fresh");
    }
    this.#boot = story.boot ?? this.#boot;
  }

  /** Lines are only ever added, and dropped at the far end. */
  #drawLog(lines: Line[]): void {
    const known = new Set(this.#lines);
    const list = at("log");
    for (const line of lines.filter((entry) => !known.has(entry))) {
      list.prepend(logLine(line));
    }
    while (list.childElementCount > lines.length) {
      list.lastElementChild?.remove();
    }
    this.#lines = lines;
  }
}

function drawConnection(story: Story): void {
  const { level, text } = words.CONNECTION[story.state];
  const badge = at("connection");
  badge.className = `pill ${level}`;
  badge.dataset.state = story.state;
  write(badge, text);
}

function drawSignIn(story: Story): void {
  const busy = story.state === "signing-in";
  const button = element("sign-in-button", HTMLButtonElement);
  button.disabled = busy;
  write(button, busy ? "Signing in …" : "Sign in");
  at("sign-in-error").hidden = !story.signInError;
  write(at("sign-in-error"), story.signInError);
  if (story.needsToken) {
    showTokenField();
  }
}

/** The token takes the name's place: the name stands in the token. */
export function showTokenField(): void {
  if (at("token-field").hidden) {
    at("token-field").hidden = false;
    at("user-field").hidden = true;
    at("use-token").hidden = true;
    at("token").focus();
  }
}

function drawDial(story: Story): void {
  for (const button of at("dial-panel").querySelectorAll("button")) {
    button.disabled = !story.canCall.allowed;
    button.title = story.canCall.allowed ? "" : words.refused(story.canCall.reason);
  }
}

function drawCall({ call }: Story, _now: number): void {
  if (!call) {
    return;
  }
  write(at("call-title"), words.targetName(call.target));
  const state = at("call-state");
  state.dataset.state = call.state;
  state.dataset.media = call.media;
  write(state, words.callState(call.state, call.media, call.preserved));
  at("videos").hidden = !call.video;
  at("call-panel").classList.toggle("muted", call.muted);
  at("mute").setAttribute("aria-pressed", String(call.muted));
  write(at("mute-label"), call.muted ? "Muted" : "Mute");
}

function logLine(line: Line): HTMLElement {
  const when = new Date(line.at);
  const time = make("time", { datetime: when.toISOString() }, when.toLocaleTimeString("en-GB"));
  return make("li", {}, time, make("span", { class: line.level }, line.text));
}

/** Keyboard and screen reader follow to the panel that took the place of the one they were in. */
function focusOn(name: string): void {
  const targets: Record<string, string> = { "sign-in": "user", dial: "dial-title", call: "call-title" };
  const target = document.getElementById(targets[name] ?? "");
  if (
    target &&
    (document.activeElement === document.body || document.activeElement === null || !isShown(document.activeElement))
  ) {
    target.tabIndex = target.tabIndex < 0 ? -1 : target.tabIndex;
    target.focus({ preventScroll: true });
  }
}

const isShown = (node: Element) => node.getClientRects().length > 0;

function restartAnimation(node: HTMLElement, name: string): void {
  node.classList.remove(name);
  void node.offsetWidth; // A reflow in between starts the animation anew.
  node.classList.add(name);
}

function write(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

function make(tag: string, attributes: Record<string, string>, ...children: (Node | string)[]): HTMLElement {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
