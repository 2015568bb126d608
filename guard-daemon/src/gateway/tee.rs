//! An answer's body on its way to the agent; a copy of it is kept once it is whole. What would be too
//! long is passed on and not kept.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::cache::Candidate;
use super::service::Gateway;

/// A body.
pub(super) struct Tee {
    inner: Incoming,
    copy: Option<Copy>,
}

struct Copy {
    gateway: Arc<Gateway>,
    candidate: Candidate,
    bytes: Vec<u8>,
    bytes_max: u64,
    /// Bytes that all copies together may take.
    all_max: u64,
}

impl Tee {
    /// Keeps nothing.
    pub(super) fn plain(inner: Incoming) -> Self {
        Self { inner, copy: None }
    }

    /// Keeps it for this candidate.
    pub(super) fn keeping(inner: Incoming, gateway: &Arc<Gateway>, candidate: Candidate) -> Self {
        let bytes_max = gateway.cache().map_or(0, |cache| cache.body_bytes_max());
        if inner.size_hint().lower() > bytes_max {
            return Self::plain(inner);
        }
        let all_max = gateway.options.plan.cache_bytes_max;
        let gateway = Arc::clone(gateway);
        let copy = Copy { gateway, candidate, bytes: Vec::new(), bytes_max, all_max };
        if inner.is_end_stream() {
            copy.finish();
            return Self::plain(inner);
        }
        Self { inner, copy: Some(copy) }
    }
}

impl Copy {
    /// Whether it still fits.
    fn add(&mut self, data: &[u8]) -> bool {
        if (self.bytes.len() + data.len()) as u64 > self.bytes_max {
            return false;
        }
        let more = data.len() as u64;
        let all = self.gateway.collecting.fetch_add(more, Ordering::Relaxed) + more;
        self.bytes.extend_from_slice(data);
        all <= self.all_max
    }

    fn finish(mut self) {
        let body = Bytes::from(std::mem::take(&mut self.bytes));
        self.gateway.collecting.fetch_sub(body.len() as u64, Ordering::Relaxed);
        if let Some(mut cache) = self.gateway.cache() {
            cache.keep(self.candidate.clone(), body);
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.gateway.collecting.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

impl Body for Tee {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let fits = match (frame.data_ref(), &mut self.copy) {
                    (Some(data), Some(copy)) => copy.add(data),
                    // Trailers are not kept, nor what has some.
                    _ => false,
                };
                if !fits {
                    self.copy = None;
                }
                // Nobody may ask again after the last piece.
                if self.inner.is_end_stream()
                    && let Some(copy) = self.copy.take()
                {
                    copy.finish();
                }
            }
            Poll::Ready(None) => {
                if let Some(copy) = self.copy.take() {
                    copy.finish();
                }
            }
            Poll::Ready(Some(Err(_))) => self.copy = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
