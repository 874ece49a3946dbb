//! Codes of the problems that the platform's own HTTP layer answers and that other services tell apart.

/// The body is not JSON, or does not fit: it names an unknown field, or a value of another type.
pub const INVALID_JSON: &str = "invalid_json";

/// Too many requests are under way: this one was refused before any work began.
pub const OVERLOADED: &str = "overloaded";
