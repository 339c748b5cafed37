/**
 * Reaching into the markup of index.html, and writing only what changed, so that focus and a screen reader's place stay.
 */

/** An element of index.html; a missing one is a fault of this page. */
export function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) {
    throw new Error(`index.html lacks #${id}`);
  }
  return found;
}

export const at = (id: string): HTMLElement => element(id, HTMLElement);
export const button = (id: string): HTMLButtonElement => element(id, HTMLButtonElement);
export const input = (id: string): HTMLInputElement => element(id, HTMLInputElement);

/** Sets a text if it is another one. */
export function write(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** Shows a text, or hides its element without one. */
export function writeOrHide(node: HTMLElement, text: string): void {
  write(node, text);
  node.hidden = text === "";
}

export function make(tag: string, attributes: Record<string, string>, ...children: (Node | string)[]): HTMLElement {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** A button that runs `act`. */
export function makeButton(text: string, className: string, testId: string, act: () => void): HTMLElement {
  const made = make("button", { type: "button", class: className, "data-testid": testId }, text);
  made.addEventListener("click", act);
  return made;
}

export function onSubmit(id: string, run: () => void): void {
  element(id, HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
}

export function onClick(id: string, run: () => void): void {
  button(id).addEventListener("click", run);
}
