/** What of the browser the library takes from the global scope. */
import { FakeStream } from "./rtc.ts";

Object.assign(globalThis, { MediaStream: FakeStream });
