//! The socket under a connection: it reports reads and writes, and replaces hyper's own responses.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{activity::Activity, headers::DefaultHeaders, refusal};

/// The most that is read of a request after its refusal. Closing a socket with unread bytes resets it, and the client
/// would not see the response.
const DISCARDED_MAX: usize = 1024 * 1024;

/// A connection's socket.
pub(super) struct Socket {
    stream: TcpStream,
    activity: Activity,
    defaults: DefaultHeaders,
    /// What is written instead of hyper's own response, and how much of it has been written.
    refusal: Option<(Vec<u8>, usize)>,
    discarded: usize,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, activity: Activity, defaults: DefaultHeaders) -> Self {
        Self { stream, activity, defaults, refusal: None, discarded: 0 }
    }

    /// Replaces these bytes by a refusal if they are hyper's own response; `false` for any other response.
    fn refuse(&mut self, first: &[u8]) -> bool {
        // hyper refuses a head only while no request is active, so these bytes cannot be part of a body.
        if self.refusal.is_none() && first.starts_with(b"HTTP/1.1 4") && self.activity.is_idle() {
            self.refusal = refusal::replacement(first, self.defaults).map(|answer| (answer, 0));
            return self.refusal.is_some();
        }
        false
    }

    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some((answer, written)) = &mut self.refusal {
            while *written < answer.len() {
                *written += ready!(Pin::new(&mut self.stream).poll_write(cx, &answer[*written..]))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what the client still sends after its request was refused.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        while self.discarded < DISCARDED_MAX {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            match buffer.filled().len() {
                0 => break,
                read => self.discarded += read,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn report<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.wrote(written.is_pending());
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.refuse(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.report(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(first) = slices.first()
            && self.refuse(first)
        {
            return Poll::Ready(Ok(first.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.report(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.refusal.is_some() { self.poll_discard(cx) } else { Poll::Ready(Ok(())) }
    }
}
