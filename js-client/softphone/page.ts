/**
 * Draws a story into the markup of index.html. It writes only what changed, so that focus and a screen reader's place stay.
 */
import { type CallActs, CallPanel } from "./call-panel.ts";
import { frontCall, ringing } from "./calls.ts";
import { at, button, element, make, write, writeOrHide } from "./dom.ts";
import { type Action, type Line, type Notice, type Story, screen } from "./story.ts";
import * as words from "./words.ts";

const TITLE = document.title;

const ACTIONS: Record<Action, string> = {
  redial: "Call again",
  "call-back": "Call back",
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

  readonly calls: CallPanel;

  constructor(
    private readonly act: (action: Action) => void,
    callActs: CallActs,
  ) {
    this.calls = new CallPanel(callActs);
  }

  /** Shows `story` at the time `now`. */
  draw(story: Story, now: number): void {
    this.#drawScreen(story);
    this.#drawNotices(story);
    drawConnection(story);
    drawSignIn(story);
    drawDial(story);
    this.calls.draw(story);
    drawServices(story);
    drawTitle(story);
    this.#drawServing(story);
    this.#drawLog(story.log);
    this.tick(story, now);
  }

  /** The parts that change with time alone. */
  tick(story: Story, now: number): void {
    const since = frontCall(story)?.since;
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
      const pressed = make(
        "button",
        { type: "button", class: index === 0 ? "btn small primary" : "btn small", "data-testid": action },
        ACTIONS[action],
      );
      pressed.addEventListener("click", () => this.act(action));
      if (action === "dismiss") {
        pressed.className = "close";
        box.append(pressed);
      } else {
        row.append(pressed);
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
  const submit = button("sign-in-button");
  submit.disabled = busy;
  write(submit, busy ? "Signing in …" : "Sign in");
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
  const { allowed, reason } = story.canCall;
  for (const one of at("dial-panel").querySelectorAll("button")) {
    one.disabled = !allowed;
    one.title = allowed ? "" : words.refused(reason);
  }
  // A short loss has a notice of its own.
  writeOrHide(at("dial-help"), !allowed && story.state === "signed-in" ? words.refused(reason) : "");
  at("second-window").hidden = !allowed || story.withToken;
  const guest = story.user === "guest" ? "guest-2" : "guest";
  const link = new URLSearchParams({ user: guest, call: story.user });
  element("second-window-link", HTMLAnchorElement).href = `?${link}`;
}

function drawServices(story: Story): void {
  const here = story.state === "signed-in" || story.state === "reconnecting";
  at("services").hidden = !here;
  const rows = words.services(story.state, story.canCall, frontCall(story));
  const wanted = JSON.stringify(rows);
  if (at("services").dataset.rows !== wanted) {
    at("services").dataset.rows = wanted;
    const cells = rows.flatMap(({ name, level, text }) => [
      make("dt", { class: level }, name),
      make("dd", { "data-testid": `service-${name.toLowerCase().replace(" ", "-")}` }, text),
    ]);
    at("services").replaceChildren(...cells);
  }
  at("devices").hidden = !here;
}

function drawTitle(story: Story): void {
  const [caller] = ringing(story);
  const title = caller ? `${words.callerName(caller)} is calling` : TITLE;
  if (document.title !== title) {
    document.title = title;
  }
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
