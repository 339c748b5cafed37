/**
 * Which services work, told on edges only and in order. Pure.
 */
import type { ServiceAvailable, ServiceUnavailable } from "./events.ts";
import type { ServiceState } from "./protocol.gen.ts";

/** One edge, as the application is told of it. */
export type ServiceEdge = ServiceAvailable | ServiceUnavailable;

/** The event that tells an edge. */
export function edgeEvent(edge: ServiceEdge): "serviceavailable" | "serviceunavailable" {
  return "reason" in edge ? "serviceunavailable" : "serviceavailable";
}

/** See the file's head. A service that was never mentioned counts as available. */
export class Services {
  readonly #told = new Map<string, string | undefined>();
  readonly #own = new Map<string, string | undefined>();

  /** What the owner itself knows: `reason` makes the service unavailable, undefined available. */
  set(service: string, reason: string | undefined): ServiceEdge[] {
    const before = this.reason(service);
    this.#own.set(service, reason);
    return this.#edge(service, before);
  }

  /** What the instance says; with `all` it is the whole list, and what it leaves out is forgotten. */
  handleStates(states: ServiceState[], all: boolean): ServiceEdge[] {
    const named = new Map(states.map((state) => [state.service, state]));
    const touched = new Set([...named.keys(), ...(all ? this.#told.keys() : [])]);
    return [...touched].flatMap((service) => {
      const before = this.reason(service);
      const state = named.get(service);
      this.#told.set(service, !state || state.available ? undefined : state.reason || "unavailable");
      return this.#edge(service, before);
    });
  }

  /** Why `service` is unavailable; undefined when it is available. */
  reason(service: string): string | undefined {
    return this.#own.get(service) ?? this.#told.get(service);
  }

  #edge(service: string, before: string | undefined): ServiceEdge[] {
    const reason = this.reason(service);
    if (!reason === !before) {
      return [];
    }
    return [reason ? { service, reason } : { service }];
  }
}
