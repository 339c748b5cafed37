/** Templates of the transcripts: `$name` is bound by the first value in its place, `$_name` matches anything. */
export type Values = Record<string, unknown>;

const WHOLE = /^\$([A-Za-z0-9_]+)$/;
const PART = /\$([A-Za-z0-9_]+)/g;

/** `value` with every variable put in: what was bound, else what the transcript says. */
export function fill(value: unknown, vars: Values, values: Values): unknown {
  const read = (name: string) => {
    const found = name in vars ? vars[name] : values[name];
    if (found === undefined) {
      throw new Error(`no value for $${name}`);
    }
    return found;
  };
  if (typeof value === "string") {
    const whole = WHOLE.exec(value)?.[1];
    return whole ? read(whole) : value.replace(PART, (_, name: string) => String(read(name)));
  }
  if (Array.isArray(value)) {
    return value.map((item) => fill(item, vars, values));
  }
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, vars, values)]));
  }
  return value;
}

/** True if `actual` is what `expected` says; binds variables in `vars`, but only if the whole matches. */
export function bind(expected: unknown, actual: unknown, vars: Values): boolean {
  const found = { ...vars };
  if (!matches(expected, actual, found)) {
    return false;
  }
  Object.assign(vars, found);
  return true;
}

function matches(expected: unknown, actual: unknown, vars: Values): boolean {
  if (typeof expected === "string") {
    return matchesText(expected, actual, vars);
  }
  if (Array.isArray(expected)) {
    return (
      Array.isArray(actual) &&
      actual.length === expected.length &&
      expected.every((item, index) => matches(item, actual[index], vars))
    );
  }
  if (expected && typeof expected === "object") {
    return (
      !!actual &&
      typeof actual === "object" &&
      Object.entries(expected).every(([key, item]) => matches(item, (actual as Values)[key], vars))
    );
  }
  return expected === actual;
}

function matchesText(expected: string, actual: unknown, vars: Values): boolean {
  const whole = WHOLE.exec(expected)?.[1];
  if (whole) {
    return actual !== undefined && take(whole, actual, vars);
  }
  const names = [...expected.matchAll(PART)].map((part) => part[1] ?? "");
  const literal = expected.split(PART).map((part, index) => (index % 2 ? "(.+?)" : literally(part)));
  const found = new RegExp(`^${literal.join("")}$`).exec(String(actual));
  return !!found && names.every((name, index) => take(name, found[index + 1], vars));
}

function take(name: string, actual: unknown, vars: Values): boolean {
  if (name.startsWith("_")) {
    return true;
  }
  if (name in vars) {
    return JSON.stringify(vars[name]) === JSON.stringify(actual);
  }
  vars[name] = actual;
  return true;
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
