/**
 * Draws the calls of a story: the one in front with its verbs, those behind it, and those that ring.
 */
import { behind, type CallStory, frontCall, ringing } from "./calls.ts";
import { at, button, input, make, makeButton, write, writeOrHide } from "./dom.ts";
import type { Story } from "./story.ts";
import * as words from "./words.ts";

/** What a person does in the panel. */
export interface CallActs {
  answer(id: string, video: boolean): void;
  reject(id: string): void;
  toFront(id: string): void;
  key(digit: string): void;
}

/** The keys of a telephone, and the letters on them. */
const KEYS = [
  ...[
    ["1", ""],
    ["2", "abc"],
    ["3", "def"],
    ["4", "ghi"],
    ["5", "jkl"],
    ["6", "mno"],
  ],
  ...[
    ["7", "pqrs"],
    ["8", "tuv"],
    ["9", "wxyz"],
    ["*", ""],
    ["0", "+"],
    ["#", ""],
  ],
] as [string, string][];

const DRAWERS = { pad: "keypad", "transfer-panel": "transfer", "add-panel": "add-call" } as const;
type Drawer = keyof typeof DRAWERS;

/** Draws one story after the other. */
export class CallPanel {
  #ringing = "";
  #behind = "";
  #front: string | undefined;
  #open: Drawer | undefined;

  constructor(private readonly acts: CallActs) {
    for (const [digit, letters] of KEYS) {
      const key = makeButton(digit, "key", `key-${digit}`, () => acts.key(digit));
      key.append(make("small", { "aria-hidden": "true" }, letters));
      at("keys").append(key);
    }
    for (const [drawer, opener] of Object.entries(DRAWERS) as [Drawer, string][]) {
      button(opener).addEventListener("click", () => this.#toggle(drawer));
    }
  }

  /** The keypad is shown. */
  get padIsOpen(): boolean {
    return this.#open === "pad";
  }

  /** Puts the open drawer away and returns to what opened it; false if none was open. */
  leaveDrawer(): boolean {
    const opener = this.#open && DRAWERS[this.#open];
    this.close();
    if (opener) {
      button(opener).focus();
    }
    return opener !== undefined;
  }

  draw(story: Story): void {
    this.#drawRinging(story);
    const call = frontCall(story);
    if (call?.id !== this.#front) {
      this.#front = call?.id;
      this.close();
    }
    if (call) {
      drawHead(call);
      drawVerbs(call, story);
      this.#drawDrawers(call, story);
      this.#drawBehind(story);
    }
  }

  /** Puts the drawers away. */
  close(): void {
    this.#open = undefined;
    for (const [drawer, opener] of Object.entries(DRAWERS)) {
      at(drawer).hidden = true;
      button(opener).setAttribute("aria-expanded", "false");
    }
    input("transfer-target").value = "";
    input("add-target").value = "";
  }

  #toggle(drawer: Drawer): void {
    const open = this.#open !== drawer;
    this.close();
    if (open) {
      this.#open = drawer;
      at(drawer).hidden = false;
      button(DRAWERS[drawer]).setAttribute("aria-expanded", "true");
      at(drawer).querySelector("input")?.focus();
    }
  }

  #drawDrawers(call: CallStory, story: Story): void {
    const other = behind(story).at(-1);
    const both = button("connect-both");
    const able = other && !call.refused.transfer && !other.refused.transfer;
    both.hidden = !able;
    write(both, able ? `Connect ${words.callerName(call)} with ${words.callerName(other)}, and leave` : "");
    write(at("digits"), call.sent);
    writeOrHide(at("heard"), call.heard && `${words.callerName(call)} pressed ${call.heard}`);
    const closes: Record<Drawer, boolean> = {
      pad: !!call.refused.digits,
      "transfer-panel": !!call.refused.transfer,
      "add-panel": !story.canCall.allowed,
    };
    if (this.#open && closes[this.#open]) {
      this.close();
    }
    const leaves = call.refused.hold === "not-supported" || call.refused.hold === "wrong-state";
    const stays = call.heldBy === "local" || call.heldBy === "both";
    write(at("add-help"), leaves && !stays ? "This call ends then." : "This call is put on hold meanwhile.");
  }

  #drawRinging(story: Story): void {
    const calls = ringing(story);
    const front = frontCall(story);
    const key = JSON.stringify([calls.map(({ id, refused }) => [id, refused.answer]), front?.id, front?.heldBy]);
    if (key !== this.#ringing) {
      this.#ringing = key;
      at("ringing").replaceChildren(...calls.map((call) => this.#card(call, front)));
    }
  }

  #card(call: CallStory, front: CallStory | undefined): HTMLElement {
    const who = words.callerName(call);
    const { id, offersVideo, refused } = call;
    const answer = makeButton(words.answerLabel(front), "btn accept", "answer", () => this.acts.answer(id, false));
    answer.setAttribute("aria-keyshortcuts", "Enter");
    answer.title = "Enter";
    const withVideo = makeButton("With video", "btn accept", "answer-video", () => this.acts.answer(id, true));
    const decline = makeButton("Decline", "btn danger", "reject", () => this.acts.reject(id));
    const away = refused.answer && refused.answer !== "wrong-state" ? words.refused(refused.answer) : "";
    for (const one of [answer, withVideo]) {
      one.toggleAttribute("disabled", away !== "");
    }
    return make(
      "section",
      { class: "card ring", "data-testid": "incoming", "aria-label": `${who} is calling` },
      make("span", { class: "face", "aria-hidden": "true" }, words.initials(who)),
      make(
        "div",
        { class: "party" },
        make("h2", { "data-testid": "incoming-name" }, who),
        make("p", { class: "call-state" }, away || `${words.address(call.target) || "Somebody here"} is calling`),
      ),
      make("div", { class: "row" }, answer, ...(offersVideo ? [withVideo] : []), decline),
    );
  }

  #drawBehind(story: Story): void {
    const calls = behind(story);
    const wanted = JSON.stringify(calls.map((call) => [call.id, call.state, call.heldBy, call.media, call.preserved]));
    at("behind").hidden = calls.length === 0;
    if (wanted !== this.#behind) {
      this.#behind = wanted;
      at("behind").replaceChildren(...calls.map((call) => this.#row(call)));
    }
  }

  #row(call: CallStory): HTMLElement {
    const who = words.callerName(call);
    return make(
      "li",
      { "data-testid": "behind-call" },
      make("span", { class: "face small", "aria-hidden": "true" }, words.initials(who)),
      make("span", { class: "party" }, make("b", {}, who), make("small", {}, words.callState(call))),
      makeButton("Switch", "btn small", "switch", () => this.acts.toFront(call.id)),
    );
  }
}

function drawHead(call: CallStory): void {
  const who = words.callerName(call);
  write(at("face"), words.initials(who));
  write(at("call-title"), who);
  writeOrHide(at("call-address"), words.address(call.target));
  const state = at("call-state");
  state.dataset.state = call.state;
  state.dataset.media = call.media;
  write(state, words.callState(call));
  at("videos").hidden = !call.video;
  const panel = at("call-panel");
  panel.classList.toggle("muted", call.muted);
  panel.classList.toggle("held", call.state === "held");
}

function drawVerbs(call: CallStory, story: Story): void {
  const ours = call.heldBy === "local" || call.heldBy === "both";
  at("mute").setAttribute("aria-pressed", String(call.muted));
  write(at("mute-label"), call.muted ? "Muted" : "Mute");
  at("hold").setAttribute("aria-pressed", String(ours));
  write(at("hold-label"), ours ? "Take back" : "Hold");
  const { refused } = call;
  allow("hold", call.asked ? "wrong-state" : ours ? refused.unhold : refused.hold);
  allow("keypad", refused.digits);
  allow("transfer", call.asked ? "wrong-state" : refused.transfer);
  allow("add-call", story.canCall.allowed ? undefined : (story.canCall.reason ?? "service-unavailable"));
  const reason = [refused.hold, refused.transfer].find((one) => one && one !== "wrong-state");
  writeOrHide(at("verbs-help"), reason && !call.preserved ? words.refused(reason) : "");
}

function allow(id: string, reason: string | undefined): void {
  const node = button(id);
  node.disabled = reason !== undefined;
  node.title = reason === undefined ? "" : words.refused(reason);
}
