//! Names of the HTTP headers and cookies that belong to Holdfast.

/// On every answer: the id of the instance that gave it.
pub const INSTANCE: &str = "holdfast-instance";
/// On every answer: the boot id of the instance that gave it.
pub const BOOT: &str = "holdfast-boot";
/// On every answer through a balancer: `kept`, `new`, or `moved; reason=<gone|silent|restarted|full|draining|avoided|suspect|unknown>`.
pub const PIN: &str = "holdfast-pin";
/// On a sign-in: `<instance>.<boot>`, an instance whose media did not reach the client; not to be chosen while another is free.
pub const AVOID: &str = "holdfast-avoid";
/// On changes at an admin listener; its value is `1`. A page of another site can't send it.
pub const ADMIN: &str = "holdfast-admin";
/// On a sign-in: makes it safe to repeat (`draft-ietf-httpapi-idempotency-key-header`).
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Cookie that places a browser's new sessions. Over TLS `__Host-holdfast`.
pub const COOKIE: &str = "holdfast";
/// [`COOKIE`] over TLS (RFC 6265bis §4.1.3.2).
pub const COOKIE_TLS: &str = "__Host-holdfast";
/// Cookie, with the path of one session, that alone decides for that session.
pub const SESSION_COOKIE: &str = "holdfast-session";
