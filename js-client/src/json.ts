/**
 * What came over a wire or lies in storage, as an object or not at all.
 */

/** The fields of the JSON object in `text`; undefined for anything else. */
export function parseObject<T extends object>(text: string | null): Partial<T> | undefined {
  try {
    const value = JSON.parse(text ?? "");
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
