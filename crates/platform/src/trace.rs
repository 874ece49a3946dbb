//! Request ids and W3C trace context (<https://www.w3.org/TR/trace-context/>), carried through HTTP and AMQP.

use std::{fmt, future::Future};

use uuid::Uuid;

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// Name of the header and the AMQP header that carries a [`TraceContext`].
pub const TRACEPARENT: &str = "traceparent";
/// Name of the header that carries a request id.
pub const REQUEST_ID: &str = "x-request-id";

/// What identifies the work that the present task is part of.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// From the caller, or made here.
    pub request_id: String,
    /// The caller's trace, or a new one.
    pub trace: TraceContext,
}

impl RequestContext {
    /// A context from what a caller sent; whatever is missing or malformed is made anew.
    pub fn from_headers(request_id: Option<&str>, traceparent: Option<&str>) -> Self {
        let fit = |id: &&str| {
            (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        Self {
            request_id: request_id.filter(fit).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned),
            trace: traceparent.and_then(TraceContext::parse).map_or_else(TraceContext::root, TraceContext::child),
        }
    }

    /// The context of the present task, if it serves a request or a message.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs `work` as part of this context.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// Starts `work` as a task of its own that keeps the present request's context.
///
/// axum drops a handler when its client disconnects; whatever must not stop midway runs in such a task.
pub fn spawn<F>(work: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    use tracing::Instrument as _;
    let work = work.in_current_span();
    match RequestContext::current() {
        Some(context) => tokio::spawn(context.scope(work)),
        None => tokio::spawn(work),
    }
}

/// A position in a trace: version 00 of the `traceparent` header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

impl TraceContext {
    /// A new trace.
    pub fn root() -> Self {
        Self { trace_id: Uuid::new_v4().as_u128(), span_id: new_span_id(), sampled: true }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span_id: new_span_id(), ..self }
    }

    /// Reads a `traceparent`; `None` when it is malformed or all zero.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower_hex = |s: &str, len| s.len() == len && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fit = lower_hex(version, 2) && version != "ff" && lower_hex(trace, 32) && lower_hex(span, 16);
        if !fit || !lower_hex(flags, 2) || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        Some(Self { trace_id, span_id, sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1 })
    }

    /// The trace's id, as logs show it.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

fn new_span_id() -> u64 {
    rand::random::<u64>().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_trace_goes_on_with_a_span_of_our_own() {
        let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

        let ours = RequestContext::from_headers(Some("abc"), Some(theirs));

        assert_eq!(ours.request_id, "abc");
        assert_eq!(ours.trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(ours.trace.to_string(), theirs);
    }

    #[test]
    fn what_is_malformed_is_made_anew() {
        for bad in ["", "00-0-0-0", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "zz"] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
        assert_ne!(RequestContext::from_headers(Some("a b"), None).request_id, "a b");
    }
}
