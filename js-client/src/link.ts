/**
 * One session socket: text frames in and out, nothing remembered. After `close()` it tells nothing more.
 */
import { parseObject } from "./json.ts";
import type { ClientMessage, ServerMessage } from "./protocol.gen.ts";

/** What a link tells its owner. */
export interface LinkHandlers {
  handleOpened(): void;
  handleMessage(message: ServerMessage): void;
  handleClosed(code: number, reason: string): void;
}

/** See the file's head. */
export class Link {
  readonly #socket: WebSocket;
  #closed = false;

  constructor(Socket: typeof WebSocket, url: string, handlers: LinkHandlers) {
    this.#socket = new Socket(url.replace(/^http/, "ws"));
    this.#socket.onopen = () => this.#closed || handlers.handleOpened();
    this.#socket.onmessage = ({ data }) => {
      const message = parseObject<ServerMessage>(String(data));
      if (!this.#closed && message?.kind) {
        handlers.handleMessage(message as ServerMessage);
      }
    };
    this.#socket.onclose = ({ code, reason }) => {
      if (!this.#closed) {
        this.#closed = true;
        handlers.handleClosed(code, reason);
      }
    };
  }

  /** When the socket is not open the frame is lost. */
  send(message: ClientMessage): void {
    if (!this.#closed && this.#socket.readyState === 1) {
      this.#socket.send(JSON.stringify(message));
    }
  }

  close(): void {
    this.#closed = true;
    this.#socket.close(1000);
  }
}
