/**
 * One session socket: text frames in and out, nothing remembered. After `close()` it tells nothing more.
 */
import { parseObject } from "./json.ts";
import type { ClientMessage, ServerMessage } from "./protocol.gen.ts";

/** What a link tells its owner. */
export interface LinkHandlers {
  opened(): void;
  message(message: ServerMessage): void;
  closed(code: number, reason: string): void;
}

/** See the file's head. */
export class Link {
  readonly #socket: WebSocket;
  #closed = false;

  constructor(Socket: typeof WebSocket, url: string, handlers: LinkHandlers) {
    this.#socket = new Socket(url.replace(/^http/, "ws"));
    this.#socket.onopen = () => this.#closed || handlers.opened();
    this.#socket.onmessage = ({ data }) => {
      const message = parseObject<ServerMessage>(String(data));
      if (!this.#closed && message?.kind) {
        handlers.message(message as ServerMessage);
      }
    };
    this.#socket.onclose = ({ code, reason }) => {
      if (!this.#closed) {
        this.#closed = true;
        handlers.closed(code, reason);
      }
    };
  }

  /** False when the socket is not open: the frame is lost. */
  send(message: ClientMessage): boolean {
    if (this.#closed || this.#socket.readyState !== 1) {
      return false;
    }
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#socket.close(1000);
  }
}
